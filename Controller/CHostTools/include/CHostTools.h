#ifndef RDO_CHOSTTOOLS_H
#define RDO_CHOSTTOOLS_H

#include <stdint.h>
#include <sys/types.h>

// What a background process starts with. Every pointer stays valid until rdo_child_prepare returns.
struct rdo_child_request {
    const char *_Nonnull path;                            // absolute
    char *_Nullable const *_Nonnull arguments;            // with argv[0], NULL at the end
    char *_Nullable const *_Nonnull environment;          // NULL at the end
    char *_Nullable listen_pid;                           // an entry of environment: LISTEN_PID= and room for 10 digits
    const char *_Nullable directory;                      // working directory; NULL: /
    const char *_Nullable network_namespace;              // /run/netns/NAME; NULL: the caller's
    int output;                                           // becomes descriptors 1 and 2
    const int *_Nullable descriptors;                     // become 3, 4, ...
    int descriptor_count;                                 // 0 ... 16
    int niceness;                                         // added to the caller's
    int changes_user;                                     // not 0: the next four apply
    uid_t user;
    gid_t group;
    const gid_t *_Nullable groups;
    int group_count;
};

struct rdo_child {
    pid_t pid;
    int go;       // write end: the child waits for a byte and ends at end-of-file
    int failure;  // read end: the child's errno and step when it cannot start the program
};

// Forks a child in a session of its own that waits before exec. Returns 0 or an errno.
int rdo_child_prepare(const struct rdo_child_request *_Nonnull request, struct rdo_child *_Nonnull child);

// Lets the child exec and waits until it has. Returns 0 or the child's errno; *step says where it
// failed: 1 namespace, 2 directory, 3 user, 4 descriptors, 5 exec. A child that failed is reaped.
int rdo_child_release(struct rdo_child *_Nonnull child, int *_Nonnull step);

// Ends a child that was prepared and not released, and reaps it.
void rdo_child_abandon(struct rdo_child *_Nonnull child);

// Reaps the process if it is an ended child of ours; otherwise does nothing.
void rdo_reap(pid_t pid);

#endif

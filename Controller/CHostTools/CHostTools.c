// Starting a process with what neither posix_spawn nor swift-subprocess offers: another network
// namespace, LISTEN_PID (known only after fork), and a wait before exec so that the pid file exists
// before the program runs. Between fork and exec only async-signal-safe calls are made.

#define _GNU_SOURCE
#include "CHostTools.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEP_NAMESPACE = 1, STEP_DIRECTORY, STEP_USER, STEP_DESCRIPTORS, STEP_EXEC };

enum { DESCRIPTORS_MAX = 16, FIRST_SAFE_DESCRIPTOR = 64 };

static void fail(int pipe, int step) {
    int report[2] = {errno, step};
    ssize_t ignored = write(pipe, report, sizeof report);
    (void)ignored;
    _exit(127);
}

static void write_own_pid(char *entry) {
    char digits[12];
    int count = 0;
    for (unsigned pid = (unsigned)getpid(); pid != 0; pid /= 10) digits[count++] = (char)('0' + pid % 10);
    char *end = strchr(entry, '=') + 1;
    while (count > 0) *end++ = digits[--count];
    *end = 0;
}

static void restore_signals(void) {
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void arrange_descriptors(const struct rdo_child_request *request, int failure) {
    int moved[DESCRIPTORS_MAX];
    for (int i = 0; i < request->descriptor_count; i++) {
        moved[i] = fcntl(request->descriptors[i], F_DUPFD_CLOEXEC, FIRST_SAFE_DESCRIPTOR);
        if (moved[i] < 0) fail(failure, STEP_DESCRIPTORS);
    }
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int output = fcntl(request->output, F_DUPFD_CLOEXEC, FIRST_SAFE_DESCRIPTOR);
    if (null < 0 || output < 0 || (null != 0 && dup2(null, 0) < 0) || dup2(output, 1) < 0
        || dup2(output, 2) < 0)
        fail(failure, STEP_DESCRIPTORS);
    for (int i = 0; i < request->descriptor_count; i++)
        if (dup2(moved[i], 3 + i) < 0) fail(failure, STEP_DESCRIPTORS);
    if (close_range(3 + (unsigned)request->descriptor_count, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
        fail(failure, STEP_DESCRIPTORS);
}

static void become(const struct rdo_child_request *request, int go, int failure) {
    setsid();
    restore_signals();
    if (request->network_namespace != NULL) {
        int namespace = open(request->network_namespace, O_RDONLY | O_CLOEXEC);
        if (namespace < 0 || setns(namespace, CLONE_NEWNET) != 0) fail(failure, STEP_NAMESPACE);
    }
    if (chdir(request->directory != NULL ? request->directory : "/") != 0)
        fail(failure, STEP_DIRECTORY);
    if (request->niceness != 0 && nice(request->niceness) == -1) errno = 0;  // only a courtesy

    char byte;
    ssize_t count;
    do count = read(go, &byte, 1);
    while (count < 0 && errno == EINTR);
    if (count != 1) _exit(126);

    arrange_descriptors(request, failure);
    if (request->changes_user
        && (setgroups((size_t)request->group_count, request->groups) != 0
            || setresgid(request->group, request->group, request->group) != 0
            || setresuid(request->user, request->user, request->user) != 0))
        fail(failure, STEP_USER);
    if (request->listen_pid != NULL) write_own_pid(request->listen_pid);
    execve(request->path, request->arguments, request->environment);
    fail(failure, STEP_EXEC);
}

static int make_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    // Out of the way of the descriptors that the child arranges from 0 up.
    for (int i = 0; i < 2; i++) {
        int moved = fcntl(ends[i], F_DUPFD_CLOEXEC, FIRST_SAFE_DESCRIPTOR);
        int error = errno;
        close(ends[i]);
        if (moved < 0) {
            close(i == 0 ? ends[1] : ends[0]);
            return error;
        }
        ends[i] = moved;
    }
    return 0;
}

int rdo_child_prepare(const struct rdo_child_request *request, struct rdo_child *child) {
    int go[2], failure[2];
    if (request->descriptor_count < 0 || request->descriptor_count > DESCRIPTORS_MAX) return EINVAL;
    int error = make_pipe(go);
    if (error != 0) return error;
    error = make_pipe(failure);
    if (error != 0) {
        close(go[0]);
        close(go[1]);
        return error;
    }
    // No handler of ours may run in the child before it has put the defaults back.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    error = errno;
    if (pid == 0) {
        close(go[1]);
        close(failure[0]);
        become(request, go[0], failure[1]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(go[0]);
    close(failure[1]);
    if (pid < 0) {
        close(go[1]);
        close(failure[0]);
        return error;
    }
    *child = (struct rdo_child){.pid = pid, .go = go[1], .failure = failure[0]};
    return 0;
}

static void wait_for(pid_t pid) {
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
}

int rdo_child_release(struct rdo_child *child, int *step) {
    int report[2];
    // A child that failed already has closed its end; its report says why.
    sigset_t pipe_signal, before;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    if (write(child->go, "g", 1) != 1 && errno == EPIPE) {
        struct timespec now = {0, 0};
        sigtimedwait(&pipe_signal, NULL, &now);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(child->go);
    ssize_t count;
    do count = read(child->failure, report, sizeof report);
    while (count < 0 && errno == EINTR);
    close(child->failure);
    if (count == 0) return 0;
    wait_for(child->pid);
    *step = count == sizeof report ? report[1] : 0;
    return count == sizeof report && report[0] != 0 ? report[0] : EIO;
}

void rdo_child_abandon(struct rdo_child *child) {
    close(child->go);
    close(child->failure);
    kill(child->pid, SIGKILL);
    wait_for(child->pid);
}

void rdo_reap(pid_t pid) {
    int before = errno;
    waitpid(pid, NULL, WNOHANG);
    errno = before;
}

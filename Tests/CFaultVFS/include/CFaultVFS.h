// A file system in memory for SQLite that fails as disks fail; for the simulator.
//
// Once started it is SQLite's default VFS: paths below RDO_FAULT_ROOT live in memory, all others go to
// the file system that was the default before. A store is the disk; a mount is one run of the program
// that uses it. A mount that was cut has no effect any more, whatever its connections still do.
//
// One store and its mounts belong to one thread at a time.
#ifndef RDO_CFAULTVFS_H
#define RDO_CFAULTVFS_H

#include <stdint.h>

#define RDO_FAULT_ROOT "/rdo-simulated/"

typedef struct rdo_store rdo_store;
typedef struct rdo_mount rdo_mount;

// What comes next of a kind of call.
enum rdo_fault { RDO_FAULT_NONE = 0, RDO_FAULT_IO = 1, RDO_FAULT_FULL = 2, RDO_FAULT_SHORT = 3 };

// How much of what was not synced survives a cut.
enum rdo_cut {
    // The program died; the kernel still has everything.
    RDO_CUT_PROGRAM = 0,
    // The power went: each block that was not synced is old, new or torn.
    RDO_CUT_POWER = 1,
};

// Makes the memory file system SQLite's default; harmless when done twice. 0 or SQLite's error.
int rdo_fault_start(void);

// An empty disk. `seed` decides which blocks survive a power cut.
rdo_store *rdo_store_make(uint64_t seed);
// Gives the disk back once its last file is closed.
void rdo_store_release(rdo_store *store);
// A run of the program on this disk; the number is part of its paths.
rdo_mount *rdo_mount_make(rdo_store *store);
// RDO_FAULT_ROOT<number>/: what the run's paths begin with.
uint64_t rdo_mount_number(const rdo_mount *mount);
// Ends the run.
void rdo_mount_cut(rdo_mount *mount, enum rdo_cut how);
// Gives the run's memory back once its last file is closed.
void rdo_mount_release(rdo_mount *mount);

// The next `count` writes, or syncs, or both fail this way; 0 heals.
void rdo_store_fail(rdo_store *store, enum rdo_fault fault, uint64_t after, uint64_t count);
// Grows with each write, so that a caller sees whether anything was written.
uint64_t rdo_store_writes(const rdo_store *store);
// Copies all files of one disk onto an empty one, synced.
void rdo_store_copy(const rdo_store *from, rdo_store *to);

#endif

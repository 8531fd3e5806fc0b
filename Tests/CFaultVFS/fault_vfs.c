// See CFaultVFS.h. The methods are those of https://sqlite.org/c3ref/io_methods.html and vfs.html.
#include "CFaultVFS.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A disk writes blocks of this size whole, or tears them.
enum { BLOCK = 512, FILES_MAX = 8, REGIONS_MAX = 64 };

// A file as the kernel shows it, and as the disk would have it after a power cut.
typedef struct {
    char name[64];
    int exists;
    unsigned char *now;
    int64_t now_bytes;
    unsigned char *synced;
    int64_t synced_bytes;
} rdo_file;

struct rdo_store {
    int references;
    uint64_t random;
    uint64_t writes;
    enum rdo_fault fault;
    uint64_t fault_after;
    uint64_t fault_count;
    rdo_file files[FILES_MAX];
};

struct rdo_mount {
    int references;
    int is_cut;
    uint64_t number;
    rdo_store *store;
    rdo_mount *next;
    // The wal-index is shared memory: it is gone with the program.
    void *regions[REGIONS_MAX];
};

typedef struct {
    sqlite3_file base;
    rdo_mount *mount;
    rdo_file *file;
    int delete_on_close;
} rdo_handle;

static pthread_mutex_t mounts_lock = PTHREAD_MUTEX_INITIALIZER;
static rdo_mount *mounts;
static uint64_t mounts_made;
static sqlite3_vfs *original;

static uint64_t next_random(rdo_store *store) {
    uint64_t word = store->random += 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

// Stores and mounts.

rdo_store *rdo_store_make(uint64_t seed) {
    rdo_store *store = calloc(1, sizeof *store);
    store->references = 1;
    store->random = seed;
    return store;
}

void rdo_store_release(rdo_store *store) {
    if (--store->references > 0) return;
    for (int i = 0; i < FILES_MAX; i++) {
        free(store->files[i].now);
        free(store->files[i].synced);
    }
    free(store);
}

rdo_mount *rdo_mount_make(rdo_store *store) {
    rdo_mount *mount = calloc(1, sizeof *mount);
    mount->references = 1;
    mount->store = store;
    store->references++;
    pthread_mutex_lock(&mounts_lock);
    mount->number = ++mounts_made;
    mount->next = mounts;
    mounts = mount;
    pthread_mutex_unlock(&mounts_lock);
    return mount;
}

uint64_t rdo_mount_number(const rdo_mount *mount) { return mount->number; }

void rdo_mount_release(rdo_mount *mount) {
    if (--mount->references > 0) return;
    pthread_mutex_lock(&mounts_lock);
    for (rdo_mount **link = &mounts; *link; link = &(*link)->next) {
        if (*link == mount) {
            *link = mount->next;
            break;
        }
    }
    pthread_mutex_unlock(&mounts_lock);
    for (int i = 0; i < REGIONS_MAX; i++) free(mount->regions[i]);
    rdo_store_release(mount->store);
    free(mount);
}

static void resize(unsigned char **bytes, int64_t *count, int64_t wanted) {
    if (wanted > *count) {
        *bytes = realloc(*bytes, (size_t)wanted);
        memset(*bytes + *count, 0, (size_t)(wanted - *count));
    }
    *count = wanted;
}

static void set_synced(rdo_file *file) {
    resize(&file->synced, &file->synced_bytes, file->now_bytes);
    if (file->now_bytes > 0) memcpy(file->synced, file->now, (size_t)file->now_bytes);
}

// Each block that differs from the synced one is new, old, or new in its first half only.
static void lose_blocks(rdo_store *store, rdo_file *file) {
    int64_t length = file->now_bytes;
    if (length != file->synced_bytes && next_random(store) % 2) length = file->synced_bytes;
    resize(&file->synced, &file->synced_bytes, length);
    resize(&file->now, &file->now_bytes, length);
    for (int64_t at = 0; at < length; at += BLOCK) {
        size_t count = (size_t)(length - at < BLOCK ? length - at : BLOCK);
        if (memcmp(file->now + at, file->synced + at, count) == 0) continue;
        switch (next_random(store) % 3) {
        case 0: memcpy(file->synced + at, file->now + at, count); break;
        case 1: memcpy(file->synced + at, file->now + at, count / 2); break;
        default: break;
        }
    }
    if (length > 0) memcpy(file->now, file->synced, (size_t)length);
}

void rdo_mount_cut(rdo_mount *mount, enum rdo_cut how) {
    if (mount->is_cut) return;
    mount->is_cut = 1;
    if (how != RDO_CUT_POWER) return;
    for (int i = 0; i < FILES_MAX; i++) {
        if (mount->store->files[i].exists) lose_blocks(mount->store, &mount->store->files[i]);
    }
}

void rdo_store_fail(rdo_store *store, enum rdo_fault fault, uint64_t after, uint64_t count) {
    store->fault = fault;
    store->fault_after = after;
    store->fault_count = count;
}

uint64_t rdo_store_writes(const rdo_store *store) { return store->writes; }

void rdo_store_copy(const rdo_store *from, rdo_store *to) {
    for (int i = 0; i < FILES_MAX; i++) {
        const rdo_file *source = &from->files[i];
        rdo_file *target = &to->files[i];
        memcpy(target->name, source->name, sizeof target->name);
        target->exists = source->exists;
        resize(&target->now, &target->now_bytes, source->now_bytes);
        if (source->now_bytes > 0) memcpy(target->now, source->now, (size_t)source->now_bytes);
        set_synced(target);
    }
}

// Whether the present call is one that fails, and how.
static enum rdo_fault failing(rdo_store *store) {
    if (store->fault == RDO_FAULT_NONE || store->fault_count == 0) return RDO_FAULT_NONE;
    if (store->fault_after > 0) {
        store->fault_after--;
        return RDO_FAULT_NONE;
    }
    store->fault_count--;
    return store->fault;
}

// Files.

static rdo_file *find(rdo_store *store, const char *name, int make) {
    rdo_file *empty = NULL;
    for (int i = 0; i < FILES_MAX; i++) {
        rdo_file *file = &store->files[i];
        if (file->exists && strcmp(file->name, name) == 0) return file;
        if (!file->exists && !empty) empty = file;
    }
    if (!make || !empty || strlen(name) >= sizeof empty->name) return NULL;
    snprintf(empty->name, sizeof empty->name, "%s", name);
    empty->exists = 1;
    empty->now_bytes = empty->synced_bytes = 0;
    free(empty->now);
    free(empty->synced);
    empty->now = empty->synced = NULL;
    return empty;
}

static int closed(sqlite3_file *base) {
    rdo_handle *handle = (rdo_handle *)base;
    if (handle->delete_on_close && !handle->mount->is_cut) handle->file->exists = 0;
    rdo_mount_release(handle->mount);
    return SQLITE_OK;
}

static int read_bytes(sqlite3_file *base, void *to, int count, sqlite3_int64 at) {
    rdo_handle *handle = (rdo_handle *)base;
    if (handle->mount->is_cut) return SQLITE_IOERR_READ;
    rdo_file *file = handle->file;
    int64_t there = at >= file->now_bytes ? 0 : file->now_bytes - at;
    if (there > count) there = count;
    if (there > 0) memcpy(to, file->now + at, (size_t)there);
    if (there == count) return SQLITE_OK;
    memset((char *)to + there, 0, (size_t)(count - there));
    return SQLITE_IOERR_SHORT_READ;
}

static int write_bytes(sqlite3_file *base, const void *from, int count, sqlite3_int64 at) {
    rdo_handle *handle = (rdo_handle *)base;
    if (handle->mount->is_cut) return SQLITE_IOERR_WRITE;
    rdo_store *store = handle->mount->store;
    enum rdo_fault fault = failing(store);
    if (fault == RDO_FAULT_FULL) return SQLITE_FULL;
    if (fault == RDO_FAULT_IO) return SQLITE_IOERR_WRITE;
    if (fault == RDO_FAULT_SHORT) count /= 2;
    rdo_file *file = handle->file;
    if (at + count > file->now_bytes) resize(&file->now, &file->now_bytes, at + count);
    memcpy(file->now + at, from, (size_t)count);
    store->writes++;
    return fault == RDO_FAULT_SHORT ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int truncate_file(sqlite3_file *base, sqlite3_int64 bytes) {
    rdo_handle *handle = (rdo_handle *)base;
    if (handle->mount->is_cut) return SQLITE_IOERR_TRUNCATE;
    resize(&handle->file->now, &handle->file->now_bytes, bytes);
    return SQLITE_OK;
}

static int sync_file(sqlite3_file *base, int flags) {
    (void)flags;
    rdo_handle *handle = (rdo_handle *)base;
    if (handle->mount->is_cut) return SQLITE_IOERR_FSYNC;
    if (failing(handle->mount->store) != RDO_FAULT_NONE) return SQLITE_IOERR_FSYNC;
    set_synced(handle->file);
    return SQLITE_OK;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *bytes) {
    rdo_handle *handle = (rdo_handle *)base;
    if (handle->mount->is_cut) return SQLITE_IOERR_FSTAT;
    *bytes = handle->file->now_bytes;
    return SQLITE_OK;
}

// One connection uses a mount: nobody is there to lock out.
static int lock(sqlite3_file *base, int level) {
    (void)level;
    return ((rdo_handle *)base)->mount->is_cut ? SQLITE_IOERR_LOCK : SQLITE_OK;
}

static int unlock(sqlite3_file *base, int level) {
    (void)base;
    (void)level;
    return SQLITE_OK;
}

static int is_reserved(sqlite3_file *base, int *answer) {
    (void)base;
    *answer = 0;
    return SQLITE_OK;
}

static int control(sqlite3_file *base, int operation, void *argument) {
    (void)base;
    (void)operation;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int sector_size(sqlite3_file *base) {
    (void)base;
    return BLOCK;
}

static int characteristics(sqlite3_file *base) {
    (void)base;
    return 0;
}

static int shm_map(sqlite3_file *base, int region, int bytes, int extend, void volatile **out) {
    rdo_mount *mount = ((rdo_handle *)base)->mount;
    *out = NULL;
    if (mount->is_cut || region >= REGIONS_MAX) return SQLITE_IOERR_SHMMAP;
    if (!mount->regions[region] && extend) mount->regions[region] = calloc(1, (size_t)bytes);
    *out = mount->regions[region];
    return SQLITE_OK;
}

static int shm_lock(sqlite3_file *base, int offset, int count, int flags) {
    (void)offset;
    (void)count;
    (void)flags;
    return ((rdo_handle *)base)->mount->is_cut ? SQLITE_IOERR_SHMLOCK : SQLITE_OK;
}

static void shm_barrier(sqlite3_file *base) { (void)base; }

static int shm_unmap(sqlite3_file *base, int forget) {
    rdo_mount *mount = ((rdo_handle *)base)->mount;
    if (!forget) return SQLITE_OK;
    for (int i = 0; i < REGIONS_MAX; i++) {
        free(mount->regions[i]);
        mount->regions[i] = NULL;
    }
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = closed,
    .xRead = read_bytes,
    .xWrite = write_bytes,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = file_size,
    .xLock = lock,
    .xUnlock = unlock,
    .xCheckReservedLock = is_reserved,
    .xFileControl = control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

// The file system.

static int is_ours(const char *path) {
    return path && strncmp(path, RDO_FAULT_ROOT, strlen(RDO_FAULT_ROOT)) == 0;
}

// The mount that a path names, and the name behind it.
static rdo_mount *mount_of(const char *path, const char **name) {
    char *end;
    uint64_t number = strtoull(path + strlen(RDO_FAULT_ROOT), &end, 10);
    *name = *end == '/' ? end + 1 : end;
    pthread_mutex_lock(&mounts_lock);
    rdo_mount *mount = mounts;
    while (mount && mount->number != number) mount = mount->next;
    pthread_mutex_unlock(&mounts_lock);
    return mount;
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *out) {
    (void)vfs;
    if (!is_ours(path)) return original->xOpen(original, path, base, flags, out);
    base->pMethods = NULL;
    const char *name;
    rdo_mount *mount = mount_of(path, &name);
    if (!mount || mount->is_cut) return SQLITE_CANTOPEN;
    rdo_handle *handle = (rdo_handle *)base;
    handle->file = find(mount->store, name, flags & SQLITE_OPEN_CREATE);
    if (!handle->file) return SQLITE_CANTOPEN;
    handle->mount = mount;
    handle->delete_on_close = flags & SQLITE_OPEN_DELETEONCLOSE;
    mount->references++;
    base->pMethods = &methods;
    if (out) *out = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_directory) {
    (void)vfs;
    if (!is_ours(path)) return original->xDelete(original, path, sync_directory);
    const char *name;
    rdo_mount *mount = mount_of(path, &name);
    if (!mount || mount->is_cut) return SQLITE_IOERR_DELETE;
    rdo_file *file = find(mount->store, name, 0);
    if (!file) return SQLITE_IOERR_DELETE_NOENT;
    file->exists = 0;
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *answer) {
    (void)vfs;
    if (!is_ours(path)) return original->xAccess(original, path, flags, answer);
    const char *name;
    rdo_mount *mount = mount_of(path, &name);
    if (!mount || mount->is_cut) return SQLITE_IOERR_ACCESS;
    rdo_file *file = find(mount->store, name, 0);
    // As the unix file system of SQLite: an empty file does not count as existing.
    *answer = file && (flags != SQLITE_ACCESS_EXISTS || file->now_bytes > 0);
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int count, char *out) {
    (void)vfs;
    if (!is_ours(path)) return original->xFullPathname(original, path, count, out);
    return snprintf(out, (size_t)count, "%s", path) < count ? SQLITE_OK : SQLITE_CANTOPEN;
}

int rdo_fault_start(void) {
    static sqlite3_vfs ours;
    static int status = -1;
    int error = sqlite3_initialize();
    if (error != SQLITE_OK) return error;
    pthread_mutex_lock(&mounts_lock);
    if (status == -1) {
        original = sqlite3_vfs_find(NULL);
        ours = *original;
        ours.zName = "rdo-fault";
        ours.pNext = NULL;
        if (ours.szOsFile < (int)sizeof(rdo_handle)) ours.szOsFile = (int)sizeof(rdo_handle);
        ours.xOpen = vfs_open;
        ours.xDelete = vfs_delete;
        ours.xAccess = vfs_access;
        ours.xFullPathname = vfs_full_path;
        status = sqlite3_vfs_register(&ours, 1);
    }
    error = status;
    pthread_mutex_unlock(&mounts_lock);
    return error;
}

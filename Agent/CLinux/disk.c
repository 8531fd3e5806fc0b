#define _GNU_SOURCE
#include "disk.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

int rdo_disk_open(const char *path, int exclusive, int direct) {
    struct stat status;
    int flags = O_RDWR | O_CLOEXEC;
    if (direct) flags |= O_DIRECT;
    // O_EXCL without O_CREAT means something on block devices only: nobody has it mounted or claimed.
    if (exclusive && stat(path, &status) == 0 && S_ISBLK(status.st_mode)) flags |= O_EXCL;
    return open(path, flags);
}

int rdo_disk_geometry(int disk, uint64_t *bytes, uint32_t *block_bytes) {
    struct stat status;
    if (fstat(disk, &status) != 0) return errno;
    if (S_ISREG(status.st_mode)) {
        *bytes = (uint64_t)status.st_size;
        *block_bytes = 512;
        return 0;
    }
    if (!S_ISBLK(status.st_mode)) return ENOTBLK;
    int block = 0;
    if (ioctl(disk, BLKSSZGET, &block) != 0 || ioctl(disk, BLKGETSIZE64, bytes) != 0) return errno;
    *block_bytes = (uint32_t)block;
    return 0;
}

static int range_request(int disk, unsigned long request, uint64_t offset, uint64_t count) {
    uint64_t range[2] = {offset, count};
    return ioctl(disk, request, range) == 0 ? 0 : errno;
}

int rdo_disk_discard(int disk, uint64_t offset, uint64_t count) {
    return range_request(disk, BLKDISCARD, offset, count);
}

int rdo_disk_zero(int disk, uint64_t offset, uint64_t count) {
    // Punching lets the device give the blocks back and promises zeros all the same (blkdev_fallocate);
    // BLKZEROOUT makes it keep them.
    if (rdo_file_punch(disk, offset, count) == 0) return 0;
    return range_request(disk, BLKZEROOUT, offset, count);
}

int rdo_disk_reread(int disk) { return ioctl(disk, BLKRRPART, 0) == 0 ? 0 : errno; }

int rdo_disk_drop_cache(int disk) { return ioctl(disk, BLKFLSBUF, 0) == 0 ? 0 : errno; }

int rdo_file_punch(int file, uint64_t offset, uint64_t count) {
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return fallocate(file, mode, (off_t)offset, (off_t)count) == 0 ? 0 : errno;
}

int rdo_file_make_mutable(int file) {
    int flags = 0;
    if (ioctl(file, FS_IOC_GETFLAGS, &flags) != 0) return errno;
    if (!(flags & FS_IMMUTABLE_FL)) return 0;
    flags &= ~FS_IMMUTABLE_FL;
    return ioctl(file, FS_IOC_SETFLAGS, &flags) == 0 ? 0 : errno;
}

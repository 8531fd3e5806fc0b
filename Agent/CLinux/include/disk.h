// Requests to block devices whose numbers Swift cannot compute from the kernel's macros.
#ifndef RDO_DISK_H
#define RDO_DISK_H
#include <stdint.h>

// Opens for direct, exclusive access where the file allows both; -1 with errno.
int rdo_disk_open(const char *path, int exclusive, int direct);
// 0 on success, else errno.
int rdo_disk_geometry(int disk, uint64_t *bytes, uint32_t *block_bytes);
int rdo_disk_discard(int disk, uint64_t offset, uint64_t count);
int rdo_disk_zero(int disk, uint64_t offset, uint64_t count);
int rdo_disk_reread(int disk);
int rdo_disk_drop_cache(int disk);
// Punches a hole into a regular file, which reads as zero from then on.
int rdo_file_punch(int file, uint64_t offset, uint64_t count);
// Takes the attribute that forbids changes off a file (firmware variables carry it).
int rdo_file_make_mutable(int file);

#endif

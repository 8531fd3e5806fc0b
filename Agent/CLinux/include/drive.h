// Commands that go past the kernel's block layer to the drive itself.
#ifndef RDO_DRIVE_H
#define RDO_DRIVE_H
#include <stddef.h>
#include <stdint.h>

// One NVMe admin command; `words` are command dwords 10 to 15. Returns the drive's status (0 is
// success), or -errno. `result` takes completion dword 0.
int rdo_nvme_admin(int drive, uint8_t opcode, uint32_t space, const uint32_t words[6], void *data,
                   uint32_t bytes, uint32_t milliseconds, uint32_t *result);
// The namespace of an NVMe block device, or -errno.
int rdo_nvme_namespace(int drive);

// One ATA command of 48 bits through SCSI's pass-through (16 bytes). `registers` holds features, count,
// lba (6 bytes), device, command: 10 bytes in, and error, count, lba (6), device, status out.
// direction: 0 none, 1 from the drive, 2 to the drive. Returns 0, or -errno.
int rdo_ata(int drive, uint8_t registers[10], int direction, void *data, uint32_t bytes,
            uint32_t milliseconds);

#endif

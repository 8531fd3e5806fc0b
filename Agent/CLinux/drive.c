#define _GNU_SOURCE
#include "drive.h"
#include <errno.h>
#include <linux/nvme_ioctl.h>
#include <scsi/sg.h>
#include <string.h>
#include <sys/ioctl.h>

int rdo_nvme_admin(int drive, uint8_t opcode, uint32_t space, const uint32_t words[6], void *data,
                   uint32_t bytes, uint32_t milliseconds, uint32_t *result) {
    struct nvme_admin_cmd command;
    memset(&command, 0, sizeof command);
    command.opcode = opcode;
    command.nsid = space;
    command.addr = (uint64_t)(uintptr_t)data;
    command.data_len = bytes;
    command.cdw10 = words[0];
    command.cdw11 = words[1];
    command.cdw12 = words[2];
    command.cdw13 = words[3];
    command.cdw14 = words[4];
    command.cdw15 = words[5];
    command.timeout_ms = milliseconds;
    int status = ioctl(drive, NVME_IOCTL_ADMIN_CMD, &command);
    if (status < 0) return -errno;
    *result = command.result;
    return status;
}

int rdo_nvme_namespace(int drive) {
    int space = ioctl(drive, NVME_IOCTL_ID);
    return space < 0 ? -errno : space;
}

// Where each register stands in the command; the status descriptor has it one byte earlier.
static const uint8_t places[10] = {4, 6, 8, 10, 12, 7, 9, 11, 13, 14};

int rdo_ata(int drive, uint8_t registers[10], int direction, void *data, uint32_t bytes,
            uint32_t milliseconds) {
    // ATA PASS-THROUGH (16): protocol 3 is no data, 4 data in, 5 data out; the extended form, with the
    // registers wanted back (CK_COND).
    static const uint8_t protocols[] = {3, 4, 5};
    static const uint8_t flags[] = {0x20, 0x2e, 0x26};
    uint8_t block[16] = {0x85, (uint8_t)(protocols[direction] << 1 | 1), flags[direction]};
    for (int i = 0; i < 10; i++) block[places[i]] = registers[i];
    uint8_t sense[64] = {0};
    struct sg_io_hdr request;
    memset(&request, 0, sizeof request);
    request.interface_id = 'S';
    request.dxfer_direction =
        direction == 0 ? SG_DXFER_NONE : direction == 1 ? SG_DXFER_FROM_DEV : SG_DXFER_TO_DEV;
    request.cmd_len = sizeof block;
    request.cmdp = block;
    request.dxferp = data;
    request.dxfer_len = bytes;
    request.mx_sb_len = sizeof sense;
    request.sbp = sense;
    request.timeout = milliseconds;
    if (ioctl(drive, SG_IO, &request) < 0) return -errno;
    if (request.host_status != 0) return -EIO;
    if ((sense[0] & 0x7f) == 0x70 && sense[12] == 0 && sense[13] == 0x1d) {
        // Fixed format: three bytes of the address, and a bit that says whether there was more.
        if (sense[8] & 0x20) return -EOVERFLOW;
        memset(registers, 0, 10);
        registers[0] = sense[3];
        registers[1] = sense[6];
        memcpy(registers + 2, sense + 9, 3);
        registers[8] = sense[5];
        registers[9] = sense[4];
        return 0;
    }
    // Descriptor sense with the ATA status return (0x09, 12 bytes).
    if ((sense[0] & 0x7f) != 0x72 || sense[8] != 0x09) {
        if ((sense[1] & 0x0f) == 5 || (sense[2] & 0x0f) == 5) return -EOPNOTSUPP;
        return -EPROTO;
    }
    const uint8_t *found = sense + 8;
    for (int i = 0; i < 10; i++) registers[i] = found[places[i] - 1];
    return 0;
}

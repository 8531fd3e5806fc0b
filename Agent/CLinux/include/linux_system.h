// Kernel calls that Swift cannot make itself: variadic ones (ioctl, syscall), macros, and whatever
// must happen between fork and exec. Every function returns a value >= 0, or -errno.
#ifndef RDO_LINUX_SYSTEM_H
#define RDO_LINUX_SYSTEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Starts a program in a process group of its own; the three descriptors become its 0, 1 and 2, all
// others are closed. `directory` may be null. Returns the process id.
int rdo_spawn(const char *path, char *const argv[], char *const envp[], const char *directory,
              int in, int out, int err);
// A descriptor that becomes readable when the process has ended.
int rdo_pidfd(pid_t pid);
int rdo_eventfd(void);
// Reader and writer, both closed by exec.
int rdo_pipe(int ends[2]);
// Opens a disk for direct, exclusive reading and writing.
int rdo_open_direct(const char *path);

// Restarts (power_off == 0) or switches the machine off at once; nothing is synchronised.
int rdo_reboot(int power_off);
int rdo_load_module(int file, const char *parameters);
int rdo_set_clock(int64_t nanoseconds);

// Makes the descriptor the controlling terminal of a new session.
int rdo_take_terminal(int file);

int rdo_interface_index(const char *name);
int rdo_interface_up(const char *name);
// Addresses are in network byte order, as they stand in a packet.
int rdo_set_address(const char *name, uint32_t address, uint32_t mask);
int rdo_add_route(const char *name, uint32_t destination, uint32_t mask, uint32_t gateway);

// Makes the interface NAME.TAG that sends and takes tagged frames; one that is there already is taken.
int rdo_add_vlan(const char *name, int tag);

// A packet socket for IPv4 frames with UDP destination port 68 on one interface.
int rdo_open_dhcp(int interface_index);
// Sends one IPv4 packet as a link-layer broadcast.
int rdo_send_ipv4(int socket, int interface_index, const void *packet, size_t bytes);
// A packet socket for LLDP frames (ethertype 0x88cc, all three group addresses) on one interface.
int rdo_open_lldp(int interface_index);

// Sends one request to the in-band BMC and waits for the answer (completion code and data).
int rdo_ipmi(int device, uint8_t function, uint8_t command, const uint8_t *data, size_t bytes,
             uint8_t *answer, size_t answer_max, int timeout_milliseconds);

#endif

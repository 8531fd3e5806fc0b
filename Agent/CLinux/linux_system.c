#define _GNU_SOURCE
#include "linux_system.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/if_vlan.h>
#include <linux/ipmi.h>
#include <linux/reboot.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <signal.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int result(long value) { return value < 0 ? -errno : (int)value; }

// Runs in the child; only calls that are safe after fork.
static void become(const char *path, char *const argv[], char *const envp[], const char *directory,
                   const int streams[3], int report) {
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < 32; number++) {
        if (number != SIGKILL && number != SIGSTOP) signal(number, SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    // First above 2, so that no descriptor is overwritten before it was copied.
    int copies[3];
    int failed = 0;
    for (int index = 0; index < 3; index++) {
        copies[index] = fcntl(streams[index], F_DUPFD, 10);
        failed = failed || copies[index] < 0;
    }
    for (int index = 0; index < 3 && !failed; index++) failed = dup2(copies[index], index) < 0;
    int keep = 3;
    if (!failed) failed = report != keep && dup2(report, keep) < 0;
    if (!failed) failed = fcntl(keep, F_SETFD, FD_CLOEXEC) < 0;
    if (!failed) failed = syscall(SYS_close_range, keep + 1, ~0u, 0) < 0;
    if (!failed && directory) failed = chdir(directory) < 0;
    if (!failed) execve(path, argv, envp);
    int code = errno;
    ssize_t written = write(failed ? report : keep, &code, sizeof code);
    (void)written;
    _exit(127);
}

int rdo_spawn(const char *path, char *const argv[], char *const envp[], const char *directory,
              int in, int out, int err) {
    int report[2];
    const int streams[3] = {in, out, err};
    if (pipe2(report, O_CLOEXEC) < 0) return -errno;
    // No signal may run our handlers in the child before they are reset.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) become(path, argv, envp, directory, streams, report[1]);
    int code = pid < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(report[1]);
    if (pid > 0) {
        ssize_t got;
        do got = read(report[0], &code, sizeof code);
        while (got < 0 && errno == EINTR);
        if (got != sizeof code) code = 0;
        if (code != 0) {
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
        }
    }
    close(report[0]);
    return code != 0 ? -code : pid;
}

int rdo_pidfd(pid_t pid) { return result(syscall(SYS_pidfd_open, pid, 0)); }

int rdo_eventfd(void) { return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int rdo_pipe(int ends[2]) { return result(pipe2(ends, O_CLOEXEC)); }

int rdo_open_direct(const char *path) {
    return result(open(path, O_RDWR | O_CLOEXEC | O_DIRECT | O_EXCL));
}

int rdo_reboot(int power_off) {
    unsigned command = power_off ? LINUX_REBOOT_CMD_POWER_OFF : LINUX_REBOOT_CMD_RESTART;
    return result(
        syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, command, NULL));
}

int rdo_load_module(int file, const char *parameters) {
    return result(syscall(SYS_finit_module, file, parameters, 0));
}

int rdo_set_clock(int64_t nanoseconds) {
    struct timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    return result(clock_settime(CLOCK_REALTIME, &time));
}

int rdo_take_terminal(int file) {
    setsid();
    return result(ioctl(file, TIOCSCTTY, 1));
}

int rdo_interface_index(const char *name) {
    unsigned index = if_nametoindex(name);
    return index == 0 ? -errno : (int)index;
}

static int with_interface(const char *name, int (*work)(int, struct ifreq *, const void *),
                          const void *context) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (strlen(name) >= IFNAMSIZ) return -ENAMETOOLONG;
    strcpy(request.ifr_name, name);
    int file = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (file < 0) return -errno;
    int status = work(file, &request, context) < 0 ? -errno : 0;
    close(file);
    return status;
}

static int bring_up(int file, struct ifreq *request, const void *context) {
    (void)context;
    if (ioctl(file, SIOCGIFFLAGS, request) < 0) return -1;
    request->ifr_flags |= IFF_UP;
    return ioctl(file, SIOCSIFFLAGS, request);
}

int rdo_interface_up(const char *name) { return with_interface(name, bring_up, NULL); }

static int set_address(int file, struct ifreq *request, const void *context) {
    const uint32_t *pair = context;
    struct sockaddr_in *address = (struct sockaddr_in *)&request->ifr_addr;
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = pair[0];
    if (ioctl(file, SIOCSIFADDR, request) < 0) return -1;
    address->sin_addr.s_addr = pair[1];
    return ioctl(file, SIOCSIFNETMASK, request);
}

int rdo_set_address(const char *name, uint32_t address, uint32_t mask) {
    const uint32_t pair[2] = {address, mask};
    return with_interface(name, set_address, pair);
}

int rdo_add_route(const char *name, uint32_t destination, uint32_t mask, uint32_t gateway) {
    struct rtentry route;
    memset(&route, 0, sizeof route);
    struct sockaddr_in *part = (struct sockaddr_in *)&route.rt_dst;
    part->sin_family = AF_INET;
    part->sin_addr.s_addr = destination;
    part = (struct sockaddr_in *)&route.rt_genmask;
    part->sin_family = AF_INET;
    part->sin_addr.s_addr = mask;
    part = (struct sockaddr_in *)&route.rt_gateway;
    part->sin_family = AF_INET;
    part->sin_addr.s_addr = gateway;
    route.rt_flags = RTF_UP | (gateway != 0 ? RTF_GATEWAY : 0);
    route.rt_dev = (char *)name;
    int file = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (file < 0) return -errno;
    int status = ioctl(file, SIOCADDRT, &route) < 0 && errno != EEXIST ? -errno : 0;
    close(file);
    return status;
}

int rdo_add_vlan(const char *name, int tag) {
    struct vlan_ioctl_args request;
    memset(&request, 0, sizeof request);
    if (strlen(name) >= sizeof request.device1) return -ENAMETOOLONG;
    int file = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (file < 0) return -errno;
    request.cmd = SET_VLAN_NAME_TYPE_CMD;
    request.u.name_type = VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD;
    int status = ioctl(file, SIOCSIFVLAN, &request) < 0 ? -errno : 0;
    if (status == 0) {
        request.cmd = ADD_VLAN_CMD;
        strcpy(request.device1, name);
        request.u.VID = tag;
        if (ioctl(file, SIOCSIFVLAN, &request) < 0 && errno != EEXIST) status = -errno;
    }
    close(file);
    return status;
}

// A packet socket starts without a protocol, so that nothing arrives before its filter is set.
static int open_packet(int interface_index, uint16_t protocol, const struct sock_fprog *filter) {
    int file = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (file < 0) return -errno;
    struct sockaddr_ll address;
    memset(&address, 0, sizeof address);
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(protocol);
    address.sll_ifindex = interface_index;
    if ((filter && setsockopt(file, SOL_SOCKET, SO_ATTACH_FILTER, filter, sizeof *filter) < 0) ||
        bind(file, (struct sockaddr *)&address, sizeof address) < 0) {
        int code = errno;
        close(file);
        return -code;
    }
    return file;
}

int rdo_open_dhcp(int interface_index) {
    // IPv4, protocol UDP, first fragment, destination port 68. Offsets count from the IP header.
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 17, 0, 6),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 68, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    static const struct sock_fprog filter = {sizeof code / sizeof code[0], code};
    return open_packet(interface_index, ETH_P_IP, &filter);
}

int rdo_send_ipv4(int socket, int interface_index, const void *packet, size_t bytes) {
    struct sockaddr_ll address;
    memset(&address, 0, sizeof address);
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_IP);
    address.sll_ifindex = interface_index;
    address.sll_halen = ETH_ALEN;
    memset(address.sll_addr, 0xff, ETH_ALEN);
    return result(
        sendto(socket, packet, bytes, 0, (struct sockaddr *)&address, sizeof address));
}

int rdo_open_lldp(int interface_index) {
    static const uint8_t last_bytes[3] = {0x0e, 0x03, 0x00};
    int file = open_packet(interface_index, 0x88cc, NULL);
    if (file < 0) return file;
    for (int index = 0; index < 3; index++) {
        struct packet_mreq group;
        memset(&group, 0, sizeof group);
        group.mr_ifindex = interface_index;
        group.mr_type = PACKET_MR_MULTICAST;
        group.mr_alen = ETH_ALEN;
        const uint8_t address[6] = {0x01, 0x80, 0xc2, 0x00, 0x00, last_bytes[index]};
        memcpy(group.mr_address, address, sizeof address);
        if (setsockopt(file, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof group) < 0) {
            int code = errno;
            close(file);
            return -code;
        }
    }
    return file;
}

int rdo_ipmi(int device, uint8_t function, uint8_t command, const uint8_t *data, size_t bytes,
             uint8_t *answer, size_t answer_max, int timeout_milliseconds) {
    struct ipmi_system_interface_addr address = {
        IPMI_SYSTEM_INTERFACE_ADDR_TYPE, IPMI_BMC_CHANNEL, 0};
    static long last;
    struct ipmi_req request;
    memset(&request, 0, sizeof request);
    request.addr = (unsigned char *)&address;
    request.addr_len = sizeof address;
    request.msgid = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
    request.msg.netfn = function;
    request.msg.cmd = command;
    request.msg.data = (unsigned char *)data;
    request.msg.data_len = (unsigned short)bytes;
    if (ioctl(device, IPMICTL_SEND_COMMAND, &request) < 0) return -errno;
    for (;;) {
        struct pollfd ready = {device, POLLIN, 0};
        int count = poll(&ready, 1, timeout_milliseconds);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return count < 0 ? -errno : -ETIMEDOUT;
        struct ipmi_addr from;
        struct ipmi_recv received;
        memset(&received, 0, sizeof received);
        received.addr = (unsigned char *)&from;
        received.addr_len = sizeof from;
        received.msg.data = answer;
        received.msg.data_len = (unsigned short)(answer_max > 0xffff ? 0xffff : answer_max);
        if (ioctl(device, IPMICTL_RECEIVE_MSG_TRUNC, &received) < 0 && errno != EMSGSIZE)
            return -errno;
        if (received.msgid == request.msgid && received.recv_type == IPMI_RESPONSE_RECV_TYPE)
            return received.msg.data_len;
    }
}

import Basics
import Glibc

/// A listening TCP socket that is opened in one place, as the host's network namespace, and served in
/// another, by a process to which it is handed over.
///
/// The protocol is systemd's: the process finds the sockets at descriptors 3, 4, … in the order given;
/// `LISTEN_FDS` is their number, `LISTEN_PID` the process's own number, `LISTEN_FDNAMES` their names
/// joined by colons. `BackgroundProcess` hands over; `handedOver()` takes.
package struct ListeningSocket: Sendable {
    /// The open descriptor; the owner closes it with `close()`.
    package let descriptor: Int32
    /// What it is for, for `LISTEN_FDNAMES`: letters, digits and `-`.
    package let name: String

    package init(descriptor: Int32, name: String) {
        self.descriptor = descriptor
        self.name = name
    }

    /// Opens a listening socket on an IP address, in the caller's network namespace.
    ///
    /// With port 0 the system chooses; `port` tells.
    /// - Throws: `Fault`: `invalid` for a bad address, `conflict` when the port is taken.
    package static func open(
        _ address: String,
        port: UInt16,
        name: String = "api"
    ) throws -> ListeningSocket {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, String(port), &hints, &found) == 0, let found else {
            throw Fault(.invalid, "cannot listen on \(address): it is no IP address")
        }
        defer { freeaddrinfo(found) }
        let type = found.pointee.ai_socktype | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(found.pointee.ai_family, type, 0)
        guard descriptor >= 0 else { throw systemFault("listen on \(address) port \(port)") }
        var on: Int32 = 1
        setsockopt(
            descriptor,
            SOL_SOCKET,
            SO_REUSEADDR,
            &on,
            socklen_t(MemoryLayout<Int32>.size)
        )
        guard bind(descriptor, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0,
            listen(descriptor, 512) == 0
        else {
            let taken = errno == EADDRINUSE
            let fault = systemFault("listen on \(address) port \(port)")
            Glibc.close(descriptor)
            guard taken else { throw fault }
            throw Fault(
                .conflict,
                "cannot listen on \(address) port \(port): another program has it; stop that or choose another port"
            )
        }
        return ListeningSocket(descriptor: descriptor, name: name)
    }

    /// The local port, or 0 when the descriptor is no TCP socket.
    package var port: UInt16 {
        var address = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &size)
            }
        }
        guard status == 0 else { return 0 }
        // IPv4 and IPv6 have the port at the same place.
        return withUnsafeBytes(of: &address) { bytes in
            UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        }
    }

    /// Closes our own descriptor; a process that got the socket keeps it.
    package func close() { Glibc.close(descriptor) }

    /// The sockets handed over to this process; empty when `LISTEN_PID` is not our own number.
    ///
    /// Afterwards they are closed at an exec, so that programs we run do not get them.
    package static func handedOver() -> [ListeningSocket] {
        handedOver(environment: Tool.childEnvironment(adding: nil), pid: getpid())
    }

    static func handedOver(environment: [String: String], pid: Int32) -> [ListeningSocket] {
        guard environment["LISTEN_PID"].flatMap({ Int32($0) }) == pid,
            let count = environment["LISTEN_FDS"].flatMap({ Int32($0) }), (1...16).contains(count)
        else { return [] }
        let names = (environment["LISTEN_FDNAMES"] ?? "")
            .split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        return (0..<Int(count)).map { index in
            let descriptor = Int32(3 + index)
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            return ListeningSocket(
                descriptor: descriptor,
                name: index < names.count ? names[index] : "unknown"
            )
        }
    }
}

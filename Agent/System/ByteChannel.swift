import Basics
import CLinux
import Glibc
import Protocol

/// Why bytes could not be fetched or sent.
package struct TransferFailure: Error, Sendable, Hashable, CustomStringConvertible {
    /// What sort of failure, for whoever decides on another try.
    package enum Kind: Sendable, Hashable {
        /// Nobody answers, or the connection broke: another try may help.
        case connection
        /// The time budget is used up.
        case timeout
        /// The task was cancelled.
        case cancelled
        /// The peer could not prove who it is.
        case untrusted
        /// The peer does not keep to the protocol or to our limits.
        case malformed
    }

    package let kind: Kind
    /// A clause: `192.0.2.1 port 6385: connection refused`.
    package let text: String

    package init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }

    package var description: String { text }
}

/// A two-way stream of bytes whose every wait ends: by its deadline or when the task is cancelled.
protocol ByteChannel {
    /// Reads at least one byte unless the stream has ended (0).
    func read(
        into bytes: UnsafeMutableRawBufferPointer,
        until deadline: Deadline
    ) throws(TransferFailure) -> Int

    /// Writes some bytes; returns how many.
    func write(
        _ bytes: UnsafeRawBufferPointer,
        until deadline: Deadline
    ) throws(TransferFailure) -> Int
}

/// The end of a time budget.
///
/// Waits are cut into slices so that a cancelled task ends soon.
struct Deadline {
    let time: any TimeSource
    let end: Duration
    let subject: String

    init(_ budget: Duration, for subject: String, on time: any TimeSource) {
        self.time = time
        end = time.elapsed + budget
        self.subject = subject
    }

    /// Milliseconds to wait at most before asking again, 1 to 250.
    func slice() throws(TransferFailure) -> Int32 {
        if Task.isCancelled { throw TransferFailure(.cancelled, "\(subject): cancelled") }
        let left = (end - time.elapsed).wholeNanoseconds / 1_000_000
        guard left > 0 else {
            throw TransferFailure(.timeout, "\(subject): no answer within the time budget")
        }
        return Int32(min(left, 250))
    }
}

/// Opens a TCP connection; the socket is non-blocking.
///
/// A name's addresses are tried in order.
/// - Throws: `TransferFailure` that names host and port.
func connectSocket(
    host: String,
    port: UInt16,
    until deadline: Deadline
) throws(TransferFailure) -> Int32 {
    var hints = addrinfo()
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_NUMERICSERV
    var list: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(host, String(port), &hints, &list)
    guard status == 0, let first = list else {
        throw TransferFailure(
            .connection,
            "\(host): \(String(cString: gai_strerror(status)))"
        )
    }
    defer { freeaddrinfo(first) }
    var reason = "no address"
    var next: UnsafeMutablePointer<addrinfo>? = first
    while let entry = next?.pointee {
        let file = socket(
            entry.ai_family,
            Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue),
            0
        )
        if file >= 0 {
            let failure: Int32
            do throws(TransferFailure) {
                failure = try finishConnect(file, entry.ai_addr, entry.ai_addrlen, deadline)
            } catch {
                close(file)
                throw error
            }
            if failure == 0 {
                var on: Int32 = 1
                setsockopt(
                    file,
                    Int32(IPPROTO_TCP),
                    TCP_NODELAY,
                    &on,
                    socklen_t(MemoryLayout<Int32>.size)
                )
                return file
            }
            close(file)
            reason = String(cString: strerror(failure)).lowercased()
        }
        next = entry.ai_next
    }
    throw TransferFailure(.connection, "\(host) port \(port): \(reason)")
}

/// Waits until a connection stands; returns 0 or the error's number.
private func finishConnect(
    _ file: Int32,
    _ address: UnsafeMutablePointer<sockaddr>?,
    _ count: socklen_t,
    _ deadline: Deadline
) throws(TransferFailure) -> Int32 {
    if connect(file, address, count) == 0 { return 0 }
    guard errno == EINPROGRESS else { return errno }
    while true {
        var wait = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
        guard poll(&wait, 1, try deadline.slice()) > 0 else { continue }
        var failure: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(file, SOL_SOCKET, SO_ERROR, &failure, &size)
        return failure
    }
}

/// A plain TCP connection.
final class PlainChannel: ByteChannel {
    private let file: Int32

    init(host: String, port: UInt16, until deadline: Deadline) throws(TransferFailure) {
        file = try connectSocket(host: host, port: port, until: deadline)
    }

    deinit { close(file) }

    func read(
        into bytes: UnsafeMutableRawBufferPointer,
        until deadline: Deadline
    ) throws(TransferFailure) -> Int {
        while true {
            let count = recv(file, bytes.baseAddress, bytes.count, 0)
            if count >= 0 { return count }
            try wait(for: POLLIN, until: deadline)
        }
    }

    func write(
        _ bytes: UnsafeRawBufferPointer,
        until deadline: Deadline
    ) throws(TransferFailure) -> Int {
        while true {
            let count = send(file, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if count >= 0 { return count }
            try wait(for: POLLOUT, until: deadline)
        }
    }

    private func wait(for event: Int32, until deadline: Deadline) throws(TransferFailure) {
        guard errno == EAGAIN || errno == EINTR else {
            throw TransferFailure(
                .connection,
                "\(deadline.subject): \(String(cString: strerror(errno)))"
            )
        }
        var wait = pollfd(fd: file, events: Int16(event), revents: 0)
        poll(&wait, 1, try deadline.slice())
    }
}

/// The authorities that a TLS peer may be signed by: those given and no others.
package final class TLSTrust: Sendable {
    // SAFETY: OpenSSL's context may be used by many threads once it is set up, and is not changed later.
    nonisolated(unsafe) fileprivate let handle: OpaquePointer

    /// - Parameter pem: one or more certificates, as they came over the control channel.
    /// - Throws: `TransferFailure` when there is none among them.
    package init(pem: String) throws(TransferFailure) {
        var message = [CChar](repeating: 0, count: Int(RDO_TLS_MESSAGE_MAX))
        let bytes = Array(pem.utf8)
        guard let handle = rdo_tls_trust_new(bytes, bytes.count, &message) else {
            throw TransferFailure(.untrusted, "certificate authority: \(text(of: message))")
        }
        self.handle = handle
    }

    /// Takes every certificate, for one purpose only: see `SystemHostInterface`.
    /// - Throws: `TransferFailure` when memory is short.
    static func anybody() throws(TransferFailure) -> TLSTrust { try TLSTrust() }

    private init() throws(TransferFailure) {
        var message = [CChar](repeating: 0, count: Int(RDO_TLS_MESSAGE_MAX))
        guard let handle = rdo_tls_trust_anybody(&message) else {
            throw TransferFailure(.untrusted, text(of: message))
        }
        self.handle = handle
    }

    deinit { rdo_tls_trust_free(handle) }
}

/// A TLS connection to a peer that has proved its address or name.
final class TLSChannel: ByteChannel {
    private let handle: OpaquePointer
    private let trust: TLSTrust

    init(
        host: String,
        port: UInt16,
        trust: TLSTrust,
        until deadline: Deadline
    ) throws(TransferFailure) {
        let file = try connectSocket(host: host, port: port, until: deadline)
        var message = [CChar](repeating: 0, count: Int(RDO_TLS_MESSAGE_MAX))
        // A certificate names no zone of an address of the link.
        let name = String(host.prefix { $0 != "%" })
        guard let handle = rdo_tls_new(trust.handle, file, name, &message) else {
            throw TransferFailure(.untrusted, "\(host) port \(port): \(text(of: message))")
        }
        self.handle = handle
        self.trust = trust
        while true {
            switch rdo_tls_handshake(handle, try deadline.slice(), &message) {
            case 1: return
            case RDO_TLS_WAIT: continue
            default:
                let reason = text(of: message)
                let refused = reason.hasPrefix("certificate refused")
                throw TransferFailure(
                    refused ? .untrusted : .connection,
                    "\(host) port \(port): \(reason)"
                )
            }
        }
    }

    deinit { rdo_tls_free(handle) }

    func read(
        into bytes: UnsafeMutableRawBufferPointer,
        until deadline: Deadline
    ) throws(TransferFailure) -> Int {
        try move(until: deadline) { [handle] slice, message in
            rdo_tls_read(handle, bytes.baseAddress, bytes.count, slice, &message)
        }
    }

    func write(
        _ bytes: UnsafeRawBufferPointer,
        until deadline: Deadline
    ) throws(TransferFailure) -> Int {
        try move(until: deadline) { [handle] slice, message in
            rdo_tls_write(handle, bytes.baseAddress, bytes.count, slice, &message)
        }
    }

    private func move(
        until deadline: Deadline,
        _ step: (Int32, inout [CChar]) -> Int
    ) throws(TransferFailure) -> Int {
        var message = [CChar](repeating: 0, count: Int(RDO_TLS_MESSAGE_MAX))
        while true {
            switch step(try deadline.slice(), &message) {
            case Int(RDO_TLS_WAIT): continue
            case Int(RDO_TLS_ERROR):
                throw TransferFailure(.connection, "\(deadline.subject): \(text(of: message))")
            case let count: return count
            }
        }
    }
}

/// The text of a C buffer up to its end mark.
private func text(of message: [CChar]) -> String {
    String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

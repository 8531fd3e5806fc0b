import Basics
import CLinux
import Glibc

/// The certificate authority that a loaded server's certificate is signed by.
package final class LoadTrust: Sendable {
    // SAFETY: OpenSSL's context may be used by many threads once it is set up, and is not changed later.
    nonisolated(unsafe) let handle: OpaquePointer

    /// - Throws: `Fault` when the PEM holds no certificate.
    package init(pem: String) throws {
        var message = [CChar](repeating: 0, count: Int(RDO_TLS_MESSAGE_MAX))
        let bytes = Array(pem.utf8)
        guard let handle = rdo_tls_trust_new(bytes, bytes.count, &message) else {
            throw Fault(.invalid, "cannot load the server: its authority is no certificate")
        }
        self.handle = handle
    }

    deinit { rdo_tls_trust_free(handle) }
}

/// A server to put load on.
package struct LoadTarget: Sendable {
    /// An IPv4 address.
    package var host: String
    package var port: UInt16
    /// `nil` for plain HTTP.
    package var trust: LoadTrust?
    /// Header lines of every request, each with its line end.
    package var headers: String

    package init(host: String, port: UInt16, trust: LoadTrust? = nil, headers: String = "") {
        self.host = host
        self.port = port
        self.trust = trust
        self.headers = headers
    }

    /// The same server, with one header more.
    package func with(_ name: String, _ value: String) -> LoadTarget {
        var target = self
        target.headers += "\(name): \(value)\r\n"
        return target
    }
}

/// An answer; its body is only kept until the next request of the same connection.
package struct LoadAnswer {
    package let status: Int
    package let head: String
    package let body: [UInt8]

    /// The value of a header, in the spelling given.
    package func header(_ name: String) -> String? {
        head.split(separator: "\r\n").first { $0.lowercased().hasPrefix(name.lowercased() + ":") }
            .map { String($0.dropFirst(name.utf8.count + 1).drop { $0 == " " }) }
    }
}

/// One kept-open HTTP/1.1 connection that costs as little as possible, so that the server is what is measured.
///
/// It blocks its thread and is used by one.
package final class LoadConnection {
    private static let milliseconds: Int32 = 60_000

    private let target: LoadTarget
    private let source: String?
    private var file: Int32 = -1
    private var tls: OpaquePointer?
    private var window = [UInt8](repeating: 0, count: 256 << 10)
    private var buffer: [UInt8] = []

    /// `source` is the IPv4 address to speak from; `nil` leaves it to the kernel.
    package init(_ target: LoadTarget, from source: String? = nil) {
        self.target = target
        self.source = source
    }

    deinit { close() }

    /// Ends the connection; the next request makes another.
    package func close() {
        if let tls { rdo_tls_free(tls) } else if file >= 0 { Glibc.close(file) }
        tls = nil
        file = -1
        buffer = []
    }

    /// Sends a request and waits for its answer.
    /// - Throws: `Fault` of kind `unavailable` when the connection breaks.
    package func ask(_ method: String, _ path: String, _ body: [UInt8]? = nil) throws -> LoadAnswer
    {
        var text =
            "\(method) \(path) HTTP/1.1\r\nHost: \(target.host):\(target.port)\r\n\(target.headers)"
        if let body {
            text += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n"
        }
        let request = Array((text + "\r\n").utf8) + (body ?? [])
        if file < 0 { return try exchange(request) }
        do {
            return try exchange(request)
        } catch {
            // A server may close a kept connection at any time.
            close()
            return try exchange(request)
        }
    }

    /// Sends a request whose body comes from `parts`, of `count` bytes in all.
    package func upload(
        _ method: String,
        _ path: String,
        count: Int,
        parts: () throws -> [UInt8]?
    ) throws -> LoadAnswer {
        close()
        try open()
        let head =
            "\(method) \(path) HTTP/1.1\r\nHost: \(target.host):\(target.port)\r\n\(target.headers)"
            + "Content-Type: application/octet-stream\r\nContent-Length: \(count)\r\n\r\n"
        try write(Array(head.utf8))
        while let part = try parts() { try write(part) }
        return try answer()
    }

    private func exchange(_ request: [UInt8]) throws -> LoadAnswer {
        if file < 0 { try open() }
        try write(request)
        return try answer()
    }

    private func broken(_ what: String) -> Fault {
        Fault(.unavailable, "cannot load \(target.host) port \(target.port): \(what)")
    }

    // MARK: - Connecting

    private func open() throws {
        file = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard file >= 0 else { throw broken("no descriptor is left") }
        var on: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(file, Int32(IPPROTO_TCP), TCP_NODELAY, &on, size)
        if let source {
            // The port is chosen at connect, so that thousands of addresses do not use up the ports.
            setsockopt(file, Int32(IPPROTO_IP), 24 /* IP_BIND_ADDRESS_NO_PORT */, &on, size)
            guard call(source, port: 0, Glibc.bind) == 0 else {
                throw broken("\(source) is no address of this host")
            }
        }
        guard call(target.host, port: target.port, Glibc.connect) == 0 else {
            throw broken(String(cString: strerror(errno)))
        }
        guard let trust = target.trust else { return }
        _ = fcntl(file, F_SETFL, fcntl(file, F_GETFL) | O_NONBLOCK)
        var message = [CChar](repeating: 0, count: Int(RDO_TLS_MESSAGE_MAX))
        tls = rdo_tls_new(trust.handle, file, target.host, &message)
        guard let tls, rdo_tls_handshake(tls, Self.milliseconds, &message) == 1 else {
            throw broken("no TLS handshake")
        }
    }

    private func call(
        _ host: String,
        port: UInt16,
        _ body: (Int32, UnsafePointer<sockaddr>?, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        inet_pton(AF_INET, host, &address.sin_addr)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body(file, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    // MARK: - Bytes

    private func write(_ bytes: [UInt8]) throws {
        var message = [CChar](repeating: 0, count: Int(RDO_TLS_MESSAGE_MAX))
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { all in
                let rest = UnsafeRawBufferPointer(rebasing: all[sent...])
                if let tls {
                    return rdo_tls_write(
                        tls,
                        rest.baseAddress,
                        rest.count,
                        Self.milliseconds,
                        &message
                    )
                }
                return send(file, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw broken("the connection broke") }
            sent += count
        }
    }

    private func fill() throws {
        var message = [CChar](repeating: 0, count: Int(RDO_TLS_MESSAGE_MAX))
        let count = window.withUnsafeMutableBytes { bytes in
            if let tls {
                return rdo_tls_read(
                    tls,
                    bytes.baseAddress,
                    bytes.count,
                    Self.milliseconds,
                    &message
                )
            }
            return recv(file, bytes.baseAddress, bytes.count, 0)
        }
        guard count > 0 else { throw broken("the connection was closed") }
        buffer.append(contentsOf: window[..<count])
    }

    // MARK: - Answers

    private func answer() throws -> LoadAnswer {
        var end = headEnd()
        while end == nil {
            try fill()
            end = headEnd()
        }
        let head = String(decoding: buffer[..<(end ?? 0)], as: UTF8.self)
        buffer.removeFirst(end ?? 0)
        let empty = LoadAnswer(status: 0, head: head, body: [])
        guard let status = Int(head.dropFirst(9).prefix(3)) else { throw broken("no HTTP status") }
        var body: [UInt8] = []
        if empty.header("Transfer-Encoding")?.lowercased() == "chunked" {
            body = try chunks()
        } else if let count = empty.header("Content-Length").flatMap({ Int($0) }) {
            body = try take(count)
        }
        if empty.header("Connection")?.lowercased() == "close" { close() }
        return LoadAnswer(status: status, head: head, body: body)
    }

    private func headEnd() -> Int? {
        guard buffer.count >= 4 else { return nil }
        for index in 3..<buffer.count
        where buffer[index] == 10 && buffer[index - 1] == 13 && buffer[index - 2] == 10 {
            return index + 1
        }
        return nil
    }

    private func take(_ count: Int) throws -> [UInt8] {
        buffer.reserveCapacity(count)
        while buffer.count < count { try fill() }
        let part = Array(buffer[..<count])
        buffer.removeFirst(count)
        return part
    }

    private func chunks() throws -> [UInt8] {
        var body: [UInt8] = []
        while true {
            var end = buffer.firstIndex(of: 10)
            while end == nil {
                try fill()
                end = buffer.firstIndex(of: 10)
            }
            let line = try take((end ?? 0) + 1).prefix { $0 != 13 && $0 != 59 }
            guard let count = Int(String(decoding: line, as: UTF8.self), radix: 16) else {
                throw broken("a malformed chunk")
            }
            body += try take(count)
            _ = try take(2)
            if count == 0 { return body }
        }
    }
}

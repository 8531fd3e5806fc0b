package import Basics

/// Where a server is.
///
/// Credentials belong to one origin and are never sent to another.
package struct HTTPOrigin: Sendable, Hashable, CustomStringConvertible {
    package let secure: Bool
    /// A name or an address; an IPv6 address without brackets.
    package let host: String
    package let port: UInt16

    /// Splits an address such as `https://192.0.2.1:6385/v1/images/x` into origin and path.
    ///
    /// Strict: no user, query or fragment, no control characters or spaces. The path begins with `/`.
    package static func parse(_ url: String) -> (origin: HTTPOrigin, path: String)? {
        let secure: Bool
        var rest: Substring
        if url.hasPrefix("https://") {
            (secure, rest) = (true, url.dropFirst(8))
        } else if url.hasPrefix("http://") {
            (secure, rest) = (false, url.dropFirst(7))
        } else {
            return nil
        }
        guard url.utf8.count <= 2048, url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            !url.contains("#"), !url.contains("\\")
        else { return nil }
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        let path = slash == rest.endIndex ? "/" : String(rest[slash...])
        rest = rest[..<slash]
        guard !rest.contains("@"), !rest.contains("?") else { return nil }
        guard let (host, port) = splitPort(rest) else { return nil }
        guard port != "", let number = UInt16(port ?? (secure ? "443" : "80")), number > 0 else {
            return nil
        }
        return (HTTPOrigin(secure: secure, host: host, port: number), path)
    }

    private static func splitPort(_ text: Substring) -> (host: String, port: String?)? {
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { return nil }
            let host = String(text[text.index(after: text.startIndex)..<close])
            let tail = text[text.index(after: close)...]
            guard !host.isEmpty, host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." })
            else { return nil }
            if tail.isEmpty { return (host, nil) }
            guard tail.hasPrefix(":") else { return nil }
            return (host, String(tail.dropFirst()))
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let host = parts.first, !host.isEmpty,
            host.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-._".contains($0)) })
        else { return nil }
        return (String(host), parts.count == 2 ? String(parts[1]) : nil)
    }

    /// As it stands in the `Host` header.
    ///
    /// An address of the link stands there without its zone, which is this machine's own business.
    package var authority: String {
        let plain = host.prefix { $0 != "%" }
        let name = host.contains(":") ? "[\(plain)]" : host
        return port == (secure ? 443 : 80) ? name : "\(name):\(port)"
    }

    package var description: String { "\(secure ? "https" : "http")://\(authority)" }
}

/// A small HTTP/1.1 client for one origin: one connection, kept open between requests.
///
/// It blocks its thread and is used by one thread at a time. Redirects are not followed: they are
/// answers like any other. Every request has a time budget, and waiting ends early when the task is
/// cancelled.
package final class HTTPSClient {
    private let origin: HTTPOrigin
    private let trust: TLSTrust?
    private let time: any TimeSource
    private var reader: HTTPReader?

    /// Takes what it works with.
    ///
    /// `trust`: who may sign the server's certificate; needed when the origin is secure.
    package init(origin: HTTPOrigin, trust: TLSTrust?, time: any TimeSource) {
        precondition(!origin.secure || trust != nil, "a secure origin needs a trust")
        self.origin = origin
        self.trust = trust
        self.time = time
    }

    /// Fetches a path of the origin.
    ///
    /// `path`: begins with `/`.
    /// `range`: bytes to ask for; the server may still send everything (200 instead of 206).
    /// `bytesMax`: a longer body is refused.
    /// `budget`: for the whole exchange.
    /// `body`: is replaced; its storage is used again.
    /// - Returns: the status.
    /// - Throws: `TransferFailure`; the connection is given up then.
    package func get(
        _ path: String,
        headers: [(name: String, value: Secret)] = [],
        range: Range<Int>? = nil,
        bytesMax: Int,
        budget: Duration,
        into body: inout [UInt8]
    ) throws(TransferFailure) -> Int {
        let deadline = Deadline(budget, for: "\(origin)\(path)", on: time)
        return try perform(try request("GET", path, headers, range), bytesMax, deadline, &body)
    }

    /// Changes a resource of the origin to what `content` says; safe to repeat.
    ///
    /// `content`: JSON. The others are as with `get`.
    package func patch(
        _ path: String,
        headers: [(name: String, value: Secret)],
        content: [UInt8],
        bytesMax: Int,
        budget: Duration,
        into body: inout [UInt8]
    ) throws(TransferFailure) -> Int {
        let deadline = Deadline(budget, for: "\(origin)\(path)", on: time)
        let own = [
            (name: "Content-Type", value: Secret("application/json")),
            (name: "Content-Length", value: Secret("\(content.count)")),
        ]
        let head = try request("PATCH", path, headers + own, nil)
        return try perform(head + content, bytesMax, deadline, &body)
    }

    private func perform(
        _ request: [UInt8],
        _ bytesMax: Int,
        _ deadline: Deadline,
        _ body: inout [UInt8]
    ) throws(TransferFailure) -> Int {
        // A kept connection may have been closed by the server meanwhile: then, and only then, ask again.
        if let kept = reader {
            do throws(TransferFailure) {
                return try exchange(request, on: kept, bytesMax, deadline, &body)
            } catch {
                guard error.kind == .connection, !kept.answerBegan else { throw error }
            }
        }
        let fresh = HTTPReader(try open(until: deadline))
        return try exchange(request, on: fresh, bytesMax, deadline, &body)
    }

    /// Closes the connection; the next request opens another.
    package func close() { reader = nil }

    private func open(until deadline: Deadline) throws(TransferFailure) -> any ByteChannel {
        guard origin.secure, let trust else {
            return try PlainChannel(host: origin.host, port: origin.port, until: deadline)
        }
        return try TLSChannel(host: origin.host, port: origin.port, trust: trust, until: deadline)
    }

    private func request(
        _ method: String,
        _ path: String,
        _ headers: [(name: String, value: Secret)],
        _ range: Range<Int>?
    ) throws(TransferFailure) -> [UInt8] {
        var text = "\(method) \(path) HTTP/1.1\r\n"
        text += "Host: \(origin.authority)\r\nUser-Agent: rdo-agent\r\n"
        if let range { text += "Range: bytes=\(range.lowerBound)-\(range.upperBound - 1)\r\n" }
        for (name, value) in headers { text += "\(name): \(value.reveal())\r\n" }
        let lines = 3 + (range == nil ? 0 : 1) + headers.count
        let bytes = Array(text.utf8)
        guard path.hasPrefix("/"), bytes.count(where: { $0 == 10 }) == lines,
            bytes.count(where: { $0 == 13 }) == lines, !bytes.contains(0)
        else { throw TransferFailure(.malformed, "\(origin): a header or the path is malformed") }
        return bytes + [13, 10]
    }

    private func exchange(
        _ request: [UInt8],
        on reader: HTTPReader,
        _ bytesMax: Int,
        _ deadline: Deadline,
        _ body: inout [UInt8]
    ) throws(TransferFailure) -> Int {
        self.reader = nil
        reader.answerBegan = false
        var sent = 0
        while sent < request.count {
            var count = 0
            var failure: TransferFailure?
            request.withUnsafeBytes { bytes in
                do throws(TransferFailure) {
                    count = try reader.channel.write(
                        UnsafeRawBufferPointer(rebasing: bytes[sent...]),
                        until: deadline
                    )
                } catch {
                    failure = error
                }
            }
            if let failure { throw failure }
            sent += count
        }
        let (status, reusable) = try reader.answer(bytesMax: bytesMax, deadline, into: &body)
        if reusable { self.reader = reader }
        return status
    }
}

/// Reads HTTP/1.1 answers from a channel, strictly and within limits.
final class HTTPReader {
    static let headBytesMax = 16 << 10
    static let informationalMax = 4

    let channel: any ByteChannel
    /// Whether at least one byte of the present answer has arrived.
    var answerBegan = false
    private var buffer: [UInt8] = []
    private var position = 0
    private var window = [UInt8](repeating: 0, count: 64 << 10)

    init(_ channel: any ByteChannel) { self.channel = channel }

    /// How the end of a body is known.
    private enum Framing {
        case length(Int)
        case chunked
        case untilClosed
    }

    /// Reads one answer; `body` is replaced.
    /// - Returns: the status, and whether the connection may serve another request.
    func answer(
        bytesMax: Int,
        _ deadline: Deadline,
        into body: inout [UInt8]
    ) throws(TransferFailure) -> (status: Int, reusable: Bool) {
        body.removeAll(keepingCapacity: true)
        for _ in 0...Self.informationalMax {
            let head = try head(deadline)
            let status = try status(head.first ?? [], deadline)
            let fields = try fields(head.dropFirst(), deadline)
            if (100..<200).contains(status) { continue }
            let framing = try framing(status, fields, deadline)
            var reusable = !fields.contains { $0.name == "connection" && $0.value == "close" }
            switch framing {
            case .length(let count):
                guard count <= bytesMax else { throw tooLong(bytesMax, deadline) }
                try take(count, deadline, into: &body)
            case .chunked: try takeChunks(bytesMax, deadline, into: &body)
            case .untilClosed:
                reusable = false
                try takeAll(bytesMax, deadline, into: &body)
            }
            return (status, reusable && position == buffer.count)
        }
        throw malformed("too many interim answers", deadline)
    }

    // MARK: - Head

    private func head(_ deadline: Deadline) throws(TransferFailure) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var total = 0
        while true {
            let line = try line(deadline)
            total += line.count + 2
            guard total <= Self.headBytesMax else { throw malformed("long headers", deadline) }
            if line.isEmpty, !lines.isEmpty { return lines }
            lines.append(line)
        }
    }

    private func status(_ line: [UInt8], _ deadline: Deadline) throws(TransferFailure) -> Int {
        let text = String(decoding: line, as: UTF8.self)
        guard text.hasPrefix("HTTP/1.1 ") || text.hasPrefix("HTTP/1.0 "), text.utf8.count >= 12,
            let status = Int(text.dropFirst(9).prefix(3)), (100...599).contains(status)
        else { throw malformed("no HTTP status line", deadline) }
        return status
    }

    private func fields(
        _ lines: ArraySlice<[UInt8]>,
        _ deadline: Deadline
    ) throws(TransferFailure) -> [(name: String, value: String)] {
        var fields: [(name: String, value: String)] = []
        for line in lines {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > 0,
                line[..<colon].allSatisfy({ $0 > 0x20 && $0 < 0x7f })
            else { throw malformed("a header without a name", deadline) }
            let value = line[(colon + 1)...].drop { $0 == 0x20 || $0 == 0x09 }
            fields.append(
                (
                    String(decoding: line[..<colon], as: UTF8.self).lowercased(),
                    String(decoding: value, as: UTF8.self).lowercased()
                )
            )
        }
        return fields
    }

    private func framing(
        _ status: Int,
        _ fields: [(name: String, value: String)],
        _ deadline: Deadline
    ) throws(TransferFailure) -> Framing {
        if status == 204 || status == 304 { return .length(0) }
        let lengths = fields.filter { $0.name == "content-length" }.map(\.value)
        let encodings = fields.filter { $0.name == "transfer-encoding" }.map(\.value)
        if let encoding = encodings.first {
            guard encodings.count == 1, encoding == "chunked", lengths.isEmpty else {
                throw malformed("contradicting lengths", deadline)
            }
            return .chunked
        }
        guard let first = lengths.first else { return .untilClosed }
        guard lengths.allSatisfy({ $0 == first }), first.utf8.count <= 18,
            first.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int(first)
        else { throw malformed("a malformed length", deadline) }
        return .length(count)
    }

    // MARK: - Body

    private func take(
        _ count: Int,
        _ deadline: Deadline,
        into body: inout [UInt8]
    ) throws(TransferFailure) {
        body.reserveCapacity(body.count + count)
        var left = count
        while left > 0 {
            if position == buffer.count, try fill(deadline) == 0 {
                throw TransferFailure(
                    .connection,
                    "\(deadline.subject): the answer ended \(left) bytes too early"
                )
            }
            let part = min(left, buffer.count - position)
            body.append(contentsOf: buffer[position..<(position + part)])
            position += part
            left -= part
        }
    }

    private func takeChunks(
        _ bytesMax: Int,
        _ deadline: Deadline,
        into body: inout [UInt8]
    ) throws(TransferFailure) {
        while true {
            let size = try line(deadline).prefix { $0 != UInt8(ascii: ";") }
            // A sign is no digit, although `Int` would take it.
            guard (1...8).contains(size.count), !size.starts(with: [UInt8(ascii: "+")]),
                let count = Int(String(decoding: size, as: UTF8.self), radix: 16), count >= 0
            else { throw malformed("a malformed chunk", deadline) }
            guard body.count + count <= bytesMax else { throw tooLong(bytesMax, deadline) }
            if count == 0 { break }
            try take(count, deadline, into: &body)
            guard try line(deadline).isEmpty else { throw malformed("a long chunk", deadline) }
        }
        var trailers = 0
        while try !line(deadline).isEmpty {
            trailers += 1
            guard trailers <= 32 else { throw malformed("too many trailers", deadline) }
        }
    }

    private func takeAll(
        _ bytesMax: Int,
        _ deadline: Deadline,
        into body: inout [UInt8]
    ) throws(TransferFailure) {
        repeat {
            body.append(contentsOf: buffer[position...])
            position = buffer.count
            guard body.count <= bytesMax else { throw tooLong(bytesMax, deadline) }
        } while try fill(deadline) > 0
    }

    // MARK: - Bytes

    /// The bytes up to the next end of line, without it.
    private func line(_ deadline: Deadline) throws(TransferFailure) -> [UInt8] {
        var line: [UInt8] = []
        while true {
            if position == buffer.count, try fill(deadline) == 0 {
                throw TransferFailure(
                    .connection,
                    "\(deadline.subject): the connection was closed"
                )
            }
            let rest = buffer[position...]
            guard let end = rest.firstIndex(of: 10) else {
                line += rest
                position = buffer.count
                guard line.count <= Self.headBytesMax else {
                    throw malformed("a long line", deadline)
                }
                continue
            }
            line += rest[..<end]
            position = end + 1
            guard line.count <= Self.headBytesMax else { throw malformed("a long line", deadline) }
            if line.last == 13 { line.removeLast() }
            return line
        }
    }

    /// Reads more bytes; 0 at the end of the stream.
    private func fill(_ deadline: Deadline) throws(TransferFailure) -> Int {
        var count = 0
        var failure: TransferFailure?
        window.withUnsafeMutableBytes { bytes in
            do throws(TransferFailure) {
                count = try channel.read(into: bytes, until: deadline)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        if count > 0 { answerBegan = true }
        buffer.removeAll(keepingCapacity: true)
        buffer.append(contentsOf: window[..<count])
        position = 0
        return count
    }

    private func malformed(_ what: String, _ deadline: Deadline) -> TransferFailure {
        TransferFailure(.malformed, "\(deadline.subject): the server answered with \(what)")
    }

    private func tooLong(_ bytesMax: Int, _ deadline: Deadline) -> TransferFailure {
        TransferFailure(
            .malformed,
            "\(deadline.subject): the answer is longer than \(bytesMax) bytes"
        )
    }
}

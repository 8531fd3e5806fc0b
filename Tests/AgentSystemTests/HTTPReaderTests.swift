import Basics
import Testing

@testable import AgentSystem

/// Gives an answer in pieces of some bytes, then ends.
private final class Pieces: ByteChannel {
    private var rest: ArraySlice<UInt8>
    private let pieceBytes: Int

    init(_ text: String, pieceBytes: Int) {
        rest = Array(text.utf8)[...]
        self.pieceBytes = pieceBytes
    }

    func read(
        into bytes: UnsafeMutableRawBufferPointer,
        until deadline: Deadline
    ) throws(TransferFailure) -> Int {
        let count = min(pieceBytes, bytes.count, rest.count)
        bytes.copyBytes(from: rest.prefix(count))
        rest = rest.dropFirst(count)
        return count
    }

    func write(
        _ bytes: UnsafeRawBufferPointer,
        until deadline: Deadline
    ) throws(TransferFailure) -> Int { bytes.count }
}

/// Reads answers one after the other; the channel ends after them.
private func answers(
    _ text: String,
    count: Int = 1,
    bytesMax: Int = 64,
    pieceBytes: Int = 7
) throws -> [(status: Int, reusable: Bool, body: String)] {
    let reader = HTTPReader(Pieces(text, pieceBytes: pieceBytes))
    let deadline = Deadline(.seconds(60), for: "test", on: SystemTime())
    return try (0..<count).map { _ in
        var body: [UInt8] = []
        let (status, reusable) = try reader.answer(bytesMax: bytesMax, deadline, into: &body)
        return (status, reusable, String(decoding: body, as: UTF8.self))
    }
}

struct `The agent's reader of HTTP` {
    @Test(arguments: [1, 2, 7, 4096])
    func `takes a body of a known length and waits for the next answer`(piece: Int) throws {
        let one = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        let two = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        let read = try answers(one + two, count: 2, pieceBytes: piece)
        #expect(read.map(\.status) == [200, 404])
        #expect(read.map(\.body) == ["hello", ""])
    }

    @Test func `joins chunks and passes over trailers`() throws {
        let read = try answers(
            """
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            5;name=value\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n
            """
        )
        #expect(read[0].body == "hello!")
        #expect(read[0].reusable)
    }

    @Test func `reads to the end where no length is given`() throws {
        let read = try answers("HTTP/1.0 200 OK\r\n\r\nhello")
        #expect(read[0].body == "hello")
        #expect(!read[0].reusable)
    }

    @Test func `passes over a few interim answers`() throws {
        let interim = "HTTP/1.1 100 Continue\r\n\r\n"
        let final = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        #expect(try answers(String(repeating: interim, count: 4) + final)[0].status == 200)
        #expect(throws: TransferFailure.self) {
            try answers(String(repeating: interim, count: 5) + final)
        }
    }

    @Test func `does not use a connection again on which too much came`() throws {
        let read = try answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nextra", pieceBytes: 99)
        #expect(!read[0].reusable)
    }

    private static let malformed: [(name: String, text: String)] = [
        ("another protocol", "SSH-2.0-OpenSSH\r\n\r\n"), ("HTTP/2", "HTTP/2 200\r\n\r\n"),
        ("no status", "HTTP/1.1 abc\r\n\r\n"), ("a status beyond", "HTTP/1.1 999 X\r\n\r\n"),
        ("a header without a name", "HTTP/1.1 200 OK\r\n: x\r\n\r\n"),
        ("a folded header", "HTTP/1.1 200 OK\r\nA: b\r\n c: d\r\n\r\n"),
        (
            "two lengths that differ",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
        ),
        (
            "a length and chunks",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        ("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na"),
        ("an enormous length", "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n"),
        ("another encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        ("a chunk without a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nx"),
        ("a negative chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx"),
        (
            "a signed chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n"
        ),
        (
            "a chunk longer than it says",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n"
        ),
    ]

    @Test(arguments: malformed.indices)
    func `refuses what is not well formed`(index: Int) {
        let (name, text) = Self.malformed[index]
        let failure = #expect(throws: TransferFailure.self, "\(name)") { try answers(text) }
        #expect(failure?.kind == .malformed, "\(name)")
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    ])
    func `takes no more than it was told to`(head: String) {
        let failure = #expect(throws: TransferFailure.self) {
            try answers(head + String(repeating: "x", count: 4096))
        }
        #expect(failure?.text.contains("longer than 64 bytes") == true)
    }

    @Test(arguments: ["HTTP/1.1 200 OK\r\nA: ", "HTTP/1.1 200 OK\r\n", ""])
    func `gives up on a head that does not end`(start: String) {
        let endless = String(repeating: "x: y\r\n", count: 20_000)
        let long = String(repeating: "x", count: 100_000)
        for text in [start + endless, start + long] {
            let failure = #expect(throws: TransferFailure.self) {
                try answers(text, pieceBytes: 4096)
            }
            #expect(failure?.kind == .malformed)
        }
    }

    @Test func `tells a cut answer from a malformed one`() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        for count in 0..<whole.utf8.count {
            let failure = #expect(throws: TransferFailure.self) {
                try answers(String(decoding: Array(whole.utf8)[..<count], as: UTF8.self))
            }
            #expect(failure?.kind == .connection, "after \(count) bytes")
        }
    }
}

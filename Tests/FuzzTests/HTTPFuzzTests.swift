import Basics
import Foundation
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Protocol
import Testing

@testable import AgentSystem
@testable import Boot

/// Gives the bytes of an answer in pieces, then ends.
private final class Pieces: ByteChannel {
    private var rest: ArraySlice<UInt8>
    private let pieceBytes: Int

    init(_ bytes: [UInt8], pieceBytes: Int) {
        rest = bytes[...]
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

/// Every machine gets the ramdisk, and nobody a fragment.
private struct OpenPolicy: BootPolicy {
    func decision(for mac: MACAddress) async throws -> BootDecision {
        mac.text.hasSuffix("1") ? .ramdisk : .localDisk(reason: "because of `$(x)`\n${y}")
    }

    func fragment(for mac: MACAddress) async throws -> BootFragment? { nil }
    func medium(of capability: Secret) async throws -> BootFragment? { nil }
}

extension Fuzzing {
    struct `HTTP and JSON` {
        @Test func `answers that the agent reads`() async throws {
            let samples = [
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 206 Partial\r\nConnection: close\r\n\r\nhello",
                "HTTP/1.0 404 Not Found\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n",
            ]
            let words = [
                "Content-Length: ", "Transfer-Encoding: chunked\r\n", "\r\n",
                "HTTP/1.1 100 C\r\n\r\n",
                "ffffffff\r\n", "-5\r\n", "+5\r\n",
            ]
            let deadline = Deadline(.seconds(3600), for: "test", on: SystemTime())
            try await Fuzzer("http-answers", samples.map { Array($0.utf8) }, words: words)
                .run { input in
                    let reader = HTTPReader(Pieces(input, pieceBytes: 1 + input.count % 37))
                    var body: [UInt8] = []
                    let status: Int
                    do {
                        status = try reader.answer(bytesMax: 64, deadline, into: &body).status
                    } catch { return .refused }
                    try demand((200...599).contains(status), "the status is \(status)")
                    try demand(body.count <= 64, "the body has \(body.count) bytes")
                    return .taken
                }
        }

        @Test func `JSON of any shape`() async throws {
            let samples = [
                #"{"name":"c0","driver_info":{"ipmi_port":623,"x":[1,-2.5e3,true,null]},"é":"\u00e9\ud83d\ude00"}"#,
                #"[{"op":"add","path":"/a/b~1c","value":{"k":[]}},{"op":"remove","path":"/x/0"}]"#,
                "-0.0", "[]", "\"\\n\"",
            ]
            let words = [
                "[", "{\"a\":", "\"", "\\u", "\\ud800", "1e400", "-", "]", "}", ",", "\u{0}",
            ]
            try await Fuzzer("json", samples.map { Array($0.utf8) }, words: words).run { input in
                guard let value = try? JSONValue(parsing: input) else { return .refused }
                let again = try JSONValue(parsing: value.canonicalText.utf8)
                try demand(again == value, "the value changes when it is written and read again")
                if let patch = try? JSONPatchOperation.list(from: value) {
                    var target: JSONValue = ["a": ["b/c": 1], "x": [1, 2, 3]]
                    // An operation that does not fit is an error.
                    for operation in patch { try? target.apply(operation) }
                    _ = try JSONValue(parsing: target.canonicalText.utf8)
                }
                return .taken
            }
        }

        @Test func `requests for boot scripts`() async throws {
            let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let surface = Surface(
                authenticator: nil,
                logger: quiet,
                time: SystemTime(),
                random: SeededRandom(seed: 1)
            )
            let address = try #require(IPv4Address("192.0.2.1"))
            BootRoutes(
                policy: OpenPolicy(),
                leases: LeaseTable(path: "/nonexistent", time: SystemTime()),
                script: BootScript(address: address, port: 8088),
                directory: "/nonexistent",
                logger: quiet
            ).addRoutes(to: surface)
            let samples = [
                "mac=52:54:00:c0:00:01", "mac=52-54-00-C0-00-02", "mac=52%3A54%3A00%3Ac0%3A00%3A01",
                "mac=52:54:00:c0:00:01&mac=x&ip=192.0.2.7", "",
            ]
            let words = ["%0a", "%00", "&", "=", "mac=", "${", "#!ipxe", "\r\n", "%", "../"]
            let application = Application(router: surface.makeRouter(), logger: quiet)
            try await application.test(.router) { client in
                _ = try await Fuzzer(
                    "boot-queries",
                    samples.map { Array($0.utf8) },
                    words: words,
                    iterations: 3_000
                ).run { input in
                    let query = String(decoding: input.prefix(2000), as: UTF8.self)
                    let answer = try await client.execute(uri: "/boot.ipxe?\(query)", method: .get)
                    let text = String(buffer: answer.body)
                    guard answer.status == .ok else {
                        try demand((400..<500).contains(answer.status.code), "\(answer.status)")
                        try demand(!text.contains("#!ipxe"), "a refusal is a script")
                        return .refused
                    }
                    try demand(
                        Self.lines.isSuperset(of: Self.verbs(text)),
                        "a line gets in: \(text)"
                    )
                    return .taken
                }
            }
        }

        private static let lines: Set<String> = [
            "#!ipxe", "chain", "echo", "imgfree", "kernel", "initrd", "boot", ":failed", "sleep",
            "reboot", "iseq", "sanboot",
        ]

        private static func verbs(_ script: String) -> Set<String> {
            Set(
                script.unicodeScalars.split { $0 == "\n" || $0 == "\r" }.compactMap { line in
                    line.split(separator: " ").first.map { String(String.UnicodeScalarView($0)) }
                }
            )
        }

        @Test func `names in boot paths`() async throws {
            let samples = ["52:54:00:c0:00:01", "52-54-00-C0-00-01"]
            try await Fuzzer("macs", samples.map { Array($0.utf8) }, words: [":", "-", "ff"])
                .run { input in
                    guard let mac = MACAddress(String(decoding: input, as: UTF8.self)) else {
                        return .refused
                    }
                    try demand(MACAddress(mac.text) == mac, "it changes when it is written")
                    let plain = Set("0123456789abcdef:".utf8)
                    try demand(mac.text.utf8.allSatisfy(plain.contains), "“\(mac)” is not plain")
                    return .taken
                }
        }
    }
}

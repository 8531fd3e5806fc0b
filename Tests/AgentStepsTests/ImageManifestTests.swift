import AgentSystem
import Basics
import Testing

@testable import AgentSteps

private let digest = String(repeating: "ab", count: 32)

private func extent(_ offset: String, _ bytes: String, _ digest: String = digest) -> String {
    #"{"offset":\#(offset),"bytes":\#(bytes),"sha256":"\#(digest)"}"#
}

private func manifest(
    version: String = "1",
    image: String = "1048576",
    chunk: String = "65536",
    _ extents: String...
) -> [UInt8] {
    Array(
        """
        {"version":\(version),"image_bytes":\(image),"chunk_bytes":\(chunk),\
        "extents":[\(extents.joined(separator: ","))]}
        """.utf8
    )
}

struct `An image's manifest` {
    @Test func `tells where chunks and holes lie`() throws {
        let read = try ImageManifest(
            json: manifest(extent("65536", "65536"), extent("131072", "65536"))
        )
        #expect(read.imageBytes == 1 << 20)
        #expect(read.extents.map(\.offset) == [65_536, 131_072])
        #expect(read.extents[0].digest == SHA256Digest(hex: digest))
        #expect(read.contentBytes == 131_072)
        #expect(read.holes == [0..<65_536, 196_608..<(1 << 20)])
    }

    @Test func `may end in a part of a chunk`() throws {
        let read = try ImageManifest(
            json: manifest(image: "66048", extent("0", "65536"), extent("65536", "512"))
        )
        #expect(read.holes.isEmpty)
        #expect(read.extents[1].range == 65_536..<66_048)
    }

    @Test func `may list parts of a window, and holes in it`() throws {
        let read = try ImageManifest(
            json: manifest(
                image: "524288",
                chunk: "262144",
                extent("0", "65536"),
                extent("131072", "131072"),
                extent("327680", "65536")
            )
        )
        #expect(read.holes == [65_536..<131_072, 262_144..<327_680, 393_216..<524_288])
    }

    @Test func `of an empty image is one hole`() throws {
        let read = try ImageManifest(json: manifest(image: "512"))
        #expect(read.extents.isEmpty)
        #expect(read.holes == [0..<512])
    }

    private static let hostile: [(name: String, json: [UInt8])] = [
        ("nothing", []), ("no JSON", Array("chunk".utf8)), ("a list", Array("[]".utf8)),
        ("another version", manifest(version: "2")), ("no size", manifest(image: "0")),
        ("a negative size", manifest(image: "-512")),
        ("half a sector", manifest(image: "1000")),
        ("more than a pebibyte", manifest(image: "2251799813685248")),
        ("a size beyond 64 bits", manifest(image: "99999999999999999999")),
        ("a size that is a text", manifest(image: "\"512\"")),
        ("a size that is no whole number", manifest(image: "512.5")),
        ("tiny chunks", manifest(chunk: "4096")), ("huge chunks", manifest(chunk: "33554432")),
        ("odd chunks", manifest(chunk: "65537")), ("no chunk size", manifest(chunk: "0")),
        ("negative chunks", manifest(chunk: "-65536")),
        ("a chunk beyond the end", manifest(extent("1048576", "65536"))),
        ("a chunk at a negative place", manifest(extent("-65536", "65536"))),
        ("a chunk at the end of numbers", manifest(extent("9223372036854710272", "65536"))),
        ("a chunk off the grid", manifest(extent("512", "65536"))),
        ("a short chunk", manifest(extent("0", "512"))),
        ("a long chunk", manifest(extent("0", "131072"))),
        ("an empty chunk", manifest(extent("0", "0"))),
        ("a chunk over two windows", manifest(chunk: "131072", extent("65536", "131072"))),
        ("a chunk that ends off the grid", manifest(chunk: "131072", extent("0", "66048"))),
        ("a chunk of negative length", manifest(extent("0", "-65536"))),
        ("one chunk twice", manifest(extent("0", "65536"), extent("0", "65536"))),
        ("chunks in disorder", manifest(extent("65536", "65536"), extent("0", "65536"))),
        ("a short digest", manifest(extent("0", "65536", "abcd"))),
        (
            "an upper-case digest",
            manifest(extent("0", "65536", String(repeating: "AB", count: 32)))
        ),
        (
            "a path for a digest",
            manifest(extent("0", "65536", "../" + String(repeating: "a", count: 61)))
        ),
        ("deep nesting", Array(String(repeating: "[", count: 100_000).utf8)),
        ("broken UTF-8", [0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
        ("too many bytes", [UInt8](repeating: 0x20, count: ImageManifest.bytesMax + 1)),
    ]

    @Test(arguments: hostile.indices)
    func `is refused when it is malformed`(index: Int) {
        let (name, json) = Self.hostile[index]
        #expect(throws: ImageManifest.Malformed.self, "\(name)") { try ImageManifest(json: json) }
    }

    @Test func `cut anywhere is refused`() {
        let whole = manifest(extent("0", "65536"))
        for count in 0..<whole.count {
            #expect(throws: ImageManifest.Malformed.self) {
                try ImageManifest(json: Array(whole[..<count]))
            }
        }
    }
}

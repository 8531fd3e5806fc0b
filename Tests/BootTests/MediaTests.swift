import Foundation
import HTTPTypes
import HostTools
import HummingbirdTesting
import NIOCore
import Testing

@testable import Boot

/// The image of a CD as BMCs fetch it.
@Suite struct MediaTests {
    private static let before = String(repeating: "b", count: 3 * MediaSlot.sectorBytes)
    private static let after = String(repeating: "a", count: 700_000)
    /// Something with a slot in the middle.
    static let image = before + String(decoding: MediaSlot.filling, as: UTF8.self) + after

    private static let place = "/boot/media/node.key/ramdisk.iso"

    /// What a machine must get: the fragment in the slot, zeros after it.
    private static func expected() async throws -> [UInt8] {
        let fragment = try #require(try await Policy().fragment(for: try mac())).archive
        let rest = [UInt8](repeating: 0, count: MediaSlot.bytes - fragment.count)
        return Array(before.utf8) + fragment + rest + Array(after.utf8)
    }

    @Test func `the machine's fragment is in the slot, and nothing else is changed`() async throws {
        let expected = try await Self.expected()
        #expect(String(decoding: expected, as: UTF8.self).contains("\"token\":\"BwcH"))
        try await RouteTests().withClient(leases: "") { client, _ in
            try await client.execute(uri: Self.place, method: .get) { response in
                #expect(response.status == .ok)
                #expect(response.headers[.contentLength] == String(expected.count))
                #expect(response.headers[.acceptRanges] == "bytes")
                #expect(Array(response.body.readableBytesView) == expected)
            }
            try await client.execute(uri: Self.place, method: .head) { response in
                #expect(response.status == .ok)
                #expect(response.headers[.contentLength] == String(expected.count))
                #expect(response.body.readableBytes == 0)
            }
        }
    }

    /// BMCs read a drive's image sector by sector.
    @Test(arguments: [
        ("bytes=0-9", 0..<10), ("bytes=6140-6150", 6140..<6151), ("bytes=6144-6144", 6144..<6145),
        ("bytes=38900-38920", 38_900..<38_921), ("bytes=300000-", 300_000..<738_912),
        ("bytes=-12", 738_900..<738_912), ("bytes=738911-999999999", 738_911..<738_912),
        ("bytes=-99999999", 0..<738_912),
    ])
    func `a part is the same part of the whole`(header: String, range: Range<Int>) async throws {
        let expected = try await Self.expected()
        try #require(expected.count == 738_912)
        try await RouteTests().withClient(leases: "") { client, _ in
            try await client.execute(
                uri: Self.place,
                method: .get,
                headers: [.range: header]
            ) { response in
                #expect(response.status == .partialContent)
                #expect(
                    response.headers[.contentRange]
                        == "bytes \(range.lowerBound)-\(range.upperBound - 1)/738912"
                )
                #expect(Array(response.body.readableBytesView) == Array(expected[range]))
            }
        }
    }

    @Test(arguments: [
        ("bytes=738912-", 416), ("bytes=-0", 416), ("bytes=5-4", 200), ("bytes=0-1,5-6", 200),
        ("bytes=", 200), ("bytes=-", 200), ("lines=1-2", 200), ("bytes=+1-2", 200),
        ("bytes=99999999999999999999-", 200), ("", 200),
    ])
    func `a range that is none gets everything, one behind the end is told`(
        header: String,
        status: Int
    ) async throws {
        try await RouteTests().withClient(leases: "") { client, _ in
            try await client.execute(
                uri: Self.place,
                method: .get,
                headers: [.range: header]
            ) { response in
                #expect(response.status.code == status)
                if status == 416 { #expect(response.headers[.contentRange] == "bytes */738912") }
            }
        }
    }

    @Test(arguments: [
        "/boot/media/node.other/ramdisk.iso", "/boot/media/node/ramdisk.iso",
        "/boot/media//ramdisk.iso", "/boot/media/ramdisk.iso", "/boot/media/node.key",
        "/boot/media/node.key/other.iso", "/boot/media/node.key/../ramdisk.iso",
        "/ramdisk/media.iso",
    ])
    func `whoever has no capability of a present boot gets nothing`(path: String) async throws {
        try await RouteTests().withClient(leases: "") { client, _ in
            try await client.execute(uri: path, method: .get) { response in
                #expect([404, 403].contains(response.status.code))
                #expect(response.body.readableBytes < 2000)
                #expect(!String(buffer: response.body).contains("BwcH"))
            }
        }
    }

    @Test func `an image without a slot, or with two, is refused`() throws {
        let scratch = try Scratch()
        let filling = String(decoding: MediaSlot.filling, as: UTF8.self)
        for text in ["", "x", Self.before, Self.before + filling + Self.before + filling] {
            try scratch.write(text, to: "media.iso")
            let path = scratch.path + "/media.iso"
            let file = open(path, O_RDONLY)
            defer { close(file) }
            let fault = #expect(throws: (any Error).self) {
                try MediaSlot.offset(in: file, path: path)
            }
            #expect("\(String(describing: fault))".contains(path))
        }
    }

    @Test func `a slot at any sector is found`() throws {
        let scratch = try Scratch()
        for sectors in [0, 1, 511, 512, 513, 1024] {
            let blank = String(repeating: " ", count: sectors * MediaSlot.sectorBytes)
            let filling = String(decoding: MediaSlot.filling, as: UTF8.self)
            try scratch.write(blank + filling, to: "media.iso")
            let file = open(scratch.path + "/media.iso", O_RDONLY)
            defer { close(file) }
            let offset = try MediaSlot.offset(in: file, path: "media.iso")
            #expect(offset == UInt64(sectors * MediaSlot.sectorBytes))
        }
    }
}

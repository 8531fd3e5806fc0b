import Basics
import Glibc
import Protocol
import Testing

@testable import AgentSystem

private let agentFile = #"{"address":"192.0.2.1","token":"c2VjcmV0","x":1}"#

/// A drive in a file that a test changes as it likes.
private final class DriveFile {
    let tree: TemporaryTree
    let path: String
    let image: ConfigDriveImage

    init(_ files: [String: String] = ["rdo/agent.json": agentFile]) throws {
        tree = try TemporaryTree()
        path = tree.root + "/drive"
        image = try ConfigDriveImage(
            files: files.mapValues { Array($0.utf8) },
            time: Timestamp(seconds: 1_800_000_000)
        )
        try write(image.bytes)
    }

    func write(_ bytes: [UInt8]) throws { try tree.file("/drive", bytes: bytes) }

    func open() throws -> ConfigDrive { try ConfigDrive(path, disks: SystemDisks()) }
}

struct `A config drive` {
    @Test func `gives back every file under its name`() throws {
        let names = [
            "meta_data.json", "network_data.json", "user_data", "rdo/agent.json",
            "a-name-that-is-longer-than-eight.and-has.dots", "a-name-that-is-longer-than-nine",
            "openstack/2018-08-27/meta_data.json", "empty",
        ]
        var files = Dictionary(uniqueKeysWithValues: names.map { ($0, "content of \($0)") })
        files["empty"] = ""
        let drive = try DriveFile(files).open()
        for name in names {
            let path = name.contains("/") ? name : "openstack/latest/\(name)"
            #expect(try drive.file(path) == Array((files[name] ?? "").utf8), "\(name)")
        }
        #expect(throws: MalformedConfigDrive.self) { try drive.file("openstack/latest/none") }
        #expect(throws: MalformedConfigDrive.self) { try drive.file("rdo/agent.json/x") }
    }

    @Test func `is the same for the same files and time`() throws {
        #expect(try DriveFile().image.bytes == DriveFile().image.bytes)
    }

    @Test func `loses its token for good and nothing else`() throws {
        let file = try DriveFile()
        #expect(try file.open().hasToken)
        try file.open().forgetToken()
        let drive = try file.open()
        #expect(!drive.hasToken)
        let left = agentFile.replacing("c2VjcmV0", with: "AAAAAAAA")
        #expect(try drive.file("rdo/agent.json") == Array(left.utf8))
        let bytes = try #require(FileTree().bytes(file.path, bytesMax: 1 << 22))
        #expect(bytes.firstRange(of: Array("c2VjcmV0".utf8)) == nil)
        #expect(bytes.count == file.image.bytes.count)
        #expect(zip(bytes, file.image.bytes).count { $0 != $1 } <= 8)
        try drive.forgetToken()
        #expect(try drive.file("rdo/agent.json") == Array(left.utf8))
    }

    @Test(arguments: [
        #"{"address":"x"}"#, #"{"token":""}"#, #"{"token":"AAAA=="}"#, #"{"token":7}"#,
        #"{"token":"#, #"{"token":"unterminated"#, "",
    ])
    func `without a usable token has none`(json: String) throws {
        let file = try DriveFile(["rdo/agent.json": json])
        let drive = try file.open()
        #expect(!drive.hasToken)
        try drive.forgetToken()
        #expect(try drive.file("rdo/agent.json") == Array(json.utf8))
    }

    @Test func `is known by its label and nothing else`() throws {
        let file = try DriveFile()
        var bytes = file.image.bytes
        bytes[16 * 2048 + 40] ^= 0x20 ^ 0x01
        try file.write(bytes)
        #expect(throws: MalformedConfigDrive.self) { try file.open() }
        try file.write([UInt8](repeating: 0, count: 1 << 20))
        #expect(throws: MalformedConfigDrive.self) { try file.open() }
        try file.write(Array(file.image.bytes[..<(16 * 2048)]))
        #expect(throws: MalformedConfigDrive.self) { try file.open() }
    }

    // The root's record stands at 156 in the volume descriptor: its place at 2, its length at 10.
    @Test(arguments: [(158, UInt8(0xff)), (161, 0x7f), (168, 0xff), (169, 0x7f)])
    func `with a directory beyond its end is refused`(offset: Int, byte: UInt8) throws {
        let file = try DriveFile()
        var bytes = file.image.bytes
        bytes[16 * 2048 + offset] = byte
        try file.write(bytes)
        #expect(throws: MalformedConfigDrive.self) { try file.open().file("rdo/agent.json") }
    }

    @Test func `whose directory holds itself ends`() throws {
        let file = try DriveFile()
        var bytes = file.image.bytes
        // The record of rdo in the root then points at the root.
        let root = Array(bytes[(16 * 2048 + 156)..<(16 * 2048 + 190)])
        let sector = Int(root[2]) | Int(root[3]) << 8
        let start = try #require(
            bytes[(sector * 2048)...].firstRange(of: Array("RDO".utf8))?.lowerBound
        )
        bytes.replaceSubrange((start - 31)..<(start - 23), with: root[2..<10])
        try file.write(bytes)
        let path = Array(repeating: "rdo", count: 2000).joined(separator: "/")
        let drive = try file.open()
        #expect(throws: MalformedConfigDrive.self) { try drive.file(path + "/agent.json") }
    }

    @Test(arguments: [0, 1, 33, 255])
    func `with a malformed record is refused`(length: UInt8) throws {
        let file = try DriveFile()
        var bytes = file.image.bytes
        let root = 16 * 2048 + 156
        let sector = Int(bytes[root + 2]) | Int(bytes[root + 3]) << 8
        bytes[sector * 2048] = length
        try file.write(bytes)
        #expect(throws: MalformedConfigDrive.self) { try file.open().file("rdo/agent.json") }
    }

    private static let names = [
        "../x", "/x", "x/", "a//b", "a/./b", "..", "a b", "é", "a\u{0}b", "a/b/c/d/e/f/g/h",
        String(repeating: "x", count: 101),
    ]

    @Test(arguments: names)
    func `takes no name that is more than one`(name: String) {
        #expect(throws: MalformedConfigDrive.self) {
            try ConfigDriveImage(files: [name: []], time: Timestamp(seconds: 0))
        }
    }

    @Test func `takes a bounded number and size of files`() {
        let many = Dictionary(uniqueKeysWithValues: (0...256).map { ("f\($0)", [UInt8]()) })
        let large = ["f": [UInt8](repeating: 0, count: ConfigDriveImage.contentBytesMax + 1)]
        for files in [many, large] {
            #expect(throws: MalformedConfigDrive.self) {
                try ConfigDriveImage(files: files, time: Timestamp(seconds: 0))
            }
        }
    }

    @Test(arguments: [
        ["a/b", "a/b/c"], ["meta_data.json", "openstack/latest/meta_data.json"],
        ["openstack/latest", "user_data"],
    ])
    func `takes one file or directory of a name`(names: [String]) {
        let files = Dictionary(uniqueKeysWithValues: names.map { ($0, [UInt8]()) })
        #expect(throws: MalformedConfigDrive.self) {
            try ConfigDriveImage(files: files, time: Timestamp(seconds: 0))
        }
    }

    @Test func `that is fresh is found before an old one`() throws {
        let old = try DriveFile()
        try old.open().forgetToken()
        let fresh = try DriveFile()
        let tree = try TemporaryTree()
        for name in ["vda", "vdb", "vdc"] { tree.directory("/sys/class/block/\(name)") }
        let disks = RenamedDisks(paths: ["/dev/vda": old.path, "/dev/vdc": fresh.path])
        let found = ConfigDrive.find(tree: tree.tree, disks: disks)
        #expect(found.map(\.path) == ["/dev/vdc", "/dev/vda"])
    }
}

/// Opens files where devices are asked for.
private struct RenamedDisks: DiskAccess {
    let paths: [String: String]

    func open(_ path: String, exclusive: Bool) throws(SystemFailure) -> any Disk {
        guard let file = paths[path] else { throw SystemFailure("open \(path)", code: ENOENT) }
        return try SystemDisks().open(file, exclusive: exclusive)
    }
}

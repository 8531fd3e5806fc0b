import Basics

/// A config drive on a disk: an ISO 9660 file system with the label `config-2`.
///
/// It is read where it lies, without being mounted, and the one thing in it that must not stay is
/// overwritten where it lies: the token.
package struct ConfigDrive: Sendable {
    /// The file that our agent reads.
    package static let agentFile = "rdo/agent.json"
    /// A file longer than this is refused.
    package static let fileBytesMax = 1 << 20

    private static let directoryBytesMax = 256 << 10
    private static let sectorBytes = Int64(ConfigDriveImage.sectorBytes)

    /// The disk or partition.
    package let path: String
    private let disk: any Disk
    private let root: Extent

    private struct Extent {
        var offset: Int64
        var bytes: Int
        var isDirectory: Bool
    }

    /// Looks for config drives on all block devices.
    /// - Returns: those found, by device name; the ones whose agent file holds a usable token first, as an
    ///   old drive may lie on another disk.
    package static func find(tree: FileTree, disks: any DiskAccess) -> [ConfigDrive] {
        var found: [(drive: ConfigDrive, fresh: Bool)] = []
        for name in tree.names(in: "/sys/class/block") {
            let path = "/dev/" + String(name.map { $0 == "!" ? "/" : $0 })
            // Whatever cannot be opened or is no config drive is not what we look for.
            guard let drive = try? ConfigDrive(path, disks: disks) else { continue }
            found.append((drive, drive.hasToken))
        }
        return found.filter(\.fresh).map(\.drive) + found.filter { !$0.fresh }.map(\.drive)
    }

    /// Opens the config drive on a device.
    /// - Throws: `SystemFailure` or `MalformedConfigDrive` when there is none.
    package init(_ path: String, disks: any DiskAccess) throws {
        self.path = path
        disk = try disks.open(path, exclusive: false)
        let start = 16 * Self.sectorBytes
        guard disk.geometry.bytes >= start + Self.sectorBytes else {
            throw MalformedConfigDrive("\(path) is too small for a config drive")
        }
        let descriptor = try disk.bytes(start..<(start + Self.sectorBytes))
        let label = trimmed(descriptor[40..<72]).lowercased()
        guard descriptor[0] == 1, descriptor[1..<6].elementsEqual("CD001".utf8),
            label == ConfigDriveImage.label
        else { throw MalformedConfigDrive("\(path) is no config drive") }
        root = try Self.extent(Array(descriptor[156..<190]), path, disk.geometry.bytes)
    }

    /// Reads a file: `openstack/latest/meta_data.json`.
    /// - Throws: `MalformedConfigDrive` when it is missing or too long.
    package func file(_ name: String) throws -> [UInt8] {
        try content(extent(of: name), max: Self.fileBytesMax)
    }

    /// Whether the agent file holds a token that was not overwritten yet.
    package var hasToken: Bool {
        // A drive without a readable agent file has no token.
        guard let content = try? file(Self.agentFile), let range = Self.token(in: content) else {
            return false
        }
        return content[range].contains { $0 != Self.blank && $0 != UInt8(ascii: "=") }
    }

    /// Overwrites the token in the agent file where it lies, flushes, and reads it back.
    ///
    /// What stays is valid JSON whose token decodes to zero bytes. Doing it twice is harmless.
    /// - Throws: `Fault` when the token is still there afterwards.
    package func forgetToken() throws {
        let extent = try extent(of: Self.agentFile)
        let content = try content(extent, max: Self.fileBytesMax)
        guard let range = Self.token(in: content) else { return }
        let blank = content[range].map { $0 == UInt8(ascii: "=") ? $0 : Self.blank }
        try disk.put(blank, at: extent.offset + Int64(range.lowerBound))
        try disk.flush()
        let after = try self.content(extent, max: Self.fileBytesMax)
        guard after[range].elementsEqual(blank) else {
            throw Fault(
                .internalError,
                "cannot overwrite the token on the config drive \(path): the old content is still "
                    + "there; check the disk"
            )
        }
    }

    /// Base64's digit for zero bits.
    private static let blank = UInt8(ascii: "A")

    /// Where the token's text stands in the agent file.
    private static func token(in content: [UInt8]) -> Range<Int>? {
        let key = Array("\"token\"".utf8)
        guard content.count > key.count else { return nil }
        for start in 0...(content.count - key.count)
        where content[start..<(start + key.count)].elementsEqual(key) {
            var place = start + key.count
            func skipBlanks() {
                while place < content.count, [0x20, 0x09, 0x0a, 0x0d].contains(content[place]) {
                    place += 1
                }
            }
            skipBlanks()
            guard place < content.count, content[place] == UInt8(ascii: ":") else { continue }
            place += 1
            skipBlanks()
            guard place < content.count, content[place] == UInt8(ascii: "\"") else { continue }
            place += 1
            guard let end = content[place...].firstIndex(of: UInt8(ascii: "\"")) else { return nil }
            return place..<end
        }
        return nil
    }

    // MARK: - ISO 9660

    private func extent(of name: String) throws -> Extent {
        var place = root
        for part in name.split(separator: "/") {
            guard place.isDirectory, let next = try entry(String(part), in: place) else {
                throw MalformedConfigDrive("\(path) has no file \(name)")
            }
            place = next
        }
        return place
    }

    private func content(_ extent: Extent, max: Int) throws -> [UInt8] {
        guard extent.bytes <= max else {
            throw MalformedConfigDrive("\(path) holds a file of \(extent.bytes) bytes")
        }
        return try disk.bytes(extent.offset..<(extent.offset + Int64(extent.bytes)))
    }

    private func entry(_ name: String, in directory: Extent) throws -> Extent? {
        let bytes = try content(directory, max: Self.directoryBytesMax)
        var place = 0
        while place < bytes.count {
            let length = Int(bytes[place])
            if length == 0 {
                place = (place / Int(Self.sectorBytes) + 1) * Int(Self.sectorBytes)
                continue
            }
            guard length >= 34, place + length <= bytes.count else {
                throw MalformedConfigDrive("\(path) has a malformed directory")
            }
            let record = Array(bytes[place..<(place + length)])
            if Self.name(of: record) == name {
                return try Self.extent(record, path, disk.geometry.bytes)
            }
            place += length
        }
        return nil
    }

    /// The Rock Ridge name, or the plain one in lower case without its version.
    private static func name(of record: [UInt8]) -> String {
        let count = Int(record[32])
        guard 33 + count <= record.count else { return "" }
        var place = 33 + count + (count % 2 == 0 ? 1 : 0)
        while place + 5 <= record.count {
            let length = Int(record[place + 2])
            guard length >= 4, place + length <= record.count else { break }
            if record[place] == 0x4e, record[place + 1] == 0x4d, length > 5 {
                return String(decoding: record[(place + 5)..<(place + length)], as: UTF8.self)
            }
            place += length
        }
        let plain = String(decoding: record[33..<(33 + count)], as: UTF8.self).lowercased()
        return String(plain.split(separator: ";").first ?? "")
    }

    private static func extent(
        _ record: [UInt8],
        _ path: String,
        _ bytesMax: Int64
    ) throws -> Extent {
        func number(_ offset: Int) -> Int64 {
            (0..<4).reduce(0) { $0 | Int64(record[offset + $1]) << Int64(8 * $1) }
        }
        let offset = number(2) * sectorBytes
        let bytes = number(10)
        guard offset + bytes <= bytesMax else {
            throw MalformedConfigDrive("\(path) has a file beyond its end")
        }
        return Extent(offset: offset, bytes: Int(bytes), isDirectory: record[25] & 2 != 0)
    }
}

package import Protocol

/// Why a config drive cannot be made or read.
package struct MalformedConfigDrive: Error, Sendable, Hashable, CustomStringConvertible {
    /// A clause that names the file.
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// Writes a small ISO 9660 file system (level 1) with Rock Ridge names and modes.
///
/// cloud-init and our own agent find it by its label. Rock Ridge rather than Joliet, because it carries
/// modes: files are 0400 and directories 0500, since the drive holds a token.
package struct ConfigDriveImage: Sendable {
    /// The label that readers look for.
    package static let label = "config-2"
    /// All files together, in bytes.
    package static let contentBytesMax = 8 << 20
    package static let filesMax = 256

    static let sectorBytes = 2048
    private static let firstSector = 16

    private final class Directory {
        let name: String
        var identifier = ""
        unowned let parent: Directory?
        var directories: [Directory] = []
        var files: [(name: String, identifier: String, content: [UInt8], sector: Int)] = []
        var sector = 0
        var sectors = 1
        var number = 0

        init(name: String, parent: Directory?) {
            self.name = name
            self.parent = parent
        }
    }

    /// The whole file system; a multiple of 2048 bytes.
    package let bytes: [UInt8]

    /// Lays out the files.
    /// - Parameters:
    ///   - files: a name without a slash stands in `openstack/latest`; one with slashes is a path from the
    ///     top (`rdo/agent.json`). Components hold letters, digits, `.`, `_` and `-` only.
    ///   - time: the time that all files carry.
    /// - Throws: `MalformedConfigDrive` for a name that is no such path or for too much content.
    package init(files: [String: [UInt8]], time: Timestamp) throws(MalformedConfigDrive) {
        let root = try Self.tree(files)
        let date = RecordingDate(time)
        var order = [root]
        var next = 0
        while next < order.count {
            order += order[next].directories
            next += 1
        }
        // Sectors: descriptors, two path tables, directories, files.
        let pathTable = Self.pathTable(order, bigEndian: false)
        guard pathTable.count <= Self.sectorBytes else {
            throw MalformedConfigDrive("too many directories")
        }
        var sector = Self.firstSector + 4
        for (index, directory) in order.enumerated() {
            directory.number = index + 1
            directory.sector = sector
            directory.sectors = Self.records(directory, date).count / Self.sectorBytes
            sector += directory.sectors
        }
        for directory in order {
            for index in directory.files.indices {
                directory.files[index].sector = sector
                sector += max(1, Self.sectors(directory.files[index].content.count))
            }
        }
        var image = [UInt8](repeating: 0, count: Self.firstSector * Self.sectorBytes)
        image.reserveCapacity(sector * Self.sectorBytes)
        image += Self.descriptor(root, sectors: sector, pathTableBytes: pathTable.count, date)
        image += Self.padded([255] + Array("CD001".utf8) + [1])
        image += Self.padded(Self.pathTable(order, bigEndian: false))
        image += Self.padded(Self.pathTable(order, bigEndian: true))
        for directory in order { image += Self.records(directory, date) }
        for directory in order {
            for file in directory.files {
                image += Self.padded(file.content.isEmpty ? [0] : file.content)
            }
        }
        bytes = image
    }

    // MARK: - Names

    private static func tree(
        _ files: [String: [UInt8]]
    ) throws(MalformedConfigDrive) -> Directory {
        guard files.count <= filesMax, files.values.reduce(0, { $0 + $1.count }) <= contentBytesMax
        else { throw MalformedConfigDrive("the files are too many or too long") }
        let root = Directory(name: "", parent: nil)
        for (name, content) in files.sorted(by: { $0.key < $1.key }) {
            let path = name.contains("/") ? name : "openstack/latest/\(name)"
            let parts = path.split(separator: "/", omittingEmptySubsequences: false)
                .map(String.init)
            guard parts.count <= 7, parts.allSatisfy(isPlain), let last = parts.last else {
                throw MalformedConfigDrive("the file name “\(name.prefix(80))” is not allowed")
            }
            var place = root
            for part in parts.dropLast() {
                if let known = place.directories.first(where: { $0.name == part }) {
                    place = known
                } else {
                    guard !place.files.contains(where: { $0.name == part }) else {
                        throw MalformedConfigDrive("a part of “\(name.prefix(80))” is a file")
                    }
                    let made = Directory(name: part, parent: place)
                    place.directories.append(made)
                    place = made
                }
            }
            guard !place.directories.contains(where: { $0.name == last }),
                !place.files.contains(where: { $0.name == last })
            else {
                throw MalformedConfigDrive("“\(name.prefix(80))” is there twice")
            }
            place.files.append((last, "", content, 0))
        }
        identify(root)
        return root
    }

    private static func isPlain(_ part: String) -> Bool {
        (1...100).contains(part.utf8.count) && part != "." && part != ".."
            && part.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte)
                    || (0x61...0x7a).contains(byte) || Array("._-".utf8).contains(byte)
            }
    }

    /// Gives every entry a level 1 identifier that is unique in its directory, and sorts by it.
    private static func identify(_ directory: Directory) {
        var taken: Set<String> = []
        func unique(_ stem: String, _ suffix: String) -> String {
            var candidate = stem + suffix
            var number = 1
            while !taken.insert(candidate).inserted {
                let digits = String(number)
                candidate = stem.prefix(8 - digits.count) + digits + suffix
                number += 1
            }
            return candidate
        }
        for child in directory.directories {
            child.identifier = unique(folded(child.name, 8), "")
            identify(child)
        }
        for index in directory.files.indices {
            let name = directory.files[index].name
            let dot = name.lastIndex(of: ".")
            let stem = folded(String(name[..<(dot ?? name.endIndex)]), 8)
            let suffix = dot.map { folded(String(name[name.index(after: $0)...]), 3) } ?? ""
            directory.files[index].identifier = unique(stem, ".\(suffix);1")
        }
        directory.directories.sort { $0.identifier < $1.identifier }
        directory.files.sort { $0.identifier < $1.identifier }
    }

    private static func folded(_ text: String, _ countMax: Int) -> String {
        let folded = text.uppercased().map { $0.isLetter || $0.isNumber ? $0 : "_" }
        return folded.isEmpty ? "_" : String(folded.prefix(countMax))
    }

    // MARK: - Sectors

    private static func descriptor(
        _ root: Directory,
        sectors: Int,
        pathTableBytes: Int,
        _ date: RecordingDate
    ) -> [UInt8] {
        func blanks(_ count: Int) -> [UInt8] { [UInt8](repeating: 0x20, count: count) }
        func text(_ text: String, _ count: Int) -> [UInt8] {
            Array((Array(text.utf8) + blanks(count)).prefix(count))
        }
        func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }
        var bytes: [UInt8] = [1] + Array("CD001".utf8) + [1, 0]
        bytes += text("LINUX", 32) + text(label, 32) + zeros(8) + both(UInt32(sectors)) + zeros(32)
        bytes += both(UInt16(1)) + both(UInt16(1)) + both(UInt16(sectorBytes))
        bytes += both(UInt32(pathTableBytes))
        bytes += littleEndian(UInt32(firstSector + 2)) + zeros(4)
        bytes += bigEndian(UInt32(firstSector + 3)) + zeros(4)
        bytes += record([0], root.sector, root.sectors * sectorBytes, true, date, [])
        bytes += blanks(128 + 128) + text("RDO-MANAGER", 128) + text("RDO-MANAGER", 128)
        bytes += blanks(3 * 37)
        bytes += date.long + date.long + RecordingDate.none + RecordingDate.none + [1, 0]
        return padded(bytes)
    }

    private static func pathTable(_ order: [Directory], bigEndian big: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        for directory in order {
            let name = directory.parent == nil ? [0] : Array(directory.identifier.utf8)
            let parent = UInt16(max(1, directory.parent?.number ?? 1))
            let sector = UInt32(directory.sector)
            bytes += [UInt8(name.count), 0]
            bytes += big ? bigEndian(sector) : littleEndian(sector)
            bytes += big ? bigEndian(parent) : littleEndian(parent)
            bytes += name + (name.count % 2 == 1 ? [0] : [])
        }
        return bytes
    }

    /// The directory's records; none crosses a sector's end.
    private static func records(_ directory: Directory, _ date: RecordingDate) -> [UInt8] {
        let links = UInt32(2 + directory.directories.count)
        let mode = posix(mode: 0o040500, links: links)
        var own = mode
        if directory.parent == nil {
            // Says that system-use fields are there and which ones: Rock Ridge.
            own = [0x53, 0x50, 7, 1, 0xbe, 0xef, 0] + mode
            own += [0x45, 0x52, 18, 1, 10, 0, 0, 1] + Array("RRIP_1991A".utf8)
        }
        let parent = directory.parent ?? directory
        let parentLinks = UInt32(2 + parent.directories.count)
        let size = directory.sectors * sectorBytes
        var all = [
            record([0], directory.sector, size, true, date, own),
            record(
                [1],
                parent.sector,
                parent.sectors * sectorBytes,
                true,
                date,
                posix(mode: 0o040500, links: parentLinks)
            ),
        ]
        var children: [(identifier: String, record: [UInt8])] = []
        for child in directory.directories {
            let fields =
                posix(mode: 0o040500, links: UInt32(2 + child.directories.count))
                + longName(child.name)
            children.append(
                (
                    child.identifier,
                    record(
                        Array(child.identifier.utf8),
                        child.sector,
                        child.sectors * sectorBytes,
                        true,
                        date,
                        fields
                    )
                )
            )
        }
        for file in directory.files {
            let fields = posix(mode: 0o100400, links: 1) + longName(file.name)
            children.append(
                (
                    file.identifier,
                    record(
                        Array(file.identifier.utf8),
                        file.sector,
                        file.content.count,
                        false,
                        date,
                        fields
                    )
                )
            )
        }
        all += children.sorted { $0.identifier < $1.identifier }.map(\.record)
        var bytes: [UInt8] = []
        for record in all {
            let left = sectorBytes - bytes.count % sectorBytes
            if record.count > left { bytes += [UInt8](repeating: 0, count: left) }
            bytes += record
        }
        return padded(bytes)
    }

    private static func record(
        _ identifier: [UInt8],
        _ sector: Int,
        _ size: Int,
        _ isDirectory: Bool,
        _ date: RecordingDate,
        _ fields: [UInt8]
    ) -> [UInt8] {
        var bytes: [UInt8] = [0, 0]
        bytes += both(UInt32(sector)) + both(UInt32(size)) + date.short
        bytes += [isDirectory ? 2 : 0, 0, 0] + both(UInt16(1))
        bytes += [UInt8(identifier.count)] + identifier
        if identifier.count % 2 == 0 { bytes.append(0) }
        bytes += fields
        if bytes.count % 2 == 1 { bytes.append(0) }
        bytes[0] = UInt8(bytes.count)
        return bytes
    }

    private static func posix(mode: UInt32, links: UInt32) -> [UInt8] {
        [0x50, 0x58, 36, 1] + both(mode) + both(links) + both(UInt32(0)) + both(UInt32(0))
    }

    private static func longName(_ name: String) -> [UInt8] {
        [0x4e, 0x4d, UInt8(5 + name.utf8.count), 1, 0] + Array(name.utf8)
    }

    private static func sectors(_ bytes: Int) -> Int { (bytes + sectorBytes - 1) / sectorBytes }

    private static func padded(_ bytes: [UInt8]) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: sectors(bytes.count) * sectorBytes - bytes.count)
    }
}

/// A number's bytes, highest first.
private func bigEndian(_ number: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: number.bigEndian) { Array($0) }
}

/// A number in both orders, as ISO 9660 stores most of them.
private func both(_ number: some FixedWidthInteger) -> [UInt8] {
    littleEndian(number) + bigEndian(number)
}

/// A time in the two spellings of ISO 9660.
private struct RecordingDate {
    static let none = [UInt8](repeating: 0x30, count: 16) + [0]

    /// Seven bytes, for directory records.
    let short: [UInt8]
    /// Seventeen bytes, for the volume descriptor.
    let long: [UInt8]

    init(_ time: Timestamp) {
        // `2026-11-23T02:44:27Z`
        let text = Array(time.rfc3339(suffix: "Z").utf8)
        let digits = text.filter { (0x30...0x39).contains($0) }.map { Int($0 - 0x30) }
        func number(_ range: Range<Int>) -> Int { digits[range].reduce(0) { $0 * 10 + $1 } }
        let year = UInt8(clamping: number(0..<4) - 1900)
        let rest = stride(from: 4, to: 14, by: 2).map { UInt8(number($0..<($0 + 2))) }
        short = [year] + rest + [0]
        long = digits.map { UInt8($0) + 0x30 } + [0x30, 0x30, 0]
    }
}

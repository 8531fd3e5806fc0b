import Basics

/// An initramfs being put together: a set of paths, written as a cpio archive of the "newc" format
/// (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).
///
/// The same entries always give the same bytes: they are sorted, belong to root, carry one given time
/// and are numbered by their order.
package struct CpioArchive: Sendable {
    /// What stands at a path.
    package enum Content: Sendable, Equatable {
        case directory
        case file([UInt8])
        case link(String)
        case characterDevice(major: UInt32, minor: UInt32)
    }

    /// One path of the archive.
    package struct Entry: Sendable, Equatable {
        package let content: Content
        /// Permission bits, without the kind of file.
        package let mode: UInt32

        package init(_ content: Content, mode: UInt32) {
            self.content = content
            self.mode = mode
        }
    }

    /// Longest path in bytes; the kernel takes no longer one.
    package static let pathBytesMax = 4095

    /// Entries by path; a path has no leading slash.
    package private(set) var entries: [String: Entry] = [:]

    package init() {}

    /// Size of all files together in bytes.
    package var contentBytes: Int {
        entries.values.reduce(0) { total, entry in
            if case .file(let bytes) = entry.content { total + bytes.count } else { total }
        }
    }

    /// Puts an entry at a path, and directories (0755) above it where there are none.
    ///
    /// An entry that is there already is replaced.
    /// - Parameters:
    ///   - path: with or without a leading slash.
    ///   - entry: what stands there from now on.
    package mutating func set(_ path: String, _ entry: Entry) {
        let parts = path.split(separator: "/")
        precondition(
            !parts.isEmpty && !parts.contains("..") && path.utf8.count <= Self.pathBytesMax,
            "an archive path is relative to its root and not too long: \(path)"
        )
        for count in 1..<parts.count where count < parts.count {
            let above = parts[..<count].joined(separator: "/")
            if entries[above] == nil { entries[above] = Entry(.directory, mode: 0o755) }
        }
        entries[parts.joined(separator: "/")] = entry
    }

    /// Puts a directory at a path.
    package mutating func directory(_ path: String, mode: UInt32 = 0o755) {
        set(path, Entry(.directory, mode: mode))
    }

    /// Puts a file at a path.
    package mutating func file(_ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644) {
        set(path, Entry(.file(bytes), mode: mode))
    }

    /// Puts a symbolic link at a path.
    package mutating func link(_ path: String, to target: String) {
        set(path, Entry(.link(target), mode: 0o777))
    }

    /// The archive's bytes, a multiple of 512.
    /// - Parameter modified: time of every entry, in seconds since 1970.
    /// - Returns: header, name and data of each entry, then the trailer.
    /// - Throws: `Fault` when a file is too large for the format (4 GiB).
    package func encoded(modified: UInt32 = 0) throws -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(contentBytes + entries.count * 256)
        let sorted = entries.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        for (index, (path, entry)) in sorted.enumerated() {
            var header = Header(inode: UInt32(index + 1), modified: modified)
            var data: [UInt8] = []
            switch entry.content {
            case .directory:
                header.mode = 0o040000 | entry.mode
                header.links = 2
            case .file(let bytes):
                header.mode = 0o100000 | entry.mode
                data = bytes
            case .link(let target):
                header.mode = 0o120000 | entry.mode
                data = Array(target.utf8)
            case .characterDevice(let major, let minor):
                header.mode = 0o020000 | entry.mode
                header.device = (major, minor)
            }
            guard data.count <= UInt32.max else {
                throw Fault(
                    .tooLarge,
                    "cannot put \(path) into the archive: it is larger than 4 GiB"
                )
            }
            header.write(name: path, data: data, to: &output)
        }
        Header(inode: 0, modified: 0).write(name: "TRAILER!!!", data: [], to: &output)
        output.pad(to: 512)
        return output
    }
}

private struct Header {
    var inode: UInt32
    var modified: UInt32
    var mode: UInt32 = 0
    var links: UInt32 = 1
    var device: (major: UInt32, minor: UInt32) = (0, 0)

    /// Appends header, name and data, each padded to four bytes.
    func write(name: String, data: [UInt8], to output: inout [UInt8]) {
        output.append(contentsOf: "070701".utf8)
        let fields: [UInt32] = [
            inode, mode, 0, 0, links, modified, UInt32(data.count), 0, 0, device.major,
            device.minor,
            UInt32(name.utf8.count + 1), 0,
        ]
        for field in fields { output.appendHexadecimal(field) }
        output.append(contentsOf: name.utf8)
        output.append(0)
        output.pad(to: 4)
        output.append(contentsOf: data)
        output.pad(to: 4)
    }
}

extension [UInt8] {
    fileprivate mutating func pad(to multiple: Int) {
        let over = count % multiple
        if over != 0 { append(contentsOf: repeatElement(0, count: multiple - over)) }
    }

    fileprivate mutating func appendHexadecimal(_ value: UInt32) {
        let digits = Array("0123456789ABCDEF".utf8)
        for shift in stride(from: 28, through: 0, by: -4) {
            append(digits[Int(value >> UInt32(shift)) & 15])
        }
    }
}

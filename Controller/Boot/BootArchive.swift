/// A cpio archive in the “newc” form that the kernel unpacks as an initrd (kernel documentation,
/// driver-api/early-userspace/buffer-format).
///
/// Equal input gives equal bytes.
package struct BootArchive: Sendable {
    private var bytes: [UInt8] = []
    private var inode: UInt32 = 0
    private var directories: Set<String> = []

    package init() {}

    /// Adds a file and the directories above it.
    ///
    /// The path is relative, without `.` and `..`; the mode holds permission bits.
    package mutating func add(_ path: String, _ content: [UInt8], mode: UInt32 = 0o600) {
        let parts = path.split(separator: "/")
        precondition(
            !parts.isEmpty && parts.allSatisfy { $0 != "." && $0 != ".." },
            "\(path) is no path"
        )
        for count in 1..<max(parts.count, 1) {
            let directory = parts[..<count].joined(separator: "/")
            if directories.insert(directory).inserted {
                append(directory, [], mode: 0o040_700)
            }
        }
        append(parts.joined(separator: "/"), content, mode: 0o100_000 | mode)
    }

    /// The archive with its trailer, padded to 512 bytes.
    package consuming func finished() -> [UInt8] {
        append("TRAILER!!!", [], mode: 0)
        pad(to: 512)
        return bytes
    }

    private mutating func append(_ name: String, _ content: [UInt8], mode: UInt32) {
        inode += mode == 0 ? 0 : 1
        let fields: [UInt32] = [
            mode == 0 ? 0 : inode, mode, 0, 0, 1, 0, UInt32(content.count), 0, 0, 0, 0,
            UInt32(name.utf8.count + 1), 0,
        ]
        bytes += Array("070701".utf8)
        for field in fields {
            let digits = String(field, radix: 16, uppercase: true)
            bytes += Array((String(repeating: "0", count: 8 - digits.count) + digits).utf8)
        }
        bytes += Array(name.utf8) + [0]
        pad(to: 4)
        bytes += content
        pad(to: 4)
    }

    private mutating func pad(to boundary: Int) {
        let rest = bytes.count % boundary
        if rest > 0 { bytes += [UInt8](repeating: 0, count: boundary - rest) }
    }
}

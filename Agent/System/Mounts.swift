import Glibc

/// Attaches file systems.
package protocol Mounts: Sendable {
    /// Mounts a file system; makes the directory when it is missing.
    /// - Throws: `SystemFailure`; what is mounted there already is left alone.
    func mount(_ source: String, at path: String, type: String, options: String, readOnly: Bool)
        throws

    /// Takes a file system off, at once for new users and later for those that have files open.
    /// - Throws: `SystemFailure`.
    func unmount(_ path: String) throws

    /// Everything that is mounted, in the order of mounting.
    func list() -> [Mount]
}

/// A mounted file system.
package struct Mount: Sendable, Equatable {
    package let source: String
    package let path: String
    package let type: String

    /// Reads one line of `/proc/self/mounts`; `nil` when it makes no sense.
    package init?(line: some StringProtocol) {
        let parts = line.split(separator: " ")
        guard parts.count >= 3 else { return nil }
        source = Self.unescaped(parts[0])
        path = Self.unescaped(parts[1])
        type = String(parts[2])
    }

    /// The kernel writes space, tab, newline and backslash as three octal digits.
    private static func unescaped(_ text: some StringProtocol) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The kernel's mounts.
package struct SystemMounts: Mounts {
    private let tree: FileTree

    /// - Parameter tree: where `/proc` is.
    package init(tree: FileTree = FileTree()) { self.tree = tree }

    package func mount(
        _ source: String,
        at path: String,
        type: String,
        options: String = "",
        readOnly: Bool = false
    ) throws {
        makeDirectories(path, mode: 0o755)
        // What is only read is an image's: nothing of it is a device or a program to this system.
        let foreign = UInt(MS_RDONLY) | UInt(MS_NODEV) | UInt(MS_NOSUID) | UInt(MS_NOEXEC)
        let flags = readOnly ? foreign : 0
        let result = Glibc.mount(source, path, type, flags, options)
        if result != 0, errno != EBUSY { throw SystemFailure("mount \(path)", code: errno) }
    }

    package func unmount(_ path: String) throws {
        guard umount2(path, Int32(MNT_DETACH)) == 0 else {
            throw SystemFailure("unmount \(path)", code: errno)
        }
    }

    package func list() -> [Mount] {
        (tree.text("/proc/self/mounts") ?? "").split(separator: "\n").compactMap { Mount(line: $0) }
    }
}

/// Makes a directory and those above it; silent when they exist or cannot be made.
package func makeDirectories(_ path: String, mode: UInt32) {
    var made = ""
    for part in path.split(separator: "/") {
        made += "/\(part)"
        mkdir(made, mode)
    }
}

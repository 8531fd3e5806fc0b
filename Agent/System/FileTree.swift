import Glibc

/// Reads small files below a directory; `/` on a machine, a made-up tree in tests.
///
/// Everything the kernel shows in `/proc` and `/sys` is read through this. Reads are bounded, and what
/// is missing or cannot be read is `nil`: a machine that lacks a file is not broken.
package struct FileTree: Sendable {
    /// Bytes read from one file at most, unless the caller says otherwise.
    package static let bytesMax = 1 << 20
    /// Names taken from one directory at most.
    package static let namesMax = 16_384

    private let root: String
    /// What stands in place of a directory.
    private let made: (@Sendable (String) -> [UInt8]?)?

    /// Reads below `root`, which has no slash at its end.
    package init(root: String = "") {
        self.root = root
        made = nil
    }

    /// A tree whose files a function makes as they are read; it has no directories and no links.
    package init(files: @escaping @Sendable (String) -> [UInt8]?) {
        root = "/dev/null/"
        made = files
    }

    /// The path as the kernel knows it.
    package func path(_ path: String) -> String { root + path }

    /// The file's bytes up to `bytesMax`; `nil` when it cannot be read.
    package func bytes(_ path: String, bytesMax: Int = FileTree.bytesMax) -> [UInt8]? {
        if let made { return made(path).map { Array($0.prefix(bytesMax)) } }
        let file = open(root + path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        while bytes.count < bytesMax {
            let want = min(bytesMax - bytes.count, max(4096, bytes.count))
            var count = 0
            let more = [UInt8](unsafeUninitializedCapacity: want) { buffer, initialized in
                repeat {
                    count = read(file, buffer.baseAddress, want)
                } while count < 0 && errno == EINTR
                initialized = max(0, count)
            }
            if count < 0 { return nil }
            if count == 0 { break }
            bytes += more
        }
        return bytes
    }

    /// The file as text, with white space and NULs trimmed at both ends.
    package func text(_ path: String) -> String? {
        guard let bytes = bytes(path) else { return nil }
        return trimmed(bytes)
    }

    /// The file as a decimal number.
    package func number(_ path: String) -> Int64? { text(path).flatMap { Int64($0) } }

    /// The names in a directory, sorted; empty when there is no such directory.
    package func names(in path: String) -> [String] {
        guard let directory = opendir(root + path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while names.count < Self.namesMax, let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Whether something is there.
    package func exists(_ path: String) -> Bool {
        if let made { return made(path) != nil }
        return access(root + path, F_OK) == 0
    }

    /// Where a symbolic link points, as written in it.
    package func link(_ path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = readlink(root + path, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }

    /// The path with all links resolved, as seen from the root of the tree.
    package func resolved(_ path: String) -> String? {
        guard let found = realpath(root + path, nil) else { return nil }
        defer { free(found) }
        let text = String(cString: found)
        guard !root.isEmpty, let top = realpath(root, nil) else { return text }
        defer { free(top) }
        return text.hasPrefix(String(cString: top))
            ? String(text.dropFirst(strlen(top))) : nil
    }
}

/// Bytes as text without white space, NULs and control characters at the ends.
func trimmed(_ bytes: some Collection<UInt8>) -> String {
    func isBlank(_ byte: UInt8) -> Bool { byte <= 0x20 || byte == 0x7f }
    let bytes = Array(bytes)
    guard let first = bytes.firstIndex(where: { !isBlank($0) }),
        let last = bytes.lastIndex(where: { !isBlank($0) })
    else { return "" }
    return String(decoding: bytes[first...last], as: UTF8.self)
}

/// A system call that failed.
package struct SystemFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was tried, as a clause: `open /dev/vda`.
    package let action: String
    /// The kernel's error number.
    package let code: Int32

    package init(_ action: String, code: Int32) {
        self.action = action
        self.code = code
    }

    package var description: String { "cannot \(action): \(String(cString: strerror(code)))" }

    /// Passes a result of a `CLinux` function through, whose failures are negative error numbers.
    @discardableResult
    static func check(_ result: Int32, _ action: @autoclosure () -> String) throws -> Int32 {
        if result < 0 { throw SystemFailure(action(), code: -result) }
        return result
    }
}

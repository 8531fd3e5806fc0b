import CLinux
import Glibc

/// Copies a small tree of files out of a file system that nobody trusts.
///
/// Links are never followed, so that nothing outside of the file system is read; only plain files and
/// directories are taken.
enum LoaderFiles {
    static let filesMax = 1024
    static let bytesMax: Int64 = 400 << 20
    static let depthMax = 8

    /// Copies the tree at `path` below `source` to `name` below `target` and flushes the target.
    /// - Returns: the files' paths below `target`, sorted; empty when there is no such tree.
    /// - Throws: `SystemFailure`, also when the tree has more than is sensible (`EFBIG`).
    static func copy(
        from source: String,
        _ path: String,
        to target: String,
        _ name: String
    ) throws -> [String] {
        guard let from = try directory(path, below: source) else { return [] }
        let to = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard to >= 0 else {
            let problem = errno
            close(from)
            throw SystemFailure("open \(target)", code: problem)
        }
        defer { close(to) }
        var copied = Copied()
        try copyDirectory(from, into: to, name, name, depth: 0, &copied)
        sync()
        return copied.files.sorted()
    }

    /// Reads a plain file below `source`, whose path is followed without links.
    /// - Returns: `nil` when there is no such file.
    /// - Throws: `SystemFailure`, also for a link (`ELOOP`, or `ENOTDIR` for one in place of a directory),
    ///   for what is no file (`EINVAL`) and for one of more than `bytesMax` (`EFBIG`).
    static func read(_ path: String, below source: String, bytesMax: Int) throws -> [UInt8]? {
        let cut = path.lastIndex(of: "/") ?? path.startIndex
        guard let folder = try directory(String(path[..<cut]), below: source) else { return nil }
        defer { close(folder) }
        let name = path[cut...].drop { $0 == "/" }
        let file = openat(folder, String(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw SystemFailure("open \(path)", code: errno)
        }
        defer { close(file) }
        var facts = stat()
        guard fstat(file, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else {
            throw SystemFailure("read \(path): it is no file", code: EINVAL)
        }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemFailure("read \(path)", code: errno) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            guard bytes.count <= bytesMax else {
                throw SystemFailure("read \(path): it is too large", code: EFBIG)
            }
        }
    }

    /// Opens a directory below `source`, whose path is followed without links; `nil` when there is none.
    private static func directory(_ path: String, below source: String) throws -> Int32? {
        var from = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard from >= 0 else { throw SystemFailure("open \(source)", code: errno) }
        for part in path.split(separator: "/") {
            let next = openat(from, String(part), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            let problem = errno
            close(from)
            guard next >= 0 else {
                if problem == ENOENT { return nil }
                throw SystemFailure("open \(part) of \(path)", code: problem)
            }
            from = next
        }
        return from
    }

    private struct Copied {
        var files: [String] = []
        var bytes: Int64 = 0
    }

    /// Takes over `from` and closes it.
    private static func copyDirectory(
        _ from: Int32,
        into parent: Int32,
        _ name: String,
        _ path: String,
        depth: Int,
        _ copied: inout Copied
    ) throws {
        guard let directory = fdopendir(from) else {
            let problem = errno
            close(from)
            throw SystemFailure("read directory \(path)", code: problem)
        }
        defer { closedir(directory) }
        guard depth < depthMax else {
            throw SystemFailure("copy \(path): it is too deep", code: EFBIG)
        }
        guard mkdirat(parent, name, 0o755) == 0 || errno == EEXIST else {
            throw SystemFailure("make directory \(path)", code: errno)
        }
        let to = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard to >= 0 else { throw SystemFailure("open directory \(path)", code: errno) }
        defer { close(to) }
        while let entry = readdir(directory) {
            let child = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard child != ".", child != ".." else { continue }
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
            let file = openat(from, child, flags)
            // A link cannot be opened; it is left out like anything else that is no file.
            guard file >= 0 else { continue }
            var facts = stat()
            fstat(file, &facts)
            switch facts.st_mode & S_IFMT {
            case S_IFDIR:
                try copyDirectory(
                    file,
                    into: to,
                    child,
                    "\(path)/\(child)",
                    depth: depth + 1,
                    &copied
                )
            case S_IFREG:
                defer { close(file) }
                let bytes = Int64(facts.st_size)
                copied.files.append("\(path)/\(child)")
                guard copied.files.count <= filesMax, bytes >= 0,
                    bytes <= bytesMax - copied.bytes
                else {
                    throw SystemFailure("copy \(path): it has too many files or bytes", code: EFBIG)
                }
                copied.bytes += bytes
                try copyFile(file, into: to, child, bytes)
            default: close(file)
            }
        }
    }

    private static func copyFile(
        _ from: Int32,
        into directory: Int32,
        _ name: String,
        _ bytes: Int64
    ) throws {
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC
        let to = openat(directory, name, flags, 0o644)
        guard to >= 0 else { throw SystemFailure("make file \(name)", code: errno) }
        defer { close(to) }
        var left = bytes
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while left > 0 {
            let count = Glibc.read(from, &buffer, Int(min(left, Int64(buffer.count))))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemFailure("read file \(name)", code: EIO) }
            var done = 0
            while done < count {
                let written = buffer[done..<count].withUnsafeBytes {
                    write(to, $0.baseAddress, $0.count)
                }
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { throw SystemFailure("write file \(name)", code: errno) }
                done += written
            }
            left -= Int64(count)
        }
        guard fsync(to) == 0 else { throw SystemFailure("flush file \(name)", code: errno) }
    }
}

import Basics
import Glibc
import HostTools

/// Whole files of the build host.
package enum HostFile {
    /// Largest file read, in bytes.
    package static let bytesMax = 512 << 20

    /// Reads a file.
    /// - Throws: `Fault` that names the path.
    package static func read(_ path: String) throws -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw systemFault("read \(path)") }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw systemFault("read \(path)") }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= bytesMax else {
            throw Fault(.invalid, "cannot read \(path): it is no file, or one larger than 512 MiB")
        }
        let size = Int(status.st_size)
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size, let base = buffer.baseAddress {
                let got = Glibc.read(file, base + count, size - count)
                if got < 0, errno == EINTR { continue }
                if got < 0 { failed = true }
                guard got > 0 else { return }
                count += got
            }
        }
        if failed { throw systemFault("read \(path)") }
        return bytes
    }

    /// Writes a file under a temporary name and renames it, so that nobody sees half of it.
    /// - Throws: `Fault` that names the path.
    package static func write(_ bytes: [UInt8], to path: String, mode: UInt32 = 0o644) throws {
        let temporary = "\(path).\(getpid()).new"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard file >= 0 else { throw systemFault("write \(path)") }
        var done = 0
        var failed = fchmod(file, mode) != 0
        while done < bytes.count, !failed {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(file, buffer.baseAddress.map { $0 + done }, bytes.count - done)
            }
            if count < 0, errno == EINTR { continue }
            if count <= 0 { failed = true } else { done += count }
        }
        let fault = failed || fsync(file) != 0 ? systemFault("write \(path)") : nil
        close(file)
        if fault == nil, rename(temporary, path) == 0 { return }
        let reason = fault ?? systemFault("write \(path)")
        unlink(temporary)
        throw reason
    }

    /// Tells whether something stands at the path (a link counts by its target).
    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Size of the file in bytes; nil when there is none.
    package static func size(_ path: String) -> Int? {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : nil
    }

    /// The path with all links followed; nil when there is nothing.
    package static func resolved(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return String(cString: real)
    }

    /// The path from the root directory, links not followed; programs may run in another directory.
    package static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let own = getcwd(nil, 0) else { return path }
        defer { free(own) }
        return String(cString: own) + "/" + path
    }

    /// Names in a directory, sorted, without `.` and `..`.
    /// - Throws: `Fault` that names the path.
    package static func names(in path: String) throws -> [String] {
        guard let directory = opendir(path) else { throw systemFault("list \(path)") }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Paths of all files and links below a directory, relative to it and sorted.
    /// - Throws: `Fault` that names the path.
    package static func files(below path: String) throws -> [String] {
        var found: [String] = []
        var waiting = [""]
        while let prefix = waiting.popLast() {
            for name in try names(in: prefix.isEmpty ? path : "\(path)/\(prefix)") {
                let relative = prefix.isEmpty ? name : "\(prefix)/\(name)"
                var status = stat()
                guard lstat("\(path)/\(relative)", &status) == 0 else {
                    throw systemFault("list \(path)/\(relative)")
                }
                if status.st_mode & S_IFMT == S_IFDIR {
                    waiting.append(relative)
                } else {
                    found.append(relative)
                }
            }
        }
        return found.sorted()
    }
}

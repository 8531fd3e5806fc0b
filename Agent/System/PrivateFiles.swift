import Glibc

/// Files that only root may read: Hiera data, manifests, reports.
package struct PrivateFiles: Sendable {
    package init() {}

    /// Makes a directory, and those above it, with mode 0700. One that exists keeps its mode.
    package func makeDirectory(_ path: String) throws(SystemFailure) {
        var place = path.hasPrefix("/") ? "" : "."
        for part in path.split(separator: "/") {
            place += "/\(part)"
            if mkdir(place, 0o700) != 0, errno != EEXIST {
                throw SystemFailure("make the directory \(place)", code: errno)
            }
        }
    }

    /// Replaces a file's content in one step; mode 0600. After a crash it is the old file or the new one.
    package func write(_ content: [UInt8], to path: String) throws(SystemFailure) {
        let fresh = "\(path).new"
        unlink(fresh)
        let file = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw SystemFailure("make \(fresh)", code: errno) }
        defer { close(file) }
        var done = 0
        while done < content.count {
            let count = content[done...].withUnsafeBytes {
                Glibc.write(file, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemFailure("write \(fresh)", code: errno) }
            done += count
        }
        guard fsync(file) == 0, rename(fresh, path) == 0 else {
            throw SystemFailure("replace \(path)", code: errno)
        }
    }

    /// Removes a file; none is no failure.
    package func remove(_ path: String) throws(SystemFailure) {
        guard unlink(path) == 0 || errno == ENOENT else {
            throw SystemFailure("remove \(path)", code: errno)
        }
    }
}

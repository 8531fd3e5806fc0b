import Glibc

/// Replaces a file as a whole: written beside it, flushed, renamed, and the directory flushed.
/// - Parameters:
///   - path: absolute path; its directory exists.
///   - bytes: the new content.
///   - mode: permission bits of the new file, set before anything is written.
/// - Throws: `SystemFailure`; the old file is still there.
package func replaceFile(_ path: String, with bytes: [UInt8], mode: UInt32) throws {
    let draft = path + ".new"
    unlink(draft)
    let file = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard file >= 0 else { throw SystemFailure("create \(draft)", code: errno) }
    defer { close(file) }
    func fail(_ action: String) -> SystemFailure {
        let failure = SystemFailure("\(action) \(draft)", code: errno)
        unlink(draft)
        return failure
    }
    // The mode of `open` is narrowed by the umask; this is exact.
    guard fchmod(file, mode) == 0 else { throw fail("set the mode of") }
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw fail("write") }
        rest = rest.dropFirst(count)
    }
    guard fsync(file) == 0 else { throw fail("flush") }
    guard rename(draft, path) == 0 else { throw fail("rename") }
    let directory = open(
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) + "/",
        O_RDONLY | O_DIRECTORY | O_CLOEXEC
    )
    guard directory >= 0 else { return }
    fsync(directory)
    close(directory)
}

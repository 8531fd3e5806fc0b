package import Basics
import Glibc

/// The text of a small file of the host, or `nil` when it cannot be read or is larger than a mebibyte.
package func readText(_ path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while bytes.count <= 1 << 20 {
        let count = read(file, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return nil }
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        bytes.append(contentsOf: buffer[..<count])
    }
    return nil
}

/// Writes a small file so that nobody ever sees half of it: under a temporary name, flushed, then renamed.
///
/// Secrets take the mode `0o600`.
/// - Throws: `Fault` that names the path and the system's reason.
package func writeText(_ text: String, to path: String, mode: UInt32 = 0o644) throws {
    let temporary = "\(path).\(getpid()).new"
    let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard file >= 0 else { throw systemFault("write \(path)") }
    var left = Array(text.utf8)[...]
    var failed = fchmod(file, mode) != 0
    while !left.isEmpty, !failed {
        let count = left.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        if count < 0 { failed = true } else { left = left.dropFirst(count) }
    }
    failed = failed || fsync(file) != 0
    let fault = failed ? systemFault("write \(path)") : nil
    close(file)
    if let fault {
        unlink(temporary)
        throw fault
    }
    guard rename(temporary, path) == 0 else {
        let fault = systemFault("write \(path)")
        unlink(temporary)
        throw fault
    }
}

/// Makes a directory and the ones above it; one that is there already keeps its mode.
/// - Throws: `Fault` that names the path and the system's reason.
package func makeDirectories(_ path: String, mode: UInt32 = 0o755) throws {
    var made = path.hasPrefix("/") ? "" : "."
    for part in path.split(separator: "/") {
        made += "/\(part)"
        if mkdir(made, mode) != 0, errno != EEXIST { throw systemFault("make directory \(path)") }
    }
}

/// A fault from the calling thread's `errno`: `cannot <what>: <system's text>`.
package func systemFault(_ what: String) -> Fault {
    let code = errno
    let text = strerror(code).map { String(cString: $0) } ?? "error \(code)"
    return Fault(.internalError, "cannot \(what): \(text.lowercased())")
}

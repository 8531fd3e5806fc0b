import Glibc
import RamdiskBuilder
import Testing

/// A directory of a test; removed with everything in it when the value is gone.
final class Scratch: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/rdo-ramdisk-test-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }
        }
        path = String(cString: try #require(made))
    }

    deinit { Self.delete(path) }

    private static func delete(_ path: String) {
        guard unlink(path) != 0 else { return }
        // A directory that cannot be listed stays; the test's outcome does not depend on it.
        for name in (try? HostFile.names(in: path)) ?? [] { delete("\(path)/\(name)") }
        rmdir(path)
    }
}

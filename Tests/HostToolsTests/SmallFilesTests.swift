import Basics
import Glibc
import HostTools
import Testing

struct SmallFilesTests {
    @Test func `a file is replaced whole and gets its mode`() throws {
        let directory = "/tmp/rdo-smallfiles-\(getpid())"
        try makeDirectories("\(directory)/a/b")
        let path = "\(directory)/a/b/secret"
        try writeText("one", to: path)
        try writeText("two", to: path, mode: 0o600)
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(readText(path) == "two")
        #expect(readText("\(path).none") == nil)
        let fault = #expect(throws: Fault.self) { try writeText("x", to: "\(path)/below") }
        #expect(fault?.message.contains("not a directory") == true)
        unlink(path)
        for left in ["a/b", "a", ""] { #expect(rmdir("\(directory)/\(left)") == 0) }
    }
}

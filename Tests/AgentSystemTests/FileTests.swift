import Glibc
import Testing

@testable import AgentSystem

struct `Files` {
    @Test func `a file is replaced as a whole, with its mode`() throws {
        let tree = try TemporaryTree()
        let path = "\(tree.root)/key"
        try replaceFile(path, with: Array("old".utf8), mode: 0o644)
        try replaceFile(path, with: Array("new".utf8), mode: 0o600)
        #expect(FileTree().text(path) == "new")
        var facts = stat()
        #expect(stat(path, &facts) == 0)
        #expect(facts.st_mode & 0o777 == 0o600)
        #expect(FileTree().names(in: tree.root) == ["key"])
    }

    @Test func `a draft that a crash left behind is no obstacle`() throws {
        let tree = try TemporaryTree().file("/key.new", "half")
        try replaceFile("\(tree.root)/key", with: [1], mode: 0o600)
        #expect(FileTree().names(in: tree.root) == ["key"])
    }

    @Test func `a directory that is missing is a failure with the kernel's reason`() throws {
        let tree = try TemporaryTree()
        #expect(throws: SystemFailure.self) {
            try replaceFile("\(tree.root)/none/key", with: [1], mode: 0o600)
        }
    }

    @Test func `reading stops at the limit`() throws {
        let tree = try TemporaryTree().file("/long", bytes: [UInt8](repeating: 7, count: 100_000))
        #expect(tree.tree.bytes("/long", bytesMax: 5000)?.count == 5000)
        #expect(tree.tree.bytes("/long")?.count == 100_000)
        #expect(tree.tree.bytes("/none") == nil)
    }

    @Test(arguments: [
        ("/dev/vda1 /mnt/a\\040b ext4 rw 0 0", "/mnt/a b"), ("tmpfs / tmpfs", "/"),
        ("x /back\\134slash t", "/back\\slash"), ("x /odd\\9zz t", "/odd\\9zz"),
    ])
    func `a mount's path is told without escapes`(line: String, path: String) {
        #expect(Mount(line: line)?.path == path)
    }

    @Test(arguments: ["", "one", "one two"])
    func `a line that is no mount is refused`(line: String) {
        #expect(Mount(line: line) == nil)
    }
}

import Glibc
import Testing

@testable import AgentSystem

/// A directory that a test fills as it likes; removed with everything in it at the end.
final class TemporaryTree {
    let root: String

    init() throws {
        var template = Array("/tmp/agent-tree-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw SystemFailure("make a directory", code: errno)
        }
        root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { remove(root) }

    var tree: FileTree { FileTree(root: root) }

    @discardableResult
    func file(_ path: String, _ text: String) throws -> TemporaryTree {
        try file(path, bytes: Array(text.utf8))
    }

    @discardableResult
    func file(_ path: String, bytes: [UInt8]) throws -> TemporaryTree {
        makeDirectories(root + path[..<(path.lastIndex(of: "/") ?? path.startIndex)], mode: 0o755)
        try replaceFile(root + path, with: bytes, mode: 0o644)
        return self
    }

    /// Makes a link; an absolute destination means the tree's root.
    @discardableResult
    func link(_ path: String, to destination: String) -> TemporaryTree {
        makeDirectories(root + path[..<(path.lastIndex(of: "/") ?? path.startIndex)], mode: 0o755)
        symlink(destination.hasPrefix("/") ? root + destination : destination, root + path)
        return self
    }

    @discardableResult
    func directory(_ path: String) -> TemporaryTree {
        makeDirectories(root + path, mode: 0o755)
        return self
    }

    private func remove(_ path: String) {
        for name in FileTree().names(in: path) {
            var facts = stat()
            lstat("\(path)/\(name)", &facts)
            if facts.st_mode & S_IFMT == S_IFDIR {
                remove("\(path)/\(name)")
            } else {
                unlink("\(path)/\(name)")
            }
        }
        rmdir(path)
    }
}

extension FileTree {
    /// Text of a file in the tree, for tests that write elsewhere.
    func lines(_ path: String) -> [String] {
        (text(path) ?? "").split(separator: "\n").map(String.init)
    }
}

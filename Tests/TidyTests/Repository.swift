import Foundation

/// One file of the work tree.
struct SourceFile: Sendable {
    /// Relative to the repository.
    let path: String
    let text: String

    var name: String { String(path.split(separator: "/").last ?? "") }
    var folder: String { String(path.dropLast(name.count + 1)) }
    var isSwift: Bool { path.hasSuffix(".swift") && !path.hasSuffix(".pb.swift") }
    var isTest: Bool { path.hasPrefix("Tests/") }
}

/// A place where a rule is broken.
struct Violation: Sendable, Hashable, CustomStringConvertible {
    let path: String
    let line: Int
    let message: String

    var description: String { "\(path):\(line): \(message)" }
}

/// The work tree that this test was built from.
enum Repository {
    static let root: String = {
        var parts = #filePath.split(separator: "/")
        parts.removeLast(3)
        return "/" + parts.joined(separator: "/")
    }()

    /// Every text file that a commit could hold, in the order of the paths.
    static let files: [SourceFile] = {
        var files: [SourceFile] = []
        var folders = [""]
        while let folder = folders.popLast() {
            for entry in list(folder) where !skipped(entry) {
                let path = folder.isEmpty ? entry : "\(folder)/\(entry)"
                if isFolder(path) {
                    folders.append(path)
                } else if let text = try? String(contentsOfFile: "\(root)/\(path)", encoding: .utf8)
                {
                    // What is not UTF-8 is no text of ours: pictures and binary test data.
                    files.append(SourceFile(path: path, text: text))
                }
            }
        }
        return files.sorted { $0.path < $1.path }
    }()

    static var swiftFiles: [SourceFile] { files.filter(\.isSwift) }

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: "\(root)/\(path)")
    }

    private static func list(_ folder: String) -> [String] {
        // A folder that another test removes meanwhile holds nothing for us.
        (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/\(folder)")) ?? []
    }

    private static func isFolder(_ path: String) -> Bool {
        var folder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: "\(root)/\(path)", isDirectory: &folder)
        return folder.boolValue
    }

    private static func skipped(_ entry: String) -> Bool {
        entry == ".git" || entry.hasPrefix(".build") || entry == "__pycache__"
            || entry == "Package.resolved"
    }
}

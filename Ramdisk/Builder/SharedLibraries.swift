import Basics

/// Finds the shared libraries that programs need, by reading the programs as the dynamic loader does.
package struct SharedLibraries: Sendable {
    /// Where Debian's loader looks without any configuration, in its order.
    package static let defaultDirectories = [
        "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib",
        "/usr/lib",
    ]

    /// Directories in which libraries are looked for, on the build host.
    private let directories: [String]

    package init(directories: [String] = SharedLibraries.defaultDirectories) {
        self.directories = directories
    }

    /// The libraries of some programs and of those libraries in turn.
    /// - Returns: path on the build host by the name under which the loader asks for it.
    /// - Throws: `Fault` (`notFound`) that names the library and who needs it.
    package func closure(of programs: [String]) throws -> [String: String] {
        var found: [String: String] = [:]
        var waiting = programs
        while let path = waiting.popLast() {
            let file = try ElfFile(try HostFile.read(path), name: path)
            for name in file.needed where found[name] == nil {
                guard let library = locate(name) else {
                    throw Fault(
                        .notFound,
                        "cannot find library \(name) that \(path) needs: install its package"
                    )
                }
                found[name] = library
                waiting.append(library)
            }
        }
        return found
    }

    private func locate(_ name: String) -> String? {
        guard !name.contains("/") else { return HostFile.exists(name) ? name : nil }
        return directories.lazy.map { "\($0)/\(name)" }.first(where: HostFile.exists)
    }
}

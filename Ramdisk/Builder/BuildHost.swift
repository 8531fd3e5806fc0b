package import Basics
import Glibc
import HostTools
import Protocol

/// What the build host's own programs do for a build.
package struct BuildHost<Time: TimeSource>: Sendable {
    private let scratch: String
    private let time: Time

    /// - Parameters:
    ///   - scratch: directory for files that live only as long as one call.
    ///   - time: bounds what a program may take.
    package init(scratch: String, time: Time) {
        self.scratch = scratch
        self.time = time
    }

    /// The host's busybox.
    /// - Throws: `Fault` (`unavailable`) when there is none, or one that needs shared libraries.
    package func busybox() throws -> [UInt8] {
        guard let path = Tool.locate("busybox") else {
            throw Fault(.unavailable, "cannot find busybox: install package busybox-static")
        }
        let bytes = try HostFile.read(path)
        guard try ElfFile(bytes, name: path).needed.isEmpty else {
            throw Fault(
                .unavailable,
                "cannot use \(path): it needs shared libraries; install package busybox-static"
            )
        }
        return bytes
    }

    /// The host's paths of some programs, by name.
    ///
    /// `wanted`: the package of each.
    /// - Throws: `Fault` (`unavailable`) that names the missing program and its package.
    package func programs(_ wanted: [String: String]) throws -> [String: String] {
        var found: [String: String] = [:]
        for (name, package) in wanted.sorted(by: { $0.key < $1.key }) {
            guard let path = Tool.locate(name) else {
                throw Fault(.unavailable, "cannot find \(name): install package \(package)")
            }
            found[name] = path
        }
        return found
    }

    /// The program without symbols; as it is when binutils are not installed.
    /// - Throws: `Fault` that names the program.
    package func stripped(_ path: String) async throws -> [UInt8] {
        guard let tool = Tool.locate("strip") ?? Tool.locate("objcopy") else {
            return try HostFile.read(path)
        }
        try makeDirectories(scratch)
        let result = "\(scratch)/agent.\(getpid()).stripped"
        defer { unlink(result) }
        let output = tool.hasSuffix("objcopy") ? [path, result] : ["-o", result, path]
        try await Tool.require(
            tool,
            ["--strip-all"] + output,
            budget: .seconds(60),
            time: time
        )
        return try HostFile.read(result)
    }

    /// The bytes of a module that is stored as `.ko.xz`, `.ko.zst` or `.ko.gz`.
    /// - Throws: `Fault` that names the module.
    package func decompressed(_ path: String) async throws -> [UInt8] {
        let programs = [".xz": "xz", ".zst": "zstd", ".gz": "gzip"]
        guard let program = programs.first(where: { path.hasSuffix($0.key) })?.value else {
            throw Fault(.notSupported, "cannot read module \(path): its compression is not known")
        }
        try makeDirectories(scratch)
        // Programs speak text through HostTools, so the bytes go through a file.
        let copy = "\(scratch)/module.\(getpid())"
        defer { unlink(copy) }
        let suffix = path.split(separator: ".").last ?? ""
        try await Tool.require(
            "cp",
            ["--", path, "\(copy).\(suffix)"],
            budget: .seconds(60),
            time: time
        )
        try await Tool.require(
            program,
            ["-d", "-f", "\(copy).\(suffix)"],
            budget: .seconds(60),
            time: time
        )
        return try HostFile.read(copy)
    }
}

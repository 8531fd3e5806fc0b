package import Basics
import Glibc
import HostTools
import Protocol

/// A kernel of the distribution, unpacked in a cache directory.
///
/// It is never installed on the build host.
package struct UnpackedKernel: Sendable {
    /// As in `uname -r`: `6.1.0-56-cloud-amd64`.
    package let version: String
    /// The package's file name, which has its version in it.
    package let packageFile: String
    /// The compressed kernel that firmware and boot loaders start.
    package let imagePath: String
    /// `…/lib/modules/VERSION`, with the files that `depmod` writes.
    package let modulesDirectory: String
}

/// Fetches kernels with apt and unpacks them.
package struct KernelPackages<Time: TimeSource>: Sendable {
    private let cache: String
    private let time: Time

    /// - Parameters:
    ///   - cache: directory that keeps packages and what is in them; made when it is missing.
    ///   - time: bounds what apt may take.
    package init(cache: String, time: Time) {
        self.cache = cache
        self.time = time
    }

    /// Gives the unpacked kernel, downloading it unless the cache has it.
    /// - Parameters:
    ///   - set: decides which of the distribution's kernels.
    ///   - version: as in `uname -r`; nil is the newest that apt knows.
    /// - Returns: where its parts lie in the cache.
    /// - Throws: `Fault` that says what is missing.
    package func unpacked(_ set: DriverSet, version: String?) async throws -> UnpackedKernel {
        try makeDirectories(cache)
        let version = try await resolve(set, version)
        let file = try await package("linux-image-\(version)")
        let directory = "\(cache)/\(file.dropLast(".deb".count))"
        let modules = "\(directory)/lib/modules/\(version)"
        let kernel = UnpackedKernel(
            version: version,
            packageFile: file,
            imagePath: "\(directory)/boot/vmlinuz-\(version)",
            modulesDirectory: modules
        )
        if HostFile.exists("\(modules)/modules.dep") { return kernel }
        let fresh = "\(directory).\(getpid()).new"
        try await run("rm", ["-rf", "--", fresh, directory])
        try await run("dpkg-deb", ["--extract", "\(cache)/\(file)", fresh])
        try await run("depmod", ["--basedir", fresh, version])
        guard rename(fresh, directory) == 0 else {
            throw systemFault("move \(fresh) to \(directory)")
        }
        return kernel
    }

    private func resolve(_ set: DriverSet, _ version: String?) async throws -> String {
        if let version {
            guard version.wholeMatch(of: /[0-9][A-Za-z0-9.+~-]*/) != nil else {
                throw Fault(
                    .invalid,
                    "cannot use kernel \"\(version)\": give a version as `uname -r` prints it"
                )
            }
            return version
        }
        let result = try await run("apt-cache", ["depends", set.kernelPackage])
        let prefix = "Depends: linux-image-"
        for line in result.output.split(whereSeparator: \.isNewline) {
            guard let range = line.firstRange(of: prefix) else { continue }
            return String(line[range.upperBound...])
        }
        throw Fault(
            .unavailable,
            "cannot find package \(set.kernelPackage): apt does not know it; run apt-get update"
        )
    }

    /// The package's file name in the cache.
    private func package(_ name: String) async throws -> String {
        // In a directory that stays empty: apt says nothing about a package that lies there already.
        let empty = "\(cache)/empty"
        try makeDirectories(empty)
        let answer = try await Tool.run(
            "apt-get",
            ["--print-uris", "download", name],
            directory: empty,
            budget: .seconds(60),
            time: time
        )
        // 'URI' FILE SIZE HASH
        let words = answer.output.split(separator: " ").map(String.init)
        guard answer.exitCode == 0, words.count >= 3, let size = Int(words[2]),
            words[1].hasSuffix(".deb"), !words[1].contains("/")
        else {
            if let kept = try HostFile.names(in: cache).last(where: {
                $0.hasPrefix("\(name)_") && $0.hasSuffix(".deb")
            }) {
                return kept
            }
            throw Fault(
                .unavailable,
                "cannot find package \(name): apt does not know it; run apt-get update",
                detail: answer.lastWords
            )
        }
        let file = words[1]
        if HostFile.size("\(cache)/\(file)") == size { return file }
        try await Tool.require(
            "apt-get",
            ["--quiet", "download", name],
            directory: cache,
            budget: .seconds(600),
            time: time
        )
        // apt writes the epoch's colon as %3a in both places.
        guard HostFile.size("\(cache)/\(file)") == size else {
            throw Fault(
                .unavailable,
                "cannot download package \(name): \(file) is not as long as it should be"
            )
        }
        return file
    }

    @discardableResult
    private func run(_ program: String, _ arguments: [String]) async throws -> ToolResult {
        try await Tool.require(program, arguments, budget: .seconds(300), time: time)
    }
}

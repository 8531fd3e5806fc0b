import Basics
import FoundationEssentials
import HostTools

/// The programs of the build that these tests belong to.
package enum BuiltProgram {
    /// The path of a program: it stands beside the test's own executable.
    /// - Throws: `Fault` when it was not built.
    package static func path(_ name: String) throws -> String {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        var folder = own.split(separator: "/").dropLast()
        while !folder.isEmpty {
            let path = folder.map { "/\($0)" }.joined() + "/" + name
            if Tool.locate(path) != nil { return path }
            folder = folder.dropLast()
        }
        throw Fault(.notFound, "cannot find the program \(name) beside \(own): build it first")
    }
}

/// A folder that goes when its owner does.
package final class TemporaryFolder: Sendable {
    package let path: String

    package init() throws {
        let name = SystemRandom().bytes(8).map { String($0, radix: 16) }.joined()
        path = "/tmp/rdo-test-\(name)"
        try makeDirectories(path)
    }

    deinit {
        // What is left in /tmp harms nobody.
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// Waits until a condition holds.
/// - Throws: `TimeBudgetExceeded` after `limit`.
package func eventually(
    _ what: String,
    within limit: Duration = .seconds(30),
    _ condition: () async throws -> Bool
) async throws {
    let time = SystemTime()
    let deadline = time.elapsed + limit
    while try await !condition() {
        guard time.elapsed < deadline else {
            throw TimeBudgetExceeded(subject: what, budget: limit)
        }
        try await time.sleep(for: .milliseconds(50))
    }
}

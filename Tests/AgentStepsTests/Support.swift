import AgentSteps
import AgentSystem
import Basics
import Foundation
import Glibc
import Protocol
import Synchronization

/// A directory of a test's own; removed with everything in it at the end.
final class Scratch: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/rdo-steps-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw SystemFailure("make a directory", code: errno)
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String, _ text: String, mode: UInt32 = 0o600) throws -> String {
        try replaceFile("\(path)/\(name)", with: Array(text.utf8), mode: mode)
        return "\(path)/\(name)"
    }

    func text(_ name: String) -> String {
        String(decoding: FileTree().bytes("\(path)/\(name)") ?? [], as: UTF8.self)
    }

    func names(in folder: String) -> [String] { FileTree().names(in: "\(path)/\(folder)") }

    /// Permission bits of a file or directory.
    func mode(of name: String) -> UInt32 {
        var facts = stat()
        return lstat("\(path)/\(name)", &facts) == 0 ? facts.st_mode & 0o7777 : 0
    }
}

/// A clock whose sleepers do not wait: sleeping moves it.
final class LeapingTime: TimeSource {
    private let state = Mutex(Duration.zero)

    var elapsed: Duration { state.withLock { $0 } }
    var now: Timestamp { Timestamp(seconds: 1_800_000_000) + elapsed }

    func sleep(for span: Duration) async throws {
        try Task.checkCancellation()
        advance(span)
    }

    func advance(_ span: Duration) { state.withLock { $0 += span } }
}

/// Remembers what a step said on its way.
final class Ear: StepReporter {
    private let state = Mutex((progress: [StepProgress](), lines: [String]()))
    private let onProgress: (@Sendable (StepProgress) -> Void)?

    init(onProgress: (@Sendable (StepProgress) -> Void)? = nil) { self.onProgress = onProgress }

    func progress(_ progress: StepProgress) {
        state.withLock { $0.progress.append(progress) }
        onProgress?(progress)
    }

    func log(_ lines: [String]) { state.withLock { $0.lines += lines } }

    var phases: [String] { state.withLock { $0.progress.map(\.phase) } }
    var lines: [String] { state.withLock { $0.lines } }
}

/// Runs a program of the host to its end.
func run(_ program: String, _ arguments: [String]) async throws -> ProcessResult {
    try await SystemProcesses().run(ProcessRequest(program, arguments, budget: .seconds(60)))
}

let noContext = StepContext(node: "node", certificateAuthority: "", timeServers: [])

/// Bytes that look random and are the same each time.
func noise(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
    var bytes = [UInt8](repeating: 0, count: count)
    bytes.withUnsafeMutableBytes { buffer in
        for place in stride(from: 0, to: count - 7, by: 8) {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            buffer.storeBytes(of: state, toByteOffset: place, as: UInt64.self)
        }
    }
    return bytes
}

/// A number's bytes, lowest first.
func bytes(_ number: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
}

/// Whether the bytes are the same; `==` takes a second for 50 MB in a debug build.
func isSame(_ one: [UInt8], _ other: [UInt8]) -> Bool {
    one.withUnsafeBytes { first in
        other.withUnsafeBytes { second in
            guard first.count == second.count else { return false }
            guard let start = first.baseAddress, let otherStart = second.baseAddress else {
                return true
            }
            return memcmp(start, otherStart, first.count) == 0
        }
    }
}

import AgentSystem
import Basics
import Foundation
import Glibc
import Protocol
import Testing

/// What a parser made of an input.
enum Verdict: Equatable {
    case taken
    case refused
}

/// A parser did what it must never do, short of a crash.
struct Violation: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Demands a property of what a parser took.
func demand(_ holds: Bool, _ property: @autoclosure () -> String) throws {
    if !holds { throw Violation(property()) }
}

/// Feeds one parser with inputs that grow out of valid samples.
///
/// A trap in Swift ends the process, so the number of the present input stands in a mapped file before
/// the parser sees it; the file stays when the process dies and holds the command that replays the input.
struct Fuzzer {
    let name: String
    let mutator: Mutator
    let iterations: Int
    /// Set to run one input only.
    let only: Int?

    /// The longest that one input may take; generous, because the build server is slow and shared.
    static let inputSecondsMax = 10.0
    /// What all inputs of a parser may add to the process's memory at its peak.
    static let memoryBytesMax = 384 << 20
    /// A parser's time in the check run; fewer inputs are fed on a slow machine.
    static let budget = Duration.seconds(8)
    static let longBudget = Duration.seconds(120)

    /// Takes valid samples and words of the format.
    ///
    /// `name`: letters and hyphens; names the mapped file.
    /// `iterations`: inputs in the check run; 20 times as many when `CHECK_LONG` is `true`.
    init(
        _ name: String,
        _ samples: [[UInt8]],
        words: [String] = [],
        iterations: Int = 10_000
    ) {
        let environment = ProcessInfo.processInfo.environment
        let isNamed = environment["FUZZ_TARGET"] == name
        let seed = environment["FUZZ_SEED"].flatMap { UInt64($0) } ?? 20_261_125
        self.name = name
        mutator = Mutator(samples: samples, words: words, seed: seed)
        self.iterations = iterations * (Self.isLong ? 20 : 1)
        only = isNamed ? environment["FUZZ_INPUT"].flatMap { Int($0) } : nil
    }

    static var isLong: Bool { ProcessInfo.processInfo.environment["CHECK_LONG"] == "true" }

    /// What came of a run.
    struct Outcome {
        var taken = 0
        var refused = 0
    }

    /// Runs the parser; every sample must be taken as it is, or the corpus is worth nothing.
    @discardableResult
    func run(_ parse: ([UInt8]) async throws -> Verdict) async throws -> Outcome {
        let time = SystemTime()
        let start = time.elapsed
        let budget = Self.isLong ? Self.longBudget : Self.budget
        let note = try Note(name)
        defer { note.remove() }
        let memory = PeakMemory()
        var outcome = Outcome()
        for number in only.map({ $0..<($0 + 1) }) ?? 0..<iterations {
            if number.isMultiple(of: 16), time.elapsed - start > budget { break }
            note.write(replay(number))
            let input = mutator.input(number)
            let begun = time.elapsed
            do {
                switch try await parse(input) {
                case .taken: outcome.taken += 1
                case .refused:
                    outcome.refused += 1
                    try demand(number >= mutator.samples.count, "a valid sample is refused")
                }
                let seconds = (time.elapsed - begun).inSeconds
                try demand(seconds < Self.inputSecondsMax, "it took \(seconds) s")
                try demand(memory.growth < Self.memoryBytesMax, "memory grew by \(memory.growth)")
            } catch {
                throw Violation("\(error); replay with: \(replay(number))")
            }
        }
        print("fuzz \(name): \(outcome.taken) inputs taken, \(outcome.refused) refused")
        return outcome
    }

    /// The command that runs one input again.
    func replay(_ number: Int) -> String {
        "FUZZ_TARGET=\(name) FUZZ_SEED=\(mutator.seed) FUZZ_INPUT=\(number) "
            + "swift test --filter FuzzTests"
    }
}

/// One line in a mapped file, which outlives the process.
private struct Note {
    private static let bytes = 256
    private let path: String
    private let memory: UnsafeMutableRawBufferPointer

    init(_ name: String) throws {
        let directory = NSTemporaryDirectory() + "rdo-fuzz"
        try FileManager.default.createDirectory(
            atPath: directory,
            withIntermediateDirectories: true
        )
        path = "\(directory)/\(name)"
        let file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0, ftruncate(file, Self.bytes) == 0,
            let start = mmap(nil, Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
            start != MAP_FAILED
        else { throw SystemFailure("map \(path)", code: errno) }
        close(file)
        memory = UnsafeMutableRawBufferPointer(start: start, count: Self.bytes)
    }

    func write(_ text: String) {
        let line = Array(text.utf8.prefix(Self.bytes - 1)) + [0x0a]
        memory.copyBytes(from: line)
    }

    func remove() {
        munmap(memory.baseAddress, memory.count)
        unlink(path)
    }
}

/// The process's peak of resident memory since this was made.
private struct PeakMemory {
    private let start: Int

    init() {
        // Makes the kernel count anew; where it does not, the peak of before counts too.
        let file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
        if file >= 0 {
            _ = Glibc.write(file, "5", 1)
            close(file)
        }
        start = Self.peak
    }

    var growth: Int { Self.peak - start }

    private static var peak: Int {
        let status = FileTree().text("/proc/self/status") ?? ""
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") })
        else { return 0 }
        return (Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0) << 10
    }
}

/// All of them, one after the other: memory is measured over the process.
@Suite(.serialized) enum Fuzzing {}

extension Fuzzing {
    struct `The fuzzer itself` {
        private let fuzzer = Fuzzer("planted", [Array("length=12;".utf8)])

        @Test func `makes the same input from the same number`() {
            let other = Fuzzer("other", [Array("length=12;".utf8)])
            for number in 0..<200 {
                #expect(fuzzer.mutator.input(number) == other.mutator.input(number))
            }
            #expect(Set((0..<200).map(fuzzer.mutator.input)).count > 150)
        }

        @Test func `finds a planted mistake and says how to replay it`() async throws {
            let violation = await #expect(throws: Violation.self) {
                try await fuzzer.run { input in
                    let digits = input.drop { !(0x30...0x39).contains($0) }
                        .prefix { (0x30...0x39).contains($0) }
                    let text = String(decoding: digits, as: UTF8.self)
                    try demand(text.count < 19 || Int64(text) != nil, "a number overflows")
                    return .taken
                }
            }
            let text = violation?.description ?? ""
            #expect(text.contains("a number overflows; replay with: FUZZ_TARGET=planted"))
            let number = try #require(
                text.split(separator: "FUZZ_INPUT=").last?.split(separator: " ").first
                    .flatMap { Int($0) }
            )
            let digits = fuzzer.mutator.input(number).drop { !(0x30...0x39).contains($0) }
                .prefix { (0x30...0x39).contains($0) }
            #expect(digits.count >= 19)
        }

        @Test func `leaves the replay's command in a file when the process dies`() async throws {
            await #expect(processExitsWith: .exitCode(3)) {
                try await Fuzzer("death", [[1]]).run { input in
                    if input.count > 100 { _exit(3) }
                    return .taken
                }
            }
            let path = NSTemporaryDirectory() + "rdo-fuzz/death"
            let note = try #require(FileTree().text(path))
            #expect(note.hasPrefix("FUZZ_TARGET=death FUZZ_SEED="))
            #expect(note.hasSuffix("swift test --filter FuzzTests"))
            unlink(path)
        }

        @Test func `does not accept a corpus that the parser refuses`() async {
            await #expect(throws: Violation.self) { try await fuzzer.run { _ in .refused } }
        }
    }
}

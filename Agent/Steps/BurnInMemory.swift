package import AgentSystem
package import Basics
package import Protocol

/// Tests the machine's memory with `memtester`; the disks are left alone.
package struct BurnInMemory: StepRunner {
    /// Left to the agent and the kernel.
    static let reserveBytes: Int64 = 128 << 20
    private static let leastBytes: Int64 = 16 << 20

    private let processes: any ProcessRunner
    private let tree: FileTree
    private let time: any TimeSource

    /// `tree`: where `/proc` is.
    package init(processes: any ProcessRunner, tree: FileTree, time: any TimeSource) {
        self.processes = processes
        self.tree = tree
        self.time = time
    }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let order = command.burnInMemory
        guard order.seconds > 0, (1...98).contains(order.percent) else {
            throw StepFailure(
                "cannot test the memory: \(order.seconds) s or \(order.percent) % make no sense; report it, the controller chose them",
                retryable: false
            )
        }
        let bytes = try size(percent: Int64(order.percent))
        let (start, span) = (time.elapsed, Duration.seconds(Int64(order.seconds)))
        var tested = WireBurnedIn()
        tested.memoryBytes = UInt64(bytes)
        while time.elapsed - start < span {
            report.progress(
                StepProgress(phase: "burn-in", text: "\(tested.loops) loops of \(ByteCount(bytes))")
            )
            let left = span - (time.elapsed - start)
            guard try await loop(bytes, within: left, start, span, report) else { break }
            tested.loops += 1
        }
        tested.seconds = (time.elapsed - start).inSeconds
        return .burnedIn(tested)
    }

    /// What is tested: a part of what is free, so that nothing else dies of it.
    private func size(percent: Int64) throws -> Int64 {
        let line = tree.text("/proc/meminfo")?.split(separator: "\n")
            .first { $0.hasPrefix("MemAvailable:") }
        let words = line?.split(separator: " ") ?? []
        guard words.count > 1, let free = Int64(words[1]), free < 1 << 40 else {
            throw StepFailure(
                "cannot test the memory: the kernel does not say how much is free; boot a newer ramdisk",
                retryable: false
            )
        }
        let bytes = min(free * 1024 * percent / 100, free * 1024 - Self.reserveBytes)
        guard bytes >= Self.leastBytes else {
            throw StepFailure(
                "cannot test the memory: only \(ByteCount(free * 1024)) are free, and \(ByteCount(Self.reserveBytes)) stay with the ramdisk",
                retryable: false
            )
        }
        return bytes
    }

    /// Tests the memory once.
    /// - Returns: false when the time was over before.
    private func loop(
        _ bytes: Int64,
        within left: Duration,
        _ start: Duration,
        _ span: Duration,
        _ report: some StepReporter
    ) async throws -> Bool {
        let result: ProcessResult
        do {
            result = try await processes.run(
                ProcessRequest("memtester", ["\(bytes >> 20)M", "1"], budget: left)
            )
        } catch let fault as Fault where fault.kind == .timeout {
            // What it found until then it would have said on its way.
            guard !fault.detail.contains("FAILURE") else { throw broken(fault.detail) }
            return false
        } catch let fault as Fault {
            throw StepFailure(
                "cannot test the memory: \(fault.message); build the ramdisk with memtester",
                retryable: false
            )
        }
        guard result.succeeded else { throw broken(result.errorText) }
        return true
    }

    private func broken(_ text: String) -> StepFailure {
        let lines = text.split(whereSeparator: \.isNewline).map(String.init)
        return StepFailure(
            "cannot trust the memory: memtester found errors; replace the modules before the node works on",
            retryable: false,
            lines: lines.suffix(64).map { String($0.prefix(1024)) }
        )
    }
}

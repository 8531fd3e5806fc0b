import Basics
import Protocol
import Synchronization

/// What a number of requests took.
package struct LoadResult: Sendable {
    /// Requests that were answered as they should be.
    package var good = 0
    /// What the others said, each text once with its count.
    package var faults: [String: Int] = [:]
    /// Wall time of all, in seconds.
    package var seconds = 0.0
    /// CPU time of the server, in seconds.
    package var cpuSeconds = 0.0
    /// Seconds of each good request.
    package var latencies: [Double] = []

    /// Good requests per second.
    package var rate: Double { seconds > 0 ? Double(good) / seconds : 0 }
    /// CPU milliseconds of the server per good request.
    package var cpuMilliseconds: Double { good > 0 ? cpuSeconds * 1000 / Double(good) : 0 }

    /// - Throws: `Fault` with the first complaint when there was one.
    package func checked(_ what: String) throws -> LoadResult {
        guard let worst = faults.max(by: { $0.value < $1.value }) else { return self }
        throw Fault(
            .unavailable,
            "cannot measure \(what): \(worst.value) of \(good + worst.value) requests failed: \(worst.key)"
        )
    }
}

/// Connections to one server, each on a thread of its own, that work through a list of requests.
package struct LoadPool: Sendable {
    private let target: LoadTarget
    private let threads: [OwnThread]
    private let pid: Int32

    /// `pid` is the server's process, for its CPU time.
    package init(_ target: LoadTarget, clients: Int, pid: Int32) {
        self.target = target
        self.pid = pid
        threads = (0..<clients).map { OwnThread(name: "client-\($0)") }
    }

    /// Calls `body` for each number below `count`, each on one of the connections.
    ///
    /// `body` returns `nil` when the answer was right, or what was wrong. `source` names the address to
    /// speak from for a number; then each request has a connection of its own.
    package func run(
        _ count: Int,
        from source: (@Sendable (Int) -> String)? = nil,
        _ body: @escaping @Sendable (Int, LoadConnection) throws -> String?
    ) async -> LoadResult {
        let tally = Tally()
        let target = target
        let watch = Stopwatch(pid)
        await withTaskGroup(of: Void.self) { group in
            for thread in threads {
                group.addTask(name: "client", executorPreference: thread) { @Sendable in
                    var own = LoadResult()
                    var connection = LoadConnection(target)
                    while true {
                        let number = tally.next()
                        guard number < count else { break }
                        if let source {
                            connection = LoadConnection(target, from: source(number))
                        }
                        own.take(number, connection, body)
                    }
                    tally.add(own)
                }
            }
        }
        var result = tally.total
        result.seconds = watch.seconds
        result.cpuSeconds = watch.cpuSeconds
        return result
    }
}

/// What the clients of one run share.
private final class Tally: Sendable {
    private let number = Atomic<Int>(0)
    private let sum = Mutex(LoadResult())

    /// The next request's number.
    func next() -> Int { number.add(1, ordering: .relaxed).oldValue }

    func add(_ part: LoadResult) { sum.withLock { $0.add(part) } }

    var total: LoadResult { sum.withLock { $0 } }
}

extension LoadResult {
    fileprivate mutating func take(
        _ number: Int,
        _ connection: LoadConnection,
        _ body: (Int, LoadConnection) throws -> String?
    ) {
        let time = SystemTime()
        let start = time.elapsed
        do {
            if let fault = try body(number, connection) {
                faults[String(fault.prefix(300)), default: 0] += 1
            } else {
                good += 1
                latencies.append((time.elapsed - start).inSeconds)
            }
        } catch {
            faults["\(error)", default: 0] += 1
        }
    }

    fileprivate mutating func add(_ other: LoadResult) {
        good += other.good
        latencies += other.latencies
        faults.merge(other.faults) { $0 + $1 }
    }
}

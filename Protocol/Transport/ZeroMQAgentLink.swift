package import Basics
import CZeroMQ
package import Protocol
import Synchronization

/// Where an agent finds its controller and how it proves who it is.
package struct AgentLinkConfiguration: Sendable {
    /// IP address or name of the controller.
    package var address: String
    package var enrolmentPort: UInt16
    package var controlPort: UInt16
    package var telemetryPort: UInt16
    /// The controller's key, from the boot fragment or the config drive.
    package var serverKey: CurvePublicKey
    package var keys: CurveKeyPair

    package init(
        address: String,
        enrolmentPort: UInt16 = 5601,
        controlPort: UInt16 = 5602,
        telemetryPort: UInt16 = 5603,
        serverKey: CurvePublicKey,
        keys: CurveKeyPair
    ) {
        self.address = address
        self.enrolmentPort = enrolmentPort
        self.controlPort = controlPort
        self.telemetryPort = telemetryPort
        self.serverKey = serverKey
        self.keys = keys
    }

    func endpoint(_ port: UInt16) -> String {
        address.contains(":") ? "tcp://[\(address)]:\(port)" : "tcp://\(address):\(port)"
    }
}

/// An agent's line over ZeroMQ; all its sockets belong to one thread.
package final class ZeroMQAgentLink: AgentLink {
    typealias Enrolment = (
        id: UInt64, request: WireEnrolRequest,
        continuation: CheckedContinuation<WireEnrolReply, any Error>
    )

    /// What other threads want of the socket thread.
    struct Wishes {
        var enrolments: [Enrolment] = []
        var cancelled: [UInt64] = []
        var opened: UInt64 = 0
        var closed = false
        var closing: [CheckedContinuation<Void, Never>] = []
        var gone = false
    }

    /// The parts shared with the socket thread.
    final class Shared: Sendable {
        let wishes = Mutex(Wishes())
        let wakeup: Wakeup
        let events = Inbox<AgentLinkEvent>(
            countMax: 256,
            bytesMax: 16 << 20,
            overflow: .refuseNewest
        )
        let frames = Inbox<[UInt8]>(countMax: 256, bytesMax: 16 << 20, overflow: .refuseNewest)
        let metrics = MetricOutbox()

        init() throws { wakeup = try Wakeup() }
    }

    private let shared: Shared
    private let nextEnrolment = Atomic<UInt64>(0)

    package var events: Inbox<AgentLinkEvent> { shared.events }

    /// Starts the thread; nothing is connected yet.
    /// - Throws: `Fault` when the process has no descriptor left.
    package init(_ configuration: AgentLinkConfiguration, time: some TimeSource) throws {
        let shared = try Shared()
        self.shared = shared
        startThread(name: "zeromq-agent") {
            AgentSockets(configuration, shared: shared, time: time).run()
            let closing = shared.wishes.withLock { wishes in
                wishes.gone = true
                defer { wishes.closing = [] }
                return wishes.closing
            }
            for continuation in closing { continuation.resume() }
        }
    }

    deinit {
        shared.wishes.withLock { $0.closed = true }
        shared.wakeup.wake()
    }

    package func enrol(_ request: WireEnrolRequest) async throws -> WireEnrolReply {
        let id = nextEnrolment.add(1, ordering: .relaxed).newValue
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let refused = shared.wishes.withLock { wishes in
                    guard !wishes.closed else { return true }
                    wishes.enrolments.append((id, request, continuation))
                    return false
                }
                if refused {
                    continuation.resume(throwing: AgentSockets.closedFault)
                } else {
                    shared.wakeup.wake()
                }
            }
        } onCancel: {
            shared.wishes.withLock { $0.cancelled.append(id) }
            shared.wakeup.wake()
        }
    }

    package func open() {
        shared.wishes.withLock { $0.opened += 1 }
        shared.wakeup.wake()
    }

    @discardableResult
    package func send(_ frame: WireAgentFrame) -> Bool {
        guard let bytes: [UInt8] = encode(frame), shared.frames.push(bytes, bytes: bytes.count)
        else { return false }
        shared.wakeup.wake()
        return true
    }

    package func push(_ batch: WireMetricBatch) {
        shared.metrics.push(batch)
        shared.wakeup.wake()
    }

    package func close() async {
        await withCheckedContinuation { continuation in
            let gone = shared.wishes.withLock { wishes in
                wishes.closed = true
                if !wishes.gone { wishes.closing.append(continuation) }
                return wishes.gone
            }
            if gone { continuation.resume() }
            shared.wakeup.wake()
        }
    }
}

/// Batches on their way to the controller: the oldest give way, and their samples are counted.
final class MetricOutbox: Sendable {
    private struct State {
        var batches: [WireMetricBatch] = []
        var dropped: UInt64 = 0
    }

    /// Batches that wait.
    static let batchesMax = 64

    private let state = Mutex(State())

    func push(_ batch: WireMetricBatch) {
        state.withLock { state in
            state.batches.append(batch)
            guard state.batches.count > Self.batchesMax else { return }
            let oldest = state.batches.removeFirst()
            state.dropped += UInt64(oldest.samples.count) + oldest.dropped
        }
    }

    /// Takes the oldest batch and the count of what was dropped before it.
    func poll() -> WireMetricBatch? {
        state.withLock { state in
            guard !state.batches.isEmpty else { return nil }
            var batch = state.batches.removeFirst()
            batch.dropped += state.dropped
            state.dropped = 0
            return batch
        }
    }

    /// Puts back a batch that could not be sent.
    func putBack(_ batch: WireMetricBatch) {
        state.withLock { state in
            if state.batches.count < Self.batchesMax {
                state.batches.insert(batch, at: 0)
            } else {
                state.dropped += UInt64(batch.samples.count) + batch.dropped
            }
        }
    }
}

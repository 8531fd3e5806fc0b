import Basics
package import Protocol
import Synchronization

/// Nodes that are to be looked at: now, or when their time has come.
///
/// One entry per node.
///
/// A node that is woken while it is worked on is looked at again afterwards, so that no change is missed and
/// no node is worked on twice at a time.
package final class NodeQueue: Sendable {
    private struct State {
        var ready: [NodeID] = []
        var isReady: Set<NodeID> = []
        var running: Set<NodeID> = []
        var wokenWhileRunning: Set<NodeID> = []
        var due: [NodeID: Duration] = [:]
        var rooms: Set<WorkKind> = []
    }

    private let state = Mutex(State())
    private let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation

    package init() {
        (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Asks for a node to be looked at soon.
    ///
    /// Never blocks.
    package func wake(_ id: NodeID) {
        state.withLock { state in
            state.due[id] = nil
            if state.running.contains(id) {
                state.wokenWhileRunning.insert(id)
            } else if state.isReady.insert(id).inserted {
                state.ready.append(id)
            }
        }
        signal.yield()
    }

    /// Asks for a node to be looked at when `TimeSource.elapsed` passes `due`, if nothing wakes it before.
    func wake(_ id: NodeID, at due: Duration) {
        state.withLock { state in
            guard !state.isReady.contains(id) else { return }
            state.due[id] = min(state.due[id] ?? due, due)
        }
        signal.yield()
    }

    /// Says that bounded work of this kind ended, so that another node may have its turn.
    func makeRoom(_ kind: WorkKind) {
        state.withLock { _ = $0.rooms.insert(kind) }
        signal.yield()
    }

    /// Kinds of work that ended since the last call.
    func takeRooms() -> [WorkKind] {
        state.withLock { state in
            defer { state.rooms = [] }
            return WorkKind.allCases.filter(state.rooms.contains)
        }
    }

    /// How many nodes wait to be looked at.
    package var depth: Int { state.withLock { $0.ready.count } }

    /// Takes the next node to work on.
    ///
    /// `runningMax` nodes may be worked on at one time.
    func take(runningMax: Int) -> NodeID? {
        state.withLock { state in
            guard state.running.count < runningMax, !state.ready.isEmpty else { return nil }
            let id = state.ready.removeFirst()
            state.isReady.remove(id)
            state.running.insert(id)
            return id
        }
    }

    /// Ends the work on a node.
    func finish(_ id: NodeID) {
        let woken = state.withLock { state in
            state.running.remove(id)
            return state.wokenWhileRunning.remove(id) != nil
        }
        if woken { wake(id) } else { signal.yield() }
    }

    /// Makes those ready whose time has come.
    /// - Returns: when the next one's comes; `nil` without any.
    func releaseDue(at now: Duration) -> Duration? {
        let (due, next) = state.withLock { state in
            let due = state.due.filter { $0.value <= now }.keys.sorted()
            return (due, state.due.values.filter { $0 > now }.min())
        }
        for id in due { wake(id) }
        return next
    }

    /// Forgets a node that no longer exists.
    func forget(_ id: NodeID) { state.withLock { $0.due[id] = nil } }

    /// Yields whenever something may be ready.
    ///
    /// One consumer.
    var changes: AsyncStream<Void> { signals }
}

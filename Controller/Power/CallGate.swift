import Basics
import Synchronization

/// Bounds calls: one at a time per BMC, so many in all, and few to BMCs that did not answer last time, so
/// that dead ones never take all places.
///
/// Some places are for those that answered: hundreds of new BMCs that are
/// dead do not make a live one wait.
final class CallGate: Sendable {
    private struct Waiter {
        let number: Int
        let key: String
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var busy: Set<String> = []
        var waiting: [Waiter] = []
        var silent: Set<String> = []
        var proven: Set<String> = []
        var next = 0
        var cancelled: Set<Int> = []

        func admits(_ key: String, max: Int) -> Bool {
            guard busy.count < max, !busy.contains(key) else { return false }
            if proven.contains(key) { return true }
            guard busy.subtracting(proven).count < CallGate.unprovenMax(of: max) else {
                return false
            }
            guard silent.contains(key) else { return true }
            return busy.intersection(silent).count < CallGate.silentMax(of: max)
        }
    }

    private let max: Int
    private let state = Mutex(State())

    init(max: Int) { self.max = max }

    /// Places that silent BMCs may take: a quarter, one at least.
    static func silentMax(of max: Int) -> Int { Swift.max(1, max / 4) }

    /// Places that BMCs may take which did not answer last time, or were never asked: all but an eighth.
    static func unprovenMax(of max: Int) -> Int { max - max / 8 }

    /// Whether it answered last time.
    func isProven(_ key: String) -> Bool { state.withLock { $0.proven.contains(key) } }

    /// Waits for a place, in the order of asking.
    /// - Throws: `CancellationError`.
    func enter(_ key: String) async throws {
        let number = state.withLock { state in
            state.next += 1
            return state.next
        }
        let entered = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let immediate: Bool? = state.withLock { state in
                    if state.cancelled.remove(number) != nil { return false }
                    guard state.admits(key, max: max) else {
                        state.waiting.append(
                            Waiter(number: number, key: key, continuation: continuation)
                        )
                        return nil
                    }
                    state.busy.insert(key)
                    return true
                }
                if let immediate { continuation.resume(returning: immediate) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> Waiter? in
                guard let index = state.waiting.firstIndex(where: { $0.number == number }) else {
                    state.cancelled.insert(number)
                    return nil
                }
                return state.waiting.remove(at: index)
            }
            waiter?.continuation.resume(returning: false)
        }
        let forgotten = state.withLock { $0.cancelled.remove(number) }
        guard entered else { throw CancellationError() }
        if forgotten != nil {
            leave(key, answered: true)
            throw CancellationError()
        }
    }

    /// Ends a call that `enter` let in; whether the BMC answered decides its places next time.
    func leave(_ key: String, answered: Bool) {
        let admitted = state.withLock { state -> [Waiter] in
            state.busy.remove(key)
            if answered {
                state.silent.remove(key)
                state.proven.insert(key)
            } else {
                state.silent.insert(key)
                state.proven.remove(key)
            }
            var admitted: [Waiter] = []
            var index = 0
            while index < state.waiting.count, state.busy.count < max {
                let waiter = state.waiting[index]
                if state.admits(waiter.key, max: max) {
                    state.waiting.remove(at: index)
                    state.busy.insert(waiter.key)
                    admitted.append(waiter)
                } else {
                    index += 1
                }
            }
            return admitted
        }
        for waiter in admitted { waiter.continuation.resume(returning: true) }
    }
}

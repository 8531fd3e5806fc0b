import Basics
import Synchronization

/// Bounds calls: one at a time per BMC, and so many in all.
final class CallGate: Sendable {
    private struct Waiter {
        let number: Int
        let key: String
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var busy: Set<String> = []
        var waiting: [Waiter] = []
        var next = 0
        var cancelled: Set<Int> = []
    }

    private let max: Int
    private let state = Mutex(State())

    init(max: Int) { self.max = max }

    /// Waits until the BMC is free and fewer than `max` calls run, in the order of asking.
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
                    guard state.busy.count < max, !state.busy.contains(key) else {
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
            leave(key)
            throw CancellationError()
        }
    }

    /// Ends a call that `enter` let in.
    func leave(_ key: String) {
        let admitted = state.withLock { state -> [Waiter] in
            state.busy.remove(key)
            var admitted: [Waiter] = []
            var index = 0
            while index < state.waiting.count, state.busy.count < max {
                let waiter = state.waiting[index]
                if state.busy.contains(waiter.key) {
                    index += 1
                } else {
                    state.waiting.remove(at: index)
                    state.busy.insert(waiter.key)
                    admitted.append(waiter)
                }
            }
            return admitted
        }
        for waiter in admitted { waiter.continuation.resume(returning: true) }
    }
}

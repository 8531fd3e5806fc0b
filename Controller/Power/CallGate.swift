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

    /// What is known of a BMC.
    private enum Standing {
        case proven, fresh, silent
    }

    private struct State {
        var busy: [String: Standing] = [:]
        var counts: [Standing: Int] = [:]
        var waiting: [Waiter] = []
        var silent: Set<String> = []
        var proven: Set<String> = []
        var next = 0
        var cancelled: Set<Int> = []

        private func standing(_ key: String) -> Standing {
            if proven.contains(key) { return .proven }
            return silent.contains(key) ? .silent : .fresh
        }

        func count(_ standing: Standing...) -> Int {
            standing.reduce(0) { $0 + (counts[$1] ?? 0) }
        }

        /// Lets a call in if there is a place for it.
        mutating func admit(_ key: String, max: Int, apart: Int?) -> Bool {
            guard busy[key] == nil else { return false }
            let standing = standing(key)
            let unproven = count(.fresh, .silent)
            let isAdmitted =
                switch (standing, apart) {
                case (.proven, nil): busy.count < max
                case (.proven, .some): count(.proven) < max
                case (.fresh, nil): busy.count < max && unproven < CallGate.unprovenMax(of: max)
                case (.fresh, let apart?): unproven < apart
                case (.silent, nil):
                    busy.count < max && unproven < CallGate.unprovenMax(of: max)
                        && count(.silent) < CallGate.silentMax(of: max)
                case (.silent, let apart?):
                    unproven < apart && count(.silent) < Swift.max(1, apart / 2)
                }
            if isAdmitted {
                busy[key] = standing
                counts[standing, default: 0] += 1
            }
            return isAdmitted
        }

        mutating func leave(_ key: String) {
            guard let standing = busy.removeValue(forKey: key) else { return }
            counts[standing, default: 0] -= 1
        }
    }

    private let max: Int
    private let apart: Int?
    private let state = Mutex(State())

    /// `max` calls at a time.
    ///
    /// With `apart` those to BMCs that did not answer last time, or were never asked, have so many places of their own,
    /// of which silent ones take half: for calls that cost little while they wait.
    init(max: Int, apart: Int? = nil) {
        self.max = max
        self.apart = apart
    }

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
                    guard state.admit(key, max: max, apart: apart) else {
                        state.waiting.append(
                            Waiter(number: number, key: key, continuation: continuation)
                        )
                        return nil
                    }
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
            state.leave(key)
            if answered {
                state.silent.remove(key)
                state.proven.insert(key)
            } else {
                state.silent.insert(key)
                state.proven.remove(key)
            }
            var admitted: [Waiter] = []
            var index = 0
            while index < state.waiting.count {
                let waiter = state.waiting[index]
                if state.admit(waiter.key, max: max, apart: apart) {
                    state.waiting.remove(at: index)
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

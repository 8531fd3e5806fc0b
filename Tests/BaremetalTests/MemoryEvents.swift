import Basics
import HTTP
import Power
import Synchronization

/// Subscriptions of BMCs in memory, by the BMC's endpoint.
final class MemoryEvents: EventControl {
    struct State {
        var subscriptions: [String: [String: Secret]] = [:]
        var failure: PowerFault?
        var asked = 0
    }

    let state = Mutex(State())

    func subscribe(_ subscription: EventSubscription, of bmc: BMC) async throws -> Bool {
        try state.withLock { state in
            state.asked += 1
            if let failure = state.failure { throw failure }
            let old = state.subscriptions[bmc.endpoint]?[subscription.mark]
            let given = subscription.destination
            state.subscriptions[bmc.endpoint, default: [:]][subscription.mark] = given
            return old != given
        }
    }

    func unsubscribe(_ mark: String, of bmc: BMC) async throws {
        try state.withLock { state in
            state.asked += 1
            if let failure = state.failure { throw failure }
            state.subscriptions[bmc.endpoint]?[mark] = nil
        }
    }

    /// Where a BMC's events go to.
    func destinations(_ endpoint: String) -> [String] {
        state.withLock { ($0.subscriptions[endpoint] ?? [:]).values.map { $0.reveal() }.sorted() }
    }

    var asked: Int { state.withLock(\.asked) }
    func fail(_ fault: PowerFault?) { state.withLock { $0.failure = fault } }
    func forget() { state.withLock { $0.subscriptions = [:] } }
}

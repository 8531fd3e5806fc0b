import Basics
import Synchronization

/// What is remembered about BMCs between calls: sessions and where their parts are.
///
/// Losing it costs a request.
final class RedfishMemory: Sendable {
    /// A session, which belongs to one origin and one user.
    struct Session: Sendable {
        let token: Secret
        /// What it was made with; another password makes another session.
        let password: Secret
        /// Where it can be ended; `nil` when the BMC did not say.
        let path: String?
        let bmc: BMC
    }

    /// What is known of one BMC.
    struct Known: Sendable {
        var session: Session?
        var root: RedfishRoot?
        /// Whether its service has no sessions.
        var lacksSessions = false
        /// The order in which it was last used.
        var used = 0
    }

    private struct State {
        var known: [String: Known] = [:]
        var clock = 0
    }

    /// BMCs that are remembered at most.
    let bmcsMax: Int
    private let state = Mutex(State())

    init(bmcsMax: Int) { self.bmcsMax = bmcsMax }

    private static func key(_ bmc: BMC) -> String {
        "\(bmc.origin)\(bmc.redfish?.root ?? "") \(bmc.user) \(bmc.redfish?.verification == .off)"
    }

    subscript(bmc: BMC) -> Known {
        state.withLock { $0.known[Self.key(bmc)] ?? Known() }
    }

    /// Changes what is known of a BMC.
    /// - Returns: a session that nobody remembers any more and that is to be ended.
    func change(_ bmc: BMC, _ edit: (inout Known) -> Void) -> Session? {
        state.withLock { state in
            state.clock += 1
            let key = Self.key(bmc)
            var known = state.known[key] ?? Known()
            edit(&known)
            known.used = state.clock
            state.known[key] = known
            guard state.known.count > bmcsMax,
                let oldest = state.known.min(by: { $0.value.used < $1.value.used })
            else { return nil }
            state.known[oldest.key] = nil
            return oldest.value.session
        }
    }

    /// Forgets everything.
    /// - Returns: the sessions that are to be ended, in the order of their BMCs.
    func clear() -> [Session] {
        state.withLock { state in
            let sessions = state.known.sorted { $0.key < $1.key }.compactMap(\.value.session)
            state.known = [:]
            return sessions
        }
    }
}

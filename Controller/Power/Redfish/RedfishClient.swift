import Basics
import HTTP

/// How Redfish services are spoken to.
package struct RedfishSettings: Sendable {
    /// How long opening a connection may take.
    package var connectBudget: Duration = .seconds(10)
    /// How long one request may take; some BMCs need 20 s for an answer.
    package var requestBudget: Duration = .seconds(30)
    /// How long all requests of one call may take together.
    package var callBudget: Duration = .seconds(80)
    /// The pause before a reading request is repeated, and between two looks at work that takes time.
    package var pause: Duration = .seconds(1)
    /// Calls at one time over all BMCs.
    package var callsMax = 64
    /// Bytes of an answer at most; registries of settings have megabytes.
    package var answerBytesMax = 8 << 20
    /// BMCs whose sessions are remembered at most.
    package var sessionsMax = 8192

    package init() {}
}

/// Speaks to Redfish services: bounds, sessions and the translation of failures.
///
/// Knows nothing of machines.
final class RedfishClient: Sendable {
    let settings: RedfishSettings
    let transport: any RedfishTransport
    let time: any TimeSource
    let memory: RedfishMemory
    private let gate: CallGate

    init(settings: RedfishSettings, transport: any RedfishTransport, time: any TimeSource) {
        self.settings = settings
        self.transport = transport
        self.time = time
        memory = RedfishMemory(bmcsMax: settings.sessionsMax)
        gate = CallGate(max: settings.callsMax, apart: settings.callsMax * 8)
    }

    /// Does one call, which may take several requests.
    ///
    /// `purpose`: a clause for the error's text: `read the power state`.
    /// - Throws: `PowerFault`, or `CancellationError`.
    func call<Result: Sendable>(
        _ bmc: BMC,
        to purpose: String,
        _ body: @escaping @Sendable (RedfishCall) async throws -> Result
    ) async throws -> Result {
        guard bmc.redfish != nil else {
            throw RedfishTrouble.setting("the node has no redfish_address").fault(purpose, bmc)
        }
        try await gate.enter(bmc.endpoint)
        var answered = false
        defer { gate.leave(bmc.endpoint, answered: answered) }
        do {
            let result = try await run(RedfishCall(client: self, bmc: bmc), body, time)
            answered = true
            return result
        } catch let trouble as RedfishTrouble {
            answered = trouble.answered
            throw trouble.fault(purpose, bmc)
        } catch is TimeBudgetExceeded {
            throw RedfishTrouble.late(settings.callBudget).fault(purpose, bmc)
        }
    }

    private func run<Result: Sendable>(
        _ call: RedfishCall,
        _ body: @escaping @Sendable (RedfishCall) async throws -> Result,
        _ time: some TimeSource
    ) async throws -> Result {
        try await withBudget(settings.callBudget, for: "the BMC", on: time) { try await body(call) }
    }

    /// Ends all sessions, as far as their BMCs answer, and closes the connections.
    func shutDown() async {
        let sessions = memory.clear()
        await withDiscardingTaskGroup { group in
            for (index, session) in sessions.enumerated() where index < settings.callsMax {
                group.addTask(name: "end of a session") { await self.end(session) }
            }
        }
        await transport.close()
    }

    /// Ends a session; a BMC that does not answer ends it by itself after a while.
    func end(_ session: RedfishMemory.Session) async {
        guard let path = session.path else { return }
        let request = RedfishRequest(
            "DELETE",
            path,
            headers: [(name: "X-Auth-Token", value: session.token.reveal())]
        )
        // Nothing follows from its failure.
        _ = try? await transport.send(
            request,
            to: session.bmc,
            bytesMax: 64 << 10,
            within: min(settings.requestBudget, .seconds(5))
        )
    }
}

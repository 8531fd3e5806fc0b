package import AgentSystem
package import Basics
package import Protocol

/// Takes stock of the machine.
package struct Inspect: StepRunner {
    /// Switches speak every 30 s; an inspection waits at most this long after the agent's start.
    package static let switchesSpeakWithin = Duration.seconds(31)

    private let machine: Machine
    private let network: any Network
    private let lldp: LLDPMemory
    private let bootMAC: String
    private let started: Duration
    private let time: any TimeSource
    private let raid: RAIDWork?

    /// Makes the step; `bootMAC` is empty when it is not known, `started` is when the agent began to
    /// listen for switches; `raid` starts the node's arrays, `nil` where the system does that by itself.
    package init(
        machine: Machine,
        network: any Network,
        lldp: LLDPMemory,
        bootMAC: String,
        started: Duration,
        time: any TimeSource,
        raid: RAIDWork? = nil
    ) {
        self.machine = machine
        self.network = network
        self.lldp = lldp
        self.bootMAC = bootMAC
        self.started = started
        self.time = time
        self.raid = raid
    }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        report.progress(StepProgress(phase: "listen", text: "waiting for switches to speak"))
        // No switch stands behind a virtual machine's interface.
        while !machine.isVirtual(), time.elapsed - started < Self.switchesSpeakWithin,
            isSwitchSilent
        {
            try await time.sleep(for: .milliseconds(500))
        }
        if let raid { try await startRAID(raid, command.inspect.raid, report) }
        report.progress(StepProgress(phase: "inspect"))
        return .inventory(await machine.inventory(bootMAC: bootMAC, lldp: lldp.entries))
    }

    /// What cannot be started does not show; the rest of the machine does.
    private func startRAID(
        _ raid: RAIDWork,
        _ layout: WireRAIDLayout,
        _ report: some StepReporter
    ) async throws {
        guard !layout.volumes.isEmpty else { return }
        do {
            _ = try await raid.start(layout, toleratesFailures: true, report)
        } catch let failure as StepFailure {
            report.log([failure.message])
        }
    }

    /// Whether an interface that may be plugged into a switch has not heard from it yet.
    private var isSwitchSilent: Bool {
        let heard = lldp.entries
        return network.interfaces().contains { $0.hasCarrier && heard[$0.name] == nil }
    }
}

import Agents
import Basics
import Boot
import FoundationEssentials
import HTTP
import Images
import Logging
import Power
import Protocol
import Store

// What goes through the agent.
extension NodeReconciler {
    func perform(_ action: NodeAction, for node: Node) async throws -> Outcome {
        if service.drivers[node.driver]?.hasAgent == false,
            let outcome = try await pretend(action, for: node)
        {
            return outcome
        }
        switch action {
        case .verifyBMC: return try await verifyBMC(node)
        case .bringUpRamdisk(let since):
            // A key that another one contests gets nothing; the next boot settles it.
            guard let session = await agents.session(of: node.id, role: .ramdisk),
                since.map({ session.since >= $0 }) ?? true,
                try await keys.mayReceiveSecrets(node.id, role: .ramdisk)
            else { return try await bootRamdisk(node) }
            if session.currentCommand != nil, let job = node.state.ramdiskJob {
                // What it still works on is no longer wanted, and it was told so. Where nothing can
                // end it, as with a process that waits for a broken disk, the machine is booted anew.
                let end = job.since + budgets.endCommand
                let now = now(since: job.since, of: node.id)
                guard now >= end else {
                    let until = min(end, now + Self.lookAgain)
                    return .wait("the agent to end another command", until: until)
                }
                return try await bootRamdisk(node)
            }
            return try await use(session, for: node)
        case .awaitRamdisk(let poweredAt):
            guard let session = await agents.session(of: node.id, role: .ramdisk),
                session.since >= poweredAt
            else { return .settled }
            return try await use(session, for: node)
        case .run(let work, let command, let bootID):
            return try await run(work, command, bootID, for: node)
        case .chooseDisk: return try await chooseDisk(node)
        case .leaveRamdisk(let command, let bootID):
            return try await leaveRamdisk(node, command, bootID)
        case .awaitInstalled(let hasAgent, let bootID, let since):
            return try await awaitInstalled(node, hasAgent, bootID, since)
        case .tearDown: return try await tearDown(node)
        case .changePower: return try await changePower(node)
        case .ejectMedium: return try await ejectMedium(node)
        case .endPowerStep: return try await endPowerStep(node)
        case .endWait(let until):
            guard now(since: node.wait?.since, of: node.id) >= until else {
                return .wait("the step's time to pass", until: until)
            }
            return try await apply(.stepDone, to: node, cause: "the step's time has passed")
        case .takeDriverStep(let step): return try await take(step, of: node)
        case .leaveRescue: return try await leaveRescue(node)
        case .enterRescue:
            let message = "cannot rescue node \(node.label): its driver has no rescue interface"
            return try await apply(.refused(message), to: node, cause: message)
        }
    }

    /// Machines without an agent: everything that an agent would do is done.
    private func pretend(_ action: NodeAction, for node: Node) async throws -> Outcome? {
        let command = service.random.identifier(CommandID.self)
        let fact: NodeFact
        switch action {
        case .bringUpRamdisk, .awaitRamdisk: fact = .agentReady(bootID: "none", command: command)
        case .run(_, let command, _): fact = .commandDone(command, device: "/dev/none")
        case .chooseDisk: fact = .bootDeviceSet(restart: command)
        case .leaveRamdisk: fact = .restarted
        case .awaitInstalled: fact = .installed
        case .enterRescue: fact = .rescued
        case .leaveRescue: fact = .unrescued
        case .takeDriverStep: fact = .stepDone
        case .verifyBMC, .tearDown, .changePower, .endPowerStep, .endWait, .ejectMedium: return nil
        }
        return try await apply(fact, to: node, cause: "pretended")
    }

    /// Lets the driver do its step, or go on with it.
    private func take(_ step: NodeStep, of node: Node) async throws -> Outcome {
        if let error = node.lastError {
            // The machine did not restart as the step asked.
            return try await apply(.refused(error), to: node, cause: error)
        }
        return try await withBMC(node) { _, _ in
            guard let steps = service.drivers[node.driver]?.steps else {
                let message = "its driver “\(node.driver)” has no such step"
                return try await apply(.refused(message), to: node, cause: message)
            }
            let now = time.now
            switch try await steps.take(step, after: node.plan?.progress, of: node, at: now) {
            case .done: return try await end(step, of: node, [])
            case .doneWith(let lines): return try await end(step, of: node, lines)
            case .waits(let progress):
                try await service.apply(nil, to: node, cause: "\(step.id): \(progress.phase)") {
                    $0.note(progress, restart: false, at: now)
                    $0.obstacle = nil
                }
                return .wait(progress.waitsFor, until: now + Self.lookAgain)
            case .restarts(let progress):
                try await service.apply(nil, to: node, cause: "\(step.id): \(progress.phase)") {
                    $0.note(progress, restart: true, at: now)
                    $0.obstacle = nil
                }
                return .changed
            }
        }
    }

    /// A step of the driver is over; its lines go into the history.
    private func end(
        _ step: NodeStep,
        of node: Node,
        _ lines: [String]
    ) async throws -> Outcome {
        let now = time.now
        try await service.apply(.stepDone, to: node, cause: "\(step.id) is done") {
            $0.obstacle = nil
        } also: { transaction, node in
            for line in lines { try transaction.recordEvent(of: node, line, at: now) }
        }
        await service.refreshFirmware(of: node)
        return .changed
    }

    /// The power change of a step came to its end.
    private func endPowerStep(_ node: Node) async throws -> Outcome {
        guard let error = node.lastError else {
            return try await apply(.stepDone, to: node, cause: "the step is done")
        }
        return try await apply(.refused(error), to: node, cause: error)
    }

    private func use(_ session: AgentSession, for node: Node) async throws -> Outcome {
        agentIsThere(node.id)
        let command = service.random.identifier(CommandID.self)
        return try await apply(
            .agentReady(bootID: session.bootID, command: command),
            to: node,
            cause: "the ramdisk's agent is there"
        ) { $0.powerState = .on }
    }

    private func run(
        _ work: AgentWork,
        _ command: CommandID,
        _ bootID: String,
        for node: Node
    ) async throws -> Outcome {
        let now = time.now
        guard let session = await agents.session(of: node.id, role: .ramdisk) else {
            let end = agentMissing(node.id) + budgets.agentAway
            guard now >= end else { return .wait("the agent to come back", until: end) }
            agentIsThere(node.id)
            return try await apply(
                .agentMissing,
                to: node,
                cause: "the ramdisk's agent went away"
            )
        }
        agentIsThere(node.id)
        guard session.bootID == bootID else {
            // What is awaited later counts from the boot that ran the command.
            return try await apply(
                .agentReady(bootID: session.bootID, command: command),
                to: node,
                cause: "the machine booted anew; its ramdisk's agent is back"
            )
        }
        if session.currentCommand == command || wasSent(command, to: session) {
            return .settled
        }
        guard session.currentCommand == nil else {
            return .wait("the agent to end another command", until: now + Self.lookAgain)
        }
        guard try await keys.mayReceiveSecrets(node.id, role: .ramdisk) else {
            return try await distrust(session, of: node)
        }
        var wire = WireCommand()
        wire.id = command.text
        wire.node = node.id.text
        wire.attempt = node.attempt.number
        switch work {
        case .inspect:
            var inspect = WireInspect()
            inspect.raid = node.raidLayout
            wire.body = .inspect(inspect)
            wire.budgetSeconds = seconds(budgets.inspect)
        case .step(let step):
            do {
                try fill(&wire, for: step, of: node)
            } catch let fault as Fault where fault.kind == .invalid {
                return try await apply(.refused(fault.message), to: node, cause: fault.message)
            }
        case .writeImage(let order):
            do {
                wire.body = .writeImage(try await makeWriteImage(order, node, session))
            } catch let fault as Fault where fault.kind != .unavailable {
                return try await apply(.refused(fault.message), to: node, cause: fault.message)
            }
            wire.budgetSeconds = seconds(budgets.write)
        case .startRescue:
            guard let rescue = try await makeRescue(node) else {
                let message = "its rescue password is not kept any more; ask for the rescue again"
                return try await apply(.refused(message), to: node, cause: message)
            }
            wire.body = .startRescue(rescue)
            wire.budgetSeconds = seconds(budgets.rescue)
        }
        return await hand(wire, command, to: session)
    }

    /// Another key came with the same token: the machine is booted anew, or somebody must decide.
    private func distrust(_ session: AgentSession, of node: Node) async throws -> Outcome {
        if let job = node.state.ramdiskJob, job.boots < NodeLifecycle.bootsMax {
            return try await apply(
                .agentMissing,
                to: node,
                cause: "another key came with the same token: the machine is booted anew"
            )
        }
        return try await meet(
            "cannot trust the agent of node \(node.label): another key came with the same token; accept the right fingerprint or boot the machine anew",
            detail: session.address,
            node,
            true
        )
    }

    private func makeRescue(_ node: Node) async throws -> WireStartRescue? {
        guard let hash = try await service.rescueHash(of: node.id) else { return nil }
        var wire = WireStartRescue()
        wire.user = RescueAccess.user
        wire.passwordHash = hash.reveal()
        return wire
    }

    /// The command that a step comes to.
    /// - Throws: `Fault`, of kind `invalid` when the node says something about it that makes no sense.
    private func fill(_ wire: inout WireCommand, for step: NodeStep, of node: Node) throws {
        switch step.work {
        case .agent(.burnInMemory):
            let test = try BurnIn(node)
            wire.burnInMemory.seconds = test.seconds
            wire.burnInMemory.percent = test.percent
            wire.budgetSeconds = seconds(budgets.burnIn)
        case .agent(.eraseMetadata):
            var erase = WireEraseMetadata()
            erase.raid = node.raidLayout
            wire.body = .eraseMetadata(erase)
            wire.budgetSeconds = seconds(budgets.erase)
        case .agent(.eraseDisks), .agent(.eraseExpress):
            var erase = WireEraseDisks()
            erase.express = step.work == .agent(.eraseExpress)
            erase.raid = node.raidLayout
            wire.body = .eraseDisks(erase)
            wire.budgetSeconds = seconds(budgets.eraseDisks)
        case .agent(.buildRAID):
            wire.body = .buildRaid(try RAIDSteps.command(step, of: node))
            wire.budgetSeconds = seconds(budgets.raid)
        case .agent(.deleteRAID):
            wire.body = .deleteRaid(WireDeleteRAID())
            wire.budgetSeconds = seconds(budgets.raid)
        case .agent(.writeImage), .power, .hold, .wait, .driver, .chooseDisk, .bootInstance:
            throw Fault(
                .internalError,
                "cannot hand step \(step.id) to an agent: it is not an agent's"
            )
        }
    }

    private func hand(
        _ wire: WireCommand,
        _ command: CommandID,
        to session: AgentSession
    ) async -> Outcome {
        guard await agents.send(wire, to: session.node, role: .ramdisk) else {
            return .wait("the agent to come back", until: time.now + Self.lookAgain)
        }
        remember(sent: command, to: session)
        logger.info(
            "command sent",
            metadata: [
                LogKey.nodeID: "\(session.node)", LogKey.commandID: "\(command)",
                LogKey.agentSession: "\(session.session)", LogKey.attempt: "\(wire.attempt)",
            ]
        )
        return .settled
    }

    private func seconds(_ span: Duration) -> UInt32 { UInt32(clamping: span.components.seconds) }

    private func makeWriteImage(
        _ order: DeployOrder,
        _ node: Node,
        _ session: AgentSession
    ) async throws -> WireWriteImage {
        let manifest = try await service.images.manifest(of: order.image)
        var wire = WireWriteImage()
        wire.image = order.image.text
        wire.manifestDigest = Data(manifest.digest)
        wire.baseURL = "\(service.settings.imageURL)/v1/images/\(order.image)"
        wire.capability = await service.images.makeCapability(
            image: order.image,
            node: node.id,
            attempt: node.attempt,
            keyFingerprint: session.session,
            validFor: budgets.write + .seconds(600)
        )
        wire.hints = node.rootDeviceHints
        wire.raid = node.raidLayout
        wire.bootMode = node.bootMode.rawValue
        if let partitions = order.partitions { wire.partitions = partitions.wire }
        var agent: BootDocument?
        if order.hasAgent {
            let token = try await keys.issueToken(
                for: node.id,
                mac: nil,
                role: .overcloud,
                attempt: node.attempt,
                validFor: budgets.write + budgets.restart + budgets.installed
            )
            agent = BootDocument(
                controller: service.settings.controller,
                token: Secret(bytes: token)
            )
        }
        let drive = try await service.configDrive(of: node.id)
        wire.configDrive = try drive.files(for: node, agent: agent).mapValues { Data($0) }
        return wire
    }

    private func leaveRamdisk(
        _ node: Node,
        _ command: CommandID,
        _ bootID: String
    ) async throws -> Outcome {
        let now = now(since: node.wait?.since, of: node.id)
        guard case .deploying(let job) = node.state, case .restart(_, let since) = job.stage
        else { return .settled }
        let session = await agents.session(of: node.id, role: .ramdisk)
        let isGone = session == nil ? wasSent(command, of: node.id) : session?.bootID != bootID
        if isGone || wasCycled(command, of: node.id) {
            return try await apply(.restarted, to: node, cause: "the machine left the ramdisk")
        }
        guard now < since + budgets.obey, !node.bootsFromMedia else {
            return try await cyclePower(node, command)
        }
        if let session, !wasSent(command, to: session) {
            var wire = WireCommand()
            wire.id = command.text
            wire.node = node.id.text
            wire.attempt = node.attempt.number
            wire.budgetSeconds = seconds(budgets.obey)
            wire.body = .restart(WireRestart())
            _ = await hand(wire, command, to: session)
        }
        return .wait("the agent to obey", until: min(now + Self.lookAgain, since + budgets.obey))
    }

    /// Power off and on: the agent does not obey, or a restart by itself could end on the CD again, since some
    /// BMCs take what is in the drive and the order of devices from one power-on to the next.
    private func cyclePower(_ node: Node, _ command: CommandID) async throws -> Outcome {
        try await withBMC(node) { bmc, power in
            try await bring(node, to: .off, bmc, power)
            try await bring(node, to: .on, bmc, power)
            remember(cycled: command, of: node.id)
            return try await apply(
                .restarted,
                to: node,
                cause: "power-cycled"
            )
        }
    }

    private func awaitInstalled(
        _ node: Node,
        _ hasAgent: Bool,
        _ bootID: String,
        _ since: Timestamp
    ) async throws -> Outcome {
        guard hasAgent else {
            return try await apply(.installed, to: node, cause: "restarted from its disk")
        }
        if let session = await agents.session(of: node.id, role: .overcloud),
            session.bootID != bootID
        {
            return try await apply(
                .installed,
                to: node,
                cause: "the installed system's agent said hello"
            ) { $0.powerState = .on }
        }
        return .settled
    }
}

extension NodesService {
    /// What the operator wants on the config drive.
    func configDrive(of id: NodeID) async throws -> ConfigDrive {
        try await database.read { [sealer] transaction in
            try transaction.configDrive(of: id, sealer: sealer)
        } ?? ConfigDrive()
    }
}

extension Node {
    /// Which disk the image goes to; the instance's wish before the node's.
    var rootDeviceHints: WireRootDeviceHints {
        let wish = instanceInfo["root_device"] ?? properties["root_device"]
        return WireRootDeviceHints(wish?.members ?? [:])
    }
}

extension WireRootDeviceHints {
    /// Reads Ironic's hints; what is no hint is left out.
    init(_ members: [String: JSONValue]) {
        func text(_ name: String) -> String { members[name]?.plainText ?? "" }
        self.init()
        name = text("name")
        model = text("model")
        vendor = text("vendor")
        serial = text("serial")
        size = text("size")
        wwn = text("wwn")
        wwnWithExtension = text("wwn_with_extension")
        wwnVendorExtension = text("wwn_vendor_extension")
        hctl = text("hctl")
        byPath = text("by_path")
        rotational = text("rotational")
    }
}

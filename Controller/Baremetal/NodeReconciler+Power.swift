import Basics
import Logging
import Power
import Protocol
import Synchronization

/// Says that a node changed while it was worked on, so that the work must be thought over.
struct WorkOvertaken: Error {}

// What goes through the BMC.
extension NodeReconciler {
    /// How long a machine may take to follow an order that its BMC took.
    static let followBudget: Duration = .seconds(40)
    static let powerLook: Duration = .seconds(1)

    /// Calls the BMC.
    ///
    /// A fault that may pass becomes the node's obstacle; any other ends the work.
    func withBMC(
        _ node: Node,
        _ body: (BMC, any PowerControl) async throws -> Outcome
    ) async throws -> Outcome {
        do {
            guard let driver = service.drivers[node.driver] else {
                throw Fault(
                    .invalid,
                    "cannot work on node \(node.label): its driver “\(node.driver)” is not enabled"
                )
            }
            return try await body(try driver.bmc(of: node), driver.power)
        } catch is WorkOvertaken {
            return .changed
        } catch let fault as PowerFault {
            return try await meet(fault.message, detail: fault.detail, node, fault.isTransient)
        } catch let fault as Fault where fault.kind == .invalid {
            return try await meet(fault.message, detail: fault.detail, node, false)
        }
    }

    /// Something stands in the way of the node's work.
    func meet(
        _ message: String,
        detail: String,
        _ node: Node,
        _ mayPass: Bool
    ) async throws -> Outcome {
        logger.warning(
            "node's work is held up",
            metadata: [
                LogKey.nodeID: "\(node.id)", LogKey.reason: "\(message)", LogKey.error: "\(detail)",
            ]
        )
        let now = time.now
        if !mayPass {
            if node.wait != nil {
                return try await apply(.refused(message), to: node, cause: message)
            }
            if node.powerWish != nil {
                try await service.apply(nil, to: node, cause: message) { node in
                    node.endPowerWish(error: message)
                }
                return .changed
            }
        }
        try await service.apply(nil, to: node, cause: message) { $0.meet(message, at: now) }
        let tries = (node.obstacle?.tries ?? 0) + 1
        return .wait(message, until: now + .seconds(min(60, 2 << min(tries, 5))))
    }

    func verifyBMC(_ node: Node) async throws -> Outcome {
        try await withBMC(node) { _, _ in
            guard let driver = service.drivers[node.driver] else { return .settled }
            let state = try await CredentialRotation(service: service, driver: driver).logIn(node)
            let outcome = try await apply(.bmcVerified, to: node, cause: "the BMC answers") {
                $0.powerState = state
            }
            // The password may be another one now.
            if let present = try await service.find(node.id) {
                await service.refreshFirmware(of: present)
            }
            return outcome
        }
    }

    /// Looks once more, right before the machine is switched: work takes its time, and meanwhile somebody
    /// may have put his hands into the machine.
    /// - Throws: `WorkOvertaken` when the node is not as it was seen, or switching is forbidden now.
    private func requireStill(_ seen: Node, isAsked: Bool = false) async throws {
        guard let node = try await service.find(seen.id), node.attempt == seen.attempt,
            node.state == seen.state, node.powerWish == seen.powerWish, node.lockout == nil,
            isAsked || node.maintenance == nil
        else { throw WorkOvertaken() }
    }

    /// Switches a machine and looks until it followed.
    /// - Throws: `PowerFault` when the BMC took the order and the machine did not follow.
    func bring(_ node: Node, to goal: PowerState, _ bmc: BMC, _ power: any PowerControl)
        async throws
    {
        if try await power.power(of: bmc) == goal { return }
        try await requireStill(node)
        try await power.change(goal == .on ? .on : .off, of: bmc)
        let begin = time.elapsed
        while try await power.power(of: bmc) != goal {
            guard time.elapsed - begin < Self.followBudget else {
                throw PowerFault(
                    .refused,
                    "cannot switch node \(node.label) to “\(goal.rawValue)”: BMC \(bmc.endpoint) took the order, but nothing happened; look at the machine"
                )
            }
            try await time.sleep(for: Self.powerLook)
        }
        try await service.apply(nil, to: node, cause: "switched") { $0.powerState = goal }
    }

    /// Off, the network or the CD as boot device for once, on.
    func bootRamdisk(_ node: Node) async throws -> Outcome {
        // Keys of an older boot are worth nothing any more; those of an installed system only where it
        // is about to be overwritten.
        let keepsSystem = [.inspecting, .rescuing, .servicing].contains(node.state.name)
        try await keys.revokeKeys(of: node.id, role: keepsSystem ? .ramdisk : nil)
        return try await withBMC(node) { bmc, power in
            try await bring(node, to: .off, bmc, power)
            let poweredAt = time.now
            let device = try await provideRamdisk(node, bmc)
            try await power.setBootDevice(device, persistent: false, mode: node.bootMode, of: bmc)
            try await bring(node, to: .on, bmc, power)
            return try await apply(
                .bootStarted(poweredAt: poweredAt),
                to: node,
                cause: "switched on into the ramdisk"
            ) { $0.powerState = .on }
        }
    }

    func chooseDisk(_ node: Node) async throws -> Outcome {
        let restart = service.random.identifier(CommandID.self)
        return try await withBMC(node) { bmc, power in
            try await power.setBootDevice(.disk, persistent: true, mode: node.bootMode, of: bmc)
            return try await apply(
                .bootDeviceSet(restart: restart),
                to: node,
                cause: "the disk is the boot device"
            )
        }
    }

    /// Off, the disk for good, on: the installed system runs again.
    func leaveRescue(_ node: Node) async throws -> Outcome {
        try await keys.revokeKeys(of: node.id, role: .ramdisk)
        return try await withBMC(node) { bmc, power in
            try await bring(node, to: .off, bmc, power)
            try await power.setBootDevice(.disk, persistent: true, mode: node.bootMode, of: bmc)
            try await bring(node, to: .on, bmc, power)
            return try await apply(
                .unrescued,
                to: node,
                cause: "switched on from its disk"
            ) { $0.powerState = .on }
        }
    }

    func tearDown(_ node: Node) async throws -> Outcome {
        try await keys.revokeKeys(of: node.id, role: nil)
        let plan = service.cleaningPlan(of: node)
        return try await withBMC(node) { bmc, power in
            try await bring(node, to: .off, bmc, power)
            return try await apply(.tornDown(plan), to: node, cause: "torn down") {
                $0.powerState = .off
            }
        }
    }

    /// Does the next step of what an operator asked of the power.
    func changePower(_ node: Node) async throws -> Outcome {
        try await withBMC(node) { bmc, power in
            let observed = try await power.power(of: bmc)
            let now = time.now
            let wishNow = self.now(since: node.powerWish?.since, of: node.id)
            switch node.powerStep(observed, at: wishNow) {
            case .ask(let change):
                try await requireStill(node, isAsked: true)
                try await power.change(change, of: bmc)
                try await service.apply(nil, to: node, cause: "power \(change.rawValue) asked") {
                    $0.powerAsked(change)
                    $0.powerState = observed
                    $0.obstacle = nil
                }
                return .wait("the machine to follow", until: now + Self.powerLook)
            case .look: return .wait("the machine to follow", until: now + Self.powerLook)
            case .done:
                try await service.apply(nil, to: node, cause: "the power is as asked") {
                    $0.endPowerWish(error: nil)
                    $0.powerState = observed
                    $0.obstacle = nil
                }
                return .changed
            case .failed(let message):
                try await service.apply(nil, to: node, cause: message) {
                    $0.endPowerWish(error: message)
                    $0.powerState = observed
                    $0.obstacle = nil
                }
                return .changed
            }
        }
    }

    /// The least time between two looks at a machine whose BMC says that something happened.
    private static let hintPause: Duration = .seconds(2)

    /// Reads an idle node's power state now and then, and when its BMC says that something happened.
    func readPower(of node: Node) async throws -> Outcome {
        let isHinted = service.hints.withLock { $0.isHinted(node.id) }
        let poll = service.settings.powerPoll
        let period = isHinted ? Self.hintPause : poll
        guard period > .zero, node.state != .enroll, let driver = service.drivers[node.driver],
            driver.needsBMC
        else { return .settled }
        let now = time.now
        if let last = lastPowerRead(of: node.id), last <= now, now - last < period {
            return .wait("the next look at the power", until: last + period)
        }
        rememberPowerRead(of: node.id)
        service.hints.withLock { $0.take(node.id) }
        do {
            let state = try await driver.power.power(of: try driver.bmc(of: node))
            try await service.apply(nil, to: node, cause: "the power changed") { node in
                node.powerState = state
                node.obstacle = nil
            }
        } catch let fault as PowerFault {
            let now = time.now
            try await service.apply(nil, to: node, cause: fault.message) {
                $0.meet(fault.message, at: now)
            }
        } catch let fault as Fault where fault.kind == .invalid {
            // The driver information was changed to something unusable; the next wish will say so.
            logger.debug("power not read", metadata: [LogKey.reason: "\(fault.message)"])
        }
        guard poll > .zero else { return .settled }
        return .wait("the next look at the power", until: now + poll)
    }
}

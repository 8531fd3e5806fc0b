import Basics
package import Power
package import Protocol

/// The next thing to do about a power wish.
package enum PowerStep: Sendable, Equatable {
    case ask(PowerChange)
    /// Look again soon.
    case look
    case done
    case failed(String)
}

extension Node {
    /// Stores what an operator wants of the power.
    /// - Throws: `Fault` when the node's work or a lockout forbids it.
    package mutating func requestPower(
        _ target: PowerWish.Target,
        within budget: Duration,
        at now: Timestamp
    ) throws {
        if let lockout {
            throw Fault(
                .conflict,
                "cannot switch the power of node \(label): \(lockout.user) locked it: \(lockout.reason)"
            )
        }
        if isPowerOffDisabled, target == .off || target == .softOff {
            throw Fault(
                .conflict,
                "cannot switch off node \(label): disable_power_off is set; its parts share its power supply"
            )
        }
        if let (wait, _) = wait {
            throw Fault(
                .conflict,
                "cannot switch the power of node \(label): it is \(state.ironicName) and waits for \(wait.subject); wait or abort that first"
            )
        }
        powerWish = PowerWish(target: target, phase: .ask, since: now, deadline: now + budget)
        lastError = nil
    }

    /// What is to be done about the power wish, now that the machine is `observed`.
    ///
    /// A BMC that takes an order and does nothing is asked again; in the end the wish fails.
    package func powerStep(_ observed: PowerState, at now: Timestamp) -> PowerStep {
        guard let powerWish else { return .done }
        if now >= powerWish.deadline {
            return .failed(
                "cannot reach “\(powerWish.target.rawValue)” for node \(label): its BMC took the order, but the machine is still “\(observed.rawValue)” after the time budget; look at the machine"
            )
        }
        switch (powerWish.phase, powerWish.target) {
        case (.ask, .on): return observed == .on ? .done : .ask(.on)
        case (.ask, .off): return observed == .off ? .done : .ask(.off)
        case (.ask, .softOff): return observed == .off ? .done : .ask(.softOff)
        case (.ask, .reboot): return .ask(observed == .off ? .on : .off)
        case (.ask, .softReboot): return .ask(observed == .off ? .on : .softOff)
        case (.goingOff, .reboot), (.goingOff, .softReboot):
            return observed == .off ? .ask(.on) : .look
        case (.goingOff, .on), (.goingOff, .off), (.goingOff, .softOff):
            return observed == .off ? .done : .look
        case (.goingOn, _): return observed == .on ? .done : .look
        }
    }

    /// The BMC took an order.
    mutating func powerAsked(_ change: PowerChange) {
        switch change {
        case .on, .cycle: powerWish?.phase = .goingOn
        case .off, .softOff: powerWish?.phase = .goingOff
        }
    }

    /// The wish came true, or failed for a reason.
    mutating func endPowerWish(error: String?) {
        powerWish = nil
        if let error { lastError = error }
    }

    /// The node is taken out of, or given back into, the controller's hands.
    mutating func setMaintenance(_ maintenance: Maintenance?) { self.maintenance = maintenance }

    /// Power actions are forbidden or allowed again.
    mutating func setLockout(_ lockout: Lockout?) { self.lockout = lockout }

    /// Something holds up the present work.
    mutating func meet(_ message: String, at now: Timestamp) {
        let tries = (obstacle?.tries ?? 0) + 1
        let pause = Duration.seconds(min(60, 2 << min(tries, 5)))
        obstacle = Obstacle(message: message, tries: tries, at: now, nextTry: now + pause)
    }
}

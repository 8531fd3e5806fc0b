import Basics
import HTTP
import Logging
import Power
import Protocol
import Store
import Synchronization

/// Gives a BMC's user a password that only this controller knows, while its node is being verified and nobody else
/// speaks to the BMC.
///
/// ```
/// (none) ── stored ──> told ── BMC told, the new one logs in ──> holds, in every node of this BMC and user
///                       └── the old one still logs in ──> refused
/// ```
/// What is stored goes before what the BMC is told: whenever the controller stops, either the password in the node or
/// the one in the row logs in, and the next verification finds out which.
struct CredentialRotation: Sendable {
    let service: NodesService
    let driver: NodeDriver

    /// What IPMI and Redfish take alike: 16 letters, digits and “-”, “_”, with one of each kind, for the rules of BMCs.
    static func makePassword(_ random: any RandomSource) -> Secret {
        let kinds = ["abcdefghijkmnopqrstuvwxyz", "ABCDEFGHJKLMNPQRSTUVWXYZ", "23456789", "-_"]
            .map(Array.init)
        let all = kinds.flatMap(\.self)
        func pick(_ letters: [Character]) -> Character {
            letters[Int(random.number(below: UInt64(letters.count)))]
        }
        var text = kinds.map(pick) + (0..<12).map { _ in pick(all) }
        // A symbol at the end or the beginning is no option of a tool's.
        for index in text.indices.dropFirst().reversed() {
            text.swapAt(index, Int(random.number(below: UInt64(index + 1))))
        }
        if text[0] == "-" || text[0] == "_", let letter = text.firstIndex(where: \.isLetter) {
            text.swapAt(0, letter)
        }
        return Secret(String(text))
    }

    /// Logs in to a node's BMC, and changes its password where that is wanted and was not done.
    /// - Returns: the power state.
    /// - Throws: `PowerFault` when nothing that is known logs in; `WorkOvertaken` when the node changed meanwhile.
    func logIn(_ seen: Node) async throws -> PowerState {
        let bmc = try driver.bmc(of: seen)
        guard let control = driver.credentials, !bmc.user.isEmpty else {
            return try await driver.power.power(of: bmc)
        }
        let account = bmc.account
        guard service.rotating.withLock({ $0.insert(account).inserted }) else {
            throw PowerFault(
                .noAnswer,
                "cannot verify node \(seen.label): another node of the same BMC is being verified"
            )
        }
        defer { service.rotating.withLock { _ = $0.remove(account) } }
        // The other one may have changed the password of this one, too.
        guard let node = try await service.find(seen.id), node.driverInfo == seen.driverInfo else {
            throw WorkOvertaken()
        }
        let made = try await service.database.read { [sealer = service.sealer] in
            try $0.madePassword(of: account, sealer: sealer)
        }
        // Only who knows what was there before, or what is there now, gets to the BMC by what the controller made.
        let mayUse = if let made { try await owns(node, made, bmc) } else { false }
        if let made, mayUse, made.phase != .refused, let state = try await tries(made.after, bmc) {
            try await promote(made, bmc)
            return state
        }
        let state: PowerState
        do {
            state = try await driver.power.power(of: bmc)
        } catch let fault as PowerFault where fault.reason == .credentials {
            // It said no, and took the new one later.
            guard let made, mayUse, made.phase == .refused,
                let state = try await tries(made.after, bmc)
            else { throw fault }
            try await promote(made, bmc)
            return state
        }
        guard service.settings.rotatesCredentials else { return state }
        switch made?.phase {
        case .holds where made?.after == bmc.password: return state
        case .refused where made?.before == bmc.password: return state
        case .told where made?.before == bmc.password:
            return try await change(made, control, bmc, of: node, state)
        case .holds, .refused, .told, nil:
            return try await change(nil, control, bmc, of: node, state)
        }
    }

    /// Whether a node may have what the controller made for its account.
    ///
    /// It has the password that was there before, and no node of another owner has the new one: many machines have
    /// the same first password.
    private func owns(
        _ node: Node,
        _ made: MadePassword,
        _ bmc: BMC
    ) async throws -> Bool {
        guard bmc.password == made.before else { return false }
        let (drivers, sealer) = (service.drivers, service.sealer)
        return try await service.database.read { transaction in
            try transaction.nodes(of: bmc, drivers, sealer: sealer).allSatisfy {
                $0.id == node.id || $0.owner == node.owner
                    || $0.driverInfo.secrets[bmc.passwordKey] != made.after
            }
        }
    }

    /// Another node of the same BMC and user that is worked on.
    private func busyTwin(of node: Node, _ bmc: BMC) async throws -> Node? {
        let (drivers, sealer) = (service.drivers, service.sealer)
        return try await service.database.read { transaction in
            try transaction.nodes(of: bmc, drivers, sealer: sealer).first {
                $0.id != node.id && $0.wait != nil && $0.state.name != .verifying
            }
        }
    }

    /// Whether a password logs in; `nil` when the BMC refuses it.
    private func tries(_ password: Secret, _ bmc: BMC) async throws -> PowerState? {
        do {
            return try await driver.power.power(of: bmc.with(password: password))
        } catch let fault as PowerFault where fault.reason == .credentials {
            return nil
        }
    }

    /// The same, for a BMC that takes a new password over a moment later.
    private func triesAgain(_ password: Secret, _ bmc: BMC) async throws -> PowerState? {
        for _ in 0..<Self.looks {
            if let state = try await tries(password, bmc) { return state }
            try await service.time.sleep(for: .seconds(2))
        }
        return try await tries(password, bmc)
    }

    private static let looks = 3

    private func change(
        _ known: MadePassword?,
        _ control: any CredentialControl,
        _ bmc: BMC,
        of node: Node,
        _ state: PowerState
    ) async throws -> PowerState {
        if let busy = try await busyTwin(of: node, bmc) {
            try await service.tell(
                "the password of its BMC stays as it is: node \(busy.label) of the same BMC is \(busy.state.ironicName); verify this node again when that is over",
                of: node.id
            )
            return state
        }
        let after = known?.after ?? Self.makePassword(service.random)
        let made = MadePassword(before: bmc.password, after: after, phase: .told)
        try await save(made, bmc)
        var words = "its BMC said that it took another password, and did not"
        do {
            try await control.setPassword(after, of: bmc)
        } catch let fault as PowerFault where fault.reason != .noAnswer {
            words = fault.message
        }
        if let changed = try await triesAgain(after, bmc) {
            try await promote(made, bmc)
            let now = service.time.now
            try await service.database.write { [sealer = service.sealer] transaction in
                guard let node = try transaction.node(node.id, sealer: sealer) else { return }
                try transaction.recordEvent(
                    of: node,
                    "its BMC's user has a new password, which only this controller knows",
                    at: now
                )
            }
            return changed
        }
        // Whatever the BMC said: the old one has to log in, or nothing does.
        _ = try await driver.power.power(of: bmc)
        try await save(MadePassword(before: bmc.password, after: after, phase: .refused), bmc)
        try await service.tell("the password of its BMC stays as it is: \(words)", of: node.id)
        return state
    }

    private func save(_ made: MadePassword, _ bmc: BMC) async throws {
        let now = service.time.now
        let account = bmc.account
        try await service.database.write { [sealer = service.sealer] in
            try $0.save(made, of: account, at: now, sealer: sealer)
        }
    }

    /// Gives the new password to every node that has this BMC, this user and the old one.
    private func promote(_ made: MadePassword, _ bmc: BMC) async throws {
        let now = service.time.now
        let (drivers, sealer) = (service.drivers, service.sealer)
        try await service.database.write { transaction in
            for node in try transaction.nodes(of: bmc, drivers, sealer: sealer)
            where node.driverInfo.secrets[bmc.passwordKey] == made.before {
                var changed = node
                changed.driverInfo.secrets[bmc.passwordKey] = made.after
                changed.updatedAt = now
                try transaction.save(
                    changed,
                    before: node,
                    cause: "its BMC has a new password",
                    at: now,
                    sealer: sealer
                )
            }
            var made = made
            made.phase = .holds
            try transaction.save(made, of: bmc.account, at: now, sealer: sealer)
        }
    }
}

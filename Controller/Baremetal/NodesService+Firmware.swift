import Basics
import HTTP
import Logging
import Power
import Protocol
import Store

// What a node's BMC can do beyond power: the driver has it or the answer is as Ironic's for one without.
extension NodesService {
    /// Lets pass who may change a node on which no work is under way.
    func requireIdle(
        _ node: Node,
        by principal: Principal?,
        to action: String,
        _ rule: NodeAccess.Rule = .operate
    ) throws {
        let action = "\(action) of node \(node.label)"
        try NodeAccess.requireChange(of: node, by: principal, to: action, rule)
        guard let (wait, _) = node.wait else { return }
        throw Fault(
            .conflict,
            "cannot \(action): it is \(node.state.ironicName) and waits for \(wait.subject); wait or abort that first"
        )
    }

    /// Chooses how the machine boots; shown once the BMC tells so.
    func setBootMode(
        _ mode: BootMode,
        of reference: String,
        by principal: Principal
    ) async throws {
        try await changeFirmware(
            of: reference,
            by: principal,
            to: "set the boot mode",
            "set_boot_mode"
        ) {
            try await $0.setBootMode(mode, of: $1)
        }
    }

    /// Switches secure boot; shown once the BMC tells so.
    func setSecureBoot(
        _ isOn: Bool,
        of reference: String,
        by principal: Principal
    ) async throws {
        try await changeFirmware(
            of: reference,
            by: principal,
            to: "switch secure boot",
            "set_secure_boot"
        ) {
            try await $0.setSecureBoot(isOn, of: $1)
        }
    }

    /// Changes something of a machine's firmware, and looks what came of it.
    ///
    /// `call` is the driver's call that does it, as Ironic names it.
    private func changeFirmware(
        of reference: String,
        by principal: Principal,
        to action: String,
        _ call: String,
        _ change: (any FirmwareControl, BMC) async throws -> Void
    ) async throws {
        let node = try await node(reference, by: principal)
        try requireIdle(node, by: principal, to: action, .use)
        let driver = try driver(of: node)
        guard let firmware = driver.firmware, node.manages else {
            throw Fault.unsupported(call, of: node)
        }
        try await change(firmware, try driver.bmc(of: node))
        await refreshFirmware(of: node, settings: false)
    }

    /// A node's settings as they were last read.
    func biosSettings(
        of reference: String,
        by principal: Principal
    ) async throws -> (node: Node, settings: [StoredSetting]) {
        try await database.read { [sealer] transaction in
            let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            return (node, try transaction.biosSettings(of: node.id))
        }
    }

    /// A node's firmware as it was last read.
    func firmware(
        of reference: String,
        by principal: Principal
    ) async throws -> [StoredComponent] {
        try await database.read { [sealer] transaction in
            let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            return try transaction.firmware(of: node.id)
        }
    }

    /// Reads what the BMC tells about the machine's firmware and keeps it.
    ///
    /// Work never waits for it to succeed: what cannot be read stays as it was, and the log says why.
    func refreshFirmware(of node: Node, settings reads: Bool = true) async {
        guard let driver = drivers[node.driver], node.manages else { return }
        do {
            let bmc = try driver.bmc(of: node)
            if let firmware = driver.firmware {
                let policy = try await firmware.bootPolicy(of: bmc)
                if let present = try await find(node.id) {
                    _ = try await apply(nil, to: present, cause: "the boot mode was read") {
                        $0.observedBootMode = policy.mode
                        $0.secureBoot = policy.isSecure
                    }
                }
                if reads, node.has("firmware") {
                    let found = try await firmware.components(of: bmc)
                    let now = time.now
                    try await database.write { try $0.save(found, of: node.id, at: now) }
                }
            }
            if reads, let bios = driver.bios, node.has("bios") {
                let found = try await bios.settings(of: bmc)
                let now = time.now
                try await database.write { try $0.save(found, of: node.id, at: now) }
            }
        } catch let fault as PowerFault where fault.reason == .unsupported {
            return
        } catch {
            logger.info(
                "firmware not read",
                metadata: [
                    LogKey.nodeID: "\(node.id)", LogKey.error: "\(Fault(error).report)",
                ]
            )
        }
    }
}

extension Node {
    /// The interface of this kind: the operator's choice, or the driver's first.
    func interface(_ kind: String) -> String {
        let name = "\(kind)_interface"
        return interfaces[name] ?? DriverInterfaces.of(driver)[name]?.first ?? "no-\(kind)"
    }

    /// Whether an interface of this kind is there.
    func has(_ kind: String) -> Bool { !interface(kind).hasPrefix("no-") }

    /// Whether the machine's firmware is managed at all.
    var manages: Bool { interface("management") != "noop" }
}

import Basics
package import HTTP
package import Power
import Protocol

extension NodesService {
    /// What the machine's firmware is told to boot from.
    package func bootDevice(
        of reference: String,
        by principal: Principal?
    ) async throws -> BootChoice {
        let node = try await node(
            reference,
            by: principal,
            to: "ask for the boot device of",
            .manage
        )
        let driver = try driver(of: node)
        return try await driver.power.bootDevice(of: try driver.bmc(of: node))
    }

    /// Tells the machine's firmware what to boot from.
    /// - Throws: `Fault` of kind `conflict` while the controller itself decides about it.
    package func setBootDevice(
        _ device: BootDevice,
        persistent: Bool,
        of reference: String,
        by principal: Principal?
    ) async throws {
        let node = try await node(reference, by: principal)
        try requireIdle(node, by: principal, to: "set the boot device", .manage)
        let driver = try driver(of: node)
        guard driver.bootDevices.contains(device) else {
            throw Fault(
                .invalid,
                "cannot set the boot device of node \(node.label): driver \(driver.name) knows \(driver.bootDevices.map(\.rawValue).joined(separator: ", "))"
            )
        }
        try await driver.power.setBootDevice(
            device,
            persistent: persistent,
            mode: node.bootMode,
            of: try driver.bmc(of: node)
        )
    }

    /// Interrupts the machine's system, so that it shows or dumps where it hangs.
    /// - Throws: `Fault` of kind `conflict` while power actions are forbidden.
    func injectNMI(into reference: String, by principal: Principal) async throws {
        let node = try await node(reference, by: principal)
        try NodeAccess.requireChange(
            of: node,
            by: principal,
            to: "inject an NMI into \(node.label)",
            .manage
        )
        if let lockout = node.lockout {
            throw Fault(
                .conflict,
                "cannot inject an NMI into node \(node.label): \(lockout.user) locked its power: \(lockout.reason)"
            )
        }
        let driver = try driver(of: node)
        try await driver.power.injectNMI(into: try driver.bmc(of: node))
    }

    func driver(of node: Node) throws -> NodeDriver {
        guard let driver = drivers[node.driver] else {
            throw Fault(
                .invalid,
                "cannot work on node \(node.label): its driver “\(node.driver)” is not enabled"
            )
        }
        return driver
    }
}

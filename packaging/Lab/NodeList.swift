package import Basics
import FoundationEssentials

/// The lab's machines as `instackenv.json`, which `rdo node import` and TripleO's tools read.
package struct NodeList: Sendable {
    private struct File: Encodable {
        let nodes: [Node]
    }

    private struct Node: Encodable {
        let name: String
        let pm_type = "ipmi"
        let pm_addr: String
        let pm_port = String(BMCConfiguration.port)
        let pm_user = BMCConfiguration.user
        let pm_password: String
        let mac: [String]
        let cpu = "1"
        let memory: String
        let disk: String
        let arch = "x86_64"
        let capabilities: String
    }

    /// The file's text; it holds the BMCs' password.
    package static func text(_ plan: LabPlan, password: Secret) throws -> String {
        let nodes = plan.machines.map { machine in
            Node(
                name: machine.name,
                pm_addr: machine.bmcAddress,
                pm_password: password.reveal(),
                mac: [machine.mac],
                memory: String(machine.memoryMebibytes),
                disk: String(machine.diskGibibytes),
                capabilities: "boot_mode:\(machine.firmware.rawValue)"
            )
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(File(nodes: nodes)), as: UTF8.self) + "\n"
    }
}

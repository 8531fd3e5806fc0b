import Basics
import FoundationEssentials
import HTTP

extension BootFragment {
    /// What the kernel unpacks after the ramdisk.
    var archive: [UInt8] {
        var archive = BootArchive()
        archive.add("rdo/boot.json", Array(document.utf8))
        return archive.finished()
    }

    /// The JSON that the agent reads.
    var document: String {
        var members: [String: JSONValue] = [
            "address": .string(controller.address),
            "enrolment_port": .integer(Int64(controller.enrolmentPort)),
            "control_port": .integer(Int64(controller.controlPort)),
            "telemetry_port": .integer(Int64(controller.telemetryPort)),
            "curve_key": .string(controller.curveKey),
            "token": .string(Data(token.revealBytes()).base64EncodedString()),
            "role": .string(role),
        ]
        if let mac { members["boot_mac"] = .string(mac.text) }
        if let network { members["network"] = network.document }
        return JSONValue.object(members).canonicalText
    }
}

extension BootNetwork {
    fileprivate var document: JSONValue {
        var members: [String: JSONValue] = [
            "mac": .string(mac.text), "address": .string(address.text),
            "prefix": .integer(Int64(prefix)),
            "routes": .array(
                routes.map { route in
                    [
                        "destination": .string(route.destination.text),
                        "prefix": .integer(Int64(route.prefix)),
                        "gateway": .string(route.gateway.text),
                    ]
                }
            ),
            "name_servers": .array(nameServers.map { .string($0.text) }),
        ]
        if let vlan { members["vlan"] = .integer(Int64(vlan)) }
        return .object(members)
    }
}

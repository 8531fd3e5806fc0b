package import Basics
import HTTP

/// Redfish: power, boot device, firmware, virtual media, lamps and sensors through HTTP.
package final class RedfishPower: PowerControl {
    let client: RedfishClient

    package convenience init(settings: RedfishSettings, time: any TimeSource) {
        self.init(
            settings: settings,
            transport: HTTPRedfishTransport(connectBudget: settings.connectBudget, time: time),
            time: time
        )
    }

    /// With another way to carry requests, for tests.
    init(settings: RedfishSettings, transport: any RedfishTransport, time: any TimeSource) {
        client = RedfishClient(settings: settings, transport: transport, time: time)
    }

    /// Ends the sessions and closes the connections; nothing may be asked after.
    package func shutDown() async { await client.shutDown() }

    package func power(of bmc: BMC) async throws -> PowerState {
        try await client.call(bmc, to: "read the power state") {
            try await $0.findSystem().machine.powerState
        }
    }

    package func change(_ change: PowerChange, of bmc: BMC) async throws {
        let purpose =
            switch change {
            case .on: "switch the power on"
            case .off: "switch the power off"
            case .softOff: "shut down the system"
            case .cycle: "restart the machine"
            }
        try await client.call(bmc, to: purpose) { call in
            let system = try await call.findSystem().machine
            let isOn = system.power == "On"
            let types: [String] =
                switch change {
                // An order that is under way is not repeated: BMCs refuse it or begin anew.
                case .on: isOn || system.power == "PoweringOn" ? [] : ["On", "ForceOn"]
                case .off: system.power == "Off" ? [] : ["ForceOff"]
                case .softOff:
                    system.power == "Off" || system.power == "PoweringOff"
                        ? [] : ["GracefulShutdown"]
                case .cycle: isOn ? ["ForceRestart", "PowerCycle"] : ["On", "ForceOn"]
                }
            try await call.reset(system, types)
        }
    }

    package func injectNMI(into bmc: BMC) async throws {
        try await client.call(bmc, to: "inject an NMI") { call in
            try await call.reset(try await call.findSystem().machine, ["Nmi"])
        }
    }

    package func bootDevice(of bmc: BMC) async throws -> BootChoice {
        try await client.call(bmc, to: "read the boot device") {
            try await $0.findSystem().machine.bootChoice
        }
    }

    package func setBootDevice(
        _ device: BootDevice,
        persistent: Bool,
        mode: BootMode,
        of bmc: BMC
    ) async throws {
        try await client.call(bmc, to: "set the boot device \(device.rawValue)") { call in
            let (document, system) = try await call.findSystem()
            let target = try Self.target(device, system)
            var boot: [String: JSONValue] = ["BootSourceOverrideTarget": .string(target)]
            // Some firmwares refuse to be told what they do already, others forget it when they are not.
            let wanted = persistent ? "Continuous" : "Once"
            if system.boot.enabled != wanted || system.needsWholeBoot {
                boot["BootSourceOverrideEnabled"] = .string(wanted)
            }
            if let present = system.bootMode, present != mode || system.needsWholeBoot {
                boot["BootSourceOverrideMode"] = .string(mode.redfishName)
            }
            do {
                try await call.patch(document, ["Boot": .object(boot)])
            } catch RedfishTrouble.refused(let status, _) where persistent && status < 500 {
                // Not every firmware keeps an override for ever; the next start is what counts.
                boot["BootSourceOverrideEnabled"] = "Once"
                try await call.patch(try await call.findSystem().document, ["Boot": .object(boot)])
            }
            try await call.confirm("the boot device \(device.rawValue)") {
                $0.boot.target == nil || $0.boot.target == target
            }
        }
    }

    private static func target(
        _ device: BootDevice,
        _ system: RedfishSystem
    ) throws -> String {
        switch device {
        case .pxe: return "Pxe"
        case .disk: return "Hdd"
        case .bios: return "BiosSetup"
        case .cdrom:
            // Their virtual drive is a USB drive, and only this word boots from it.
            let isUSB =
                system.manufacturer?.lowercased() == "supermicro"
                && system.boot.targets.contains("UsbCd")
            return isUSB ? "UsbCd" : "Cd"
        case .safe: throw RedfishTrouble.unsupported("the boot device safe")
        }
    }

    package func identity(of bmc: BMC) async throws -> String? {
        try await client.call(bmc, to: "read the identity") {
            try await $0.findSystem().machine.uuid
        }
    }
}

extension BootMode {
    /// As Redfish spells it.
    var redfishName: String {
        switch self {
        case .uefi: "UEFI"
        case .bios: "Legacy"
        }
    }
}

extension RedfishSystem {
    /// Whether the firmware forgets what a change of the boot override does not repeat.
    var needsWholeBoot: Bool {
        let maker = manufacturer?.lowercased() ?? ""
        return ["supermicro", "american megatrends", "ami", "asrockrack"].contains {
            maker == $0 || maker.hasPrefix($0 + " ")
        }
    }
}

extension RedfishCall {
    /// Looks after a change at most so often whether it shows.
    static let looksMax = 5

    /// The machine that the node is.
    func findSystem() async throws -> (document: RedfishDocument, machine: RedfishSystem) {
        let link: String
        if let named = access.system {
            link = named
        } else {
            guard let systems = try await root().systems else {
                throw RedfishTrouble.malformed("it has no list of systems")
            }
            let members = RedfishAnswer.links(try await get(systems).value["Members"])
            guard members.count == 1, let only = members.first else {
                throw RedfishTrouble.setting(
                    members.isEmpty
                        ? "it has no system"
                        : "it has \(members.count) systems; name one in redfish_system_id"
                )
            }
            link = only
        }
        let document = try await get(link)
        return (document, try RedfishSystem(document.value))
    }

    /// Tells a machine's power to change in the first of these ways that it knows; none is no change.
    func reset(_ system: RedfishSystem, _ types: [String]) async throws {
        guard let first = types.first else { return }
        guard let action = system.reset else { throw RedfishTrouble.unsupported("power control") }
        var known = action.values
        if known.isEmpty, let info = try await find(action.info) {
            let parameters = (info.value["Parameters"]?.elements ?? []).prefix(16)
            known =
                parameters.first { $0["Name"]?.text == "ResetType" }
                .map { RedfishAnswer.texts($0["AllowableValues"]) } ?? []
        }
        guard let type = known.isEmpty ? first : types.first(where: known.contains) else {
            throw RedfishTrouble.unsupported("the power action \(first)")
        }
        try await post(action.target, ["ResetType": .string(type)])
    }

    /// Looks until a change shows.
    /// - Throws: `RedfishTrouble.disobeyed` when the BMC took it and does not show it.
    func confirm(_ what: String, _ shows: (RedfishSystem) -> Bool) async throws {
        for look in 1...Self.looksMax {
            if shows(try await findSystem().machine) { return }
            if look < Self.looksMax { try await client.time.sleep(for: client.settings.pause) }
        }
        throw RedfishTrouble.disobeyed("it took \(what), but shows another; look at its firmware")
    }
}

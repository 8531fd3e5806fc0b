import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Power
import Protocol

// What a node is and is to become: provision state, power, maintenance, boot device.
extension NodesAPI {
    func addStateRoutes(to routes: Routes) {
        routes.ironic(.get, "/v1/nodes/:node/states", .reader, .showStates) { call in
            let node = try await service.node(try call.parameter("node"), by: call.principal)
            var names = [
                "console_enabled", "last_error", "power_state", "provision_state",
                "provision_updated_at", "raid_config", "target_power_state",
                "target_provision_state", "target_raid_config",
            ]
            if call.version.minor < 12 { names.removeAll { $0.hasSuffix("raid_config") } }
            if call.version.minor >= 75 { names += ["boot_mode", "secure_boot"] }
            return .json(document(node, call.version).object(names))
        }
        routes.ironic(.put, "/v1/nodes/:node/states/power", .member, .setPower) { call in
            try await power(call)
        }
        routes.ironic(.put, "/v1/nodes/:node/maintenance", .member, .setMaintenance) { call in
            let bytes = try await call.request.bytes(call.context)
            let reason = bytes.isEmpty ? nil : try JSONValue(parsing: bytes)["reason"]?.text
            try await service.setMaintenance(
                true,
                reason: reason.map { String($0.prefix(1024)) },
                of: try call.parameter("node"),
                by: call.principal
            )
            return .empty(.accepted)
        }
        routes.ironic(.delete, "/v1/nodes/:node/maintenance", .member, .clearMaintenance) { call in
            try await service.setMaintenance(
                false,
                reason: nil,
                of: try call.parameter("node"),
                by: call.principal
            )
            return .empty(.accepted)
        }
        addBootDeviceRoutes(to: routes)
        addOwnRoutes(to: routes)
    }

    private func power(_ call: BaremetalCall) async throws -> Response {
        let order = try PowerOrder(try await call.object(), call.version)
        _ = try await service.requestPower(
            order.target,
            of: try call.parameter("node"),
            within: order.budget,
            by: call.principal
        )
        return .empty(.accepted)
    }

    private func addBootDeviceRoutes(to routes: Routes) {
        let path = "/v1/nodes/:node/management/boot_device"
        routes.ironic(.get, path + "/supported", .reader, .listBootDevices) { call in
            let node = try await service.node(
                try call.parameter("node"),
                by: call.principal,
                to: "list the boot devices of",
                .manage
            )
            let devices = try service.driver(of: node).bootDevices
            return .json([
                "supported_boot_devices": .array(devices.map { .string($0.rawValue) })
            ])
        }
        routes.ironic(.get, path, .reader, .showBootDevice) { call in
            let choice = try await service.bootDevice(
                of: try call.parameter("node"),
                by: call.principal
            )
            return .json([
                "boot_device": JSONValue(choice.device?.rawValue),
                "persistent": .bool(choice.isPersistent),
            ])
        }
        routes.ironic(.put, path, .member, .setBootDevice) { call in
            let body = try await call.object()
            guard let device = body["boot_device"]?.text.flatMap(BootDevice.init(rawValue:)) else {
                throw Fault(
                    .invalid,
                    "cannot set the boot device: it must be one of \(BootDevice.allCases.map(\.rawValue).joined(separator: ", "))"
                )
            }
            try await service.setBootDevice(
                device,
                persistent: body["persistent"]?.truth ?? false,
                of: try call.parameter("node"),
                by: call.principal
            )
            return .empty()
        }
    }

    /// Routes that Ironic does not have; the area's README describes them.
    private func addOwnRoutes(to routes: Routes) {
        routes.ironic(.get, "/v1/nodes/:node/waiting", .reader, .showWaiting) { call in
            let node = try await service.node(try call.parameter("node"), by: call.principal)
            let place = try await service.places(of: [node])[node.id]
            return .json(["waiting": document(node, place: place).waiting ?? .null])
        }
        routes.ironic(.put, "/v1/nodes/:node/lockout", .member, .lock) { call in
            guard let reason = try await call.object()["reason"]?.text, !reason.isEmpty else {
                throw Fault(.invalid, "cannot lock the power: the request has no reason")
            }
            try await service.setLockout(
                reason: String(reason.prefix(1024)),
                of: try call.parameter("node"),
                by: call.principal
            )
            return .empty(.accepted)
        }
        routes.ironic(.delete, "/v1/nodes/:node/lockout", .member, .unlock) { call in
            try await service.setLockout(
                reason: nil,
                of: try call.parameter("node"),
                by: call.principal
            )
            return .empty(.accepted)
        }
    }
}

/// A power change as a request asks for it.
struct PowerOrder: Sendable, Equatable {
    let target: PowerWish.Target
    /// How long it may take; `nil` as the configuration says.
    let budget: Duration?

    /// Reads the body of a request.
    /// - Throws: `Fault`: `invalid` that names what is wrong, `notAcceptable` for what is of a newer version.
    init(_ body: [String: JSONValue], _ version: Microversion) throws {
        guard let word = body["target"]?.text, let target = PowerWish.Target(rawValue: word) else {
            throw Fault(
                .invalid,
                "cannot change the power: target must be one of \(PowerWish.Target.allCases.map(\.rawValue).joined(separator: ", "))"
            )
        }
        if [.softOff, .softReboot].contains(target) || body["timeout"] != nil {
            guard version.minor >= 27 else {
                throw Fault(
                    .notAcceptable,
                    "cannot take soft power changes and timeouts in API version \(version.text): they exist since 1.27"
                )
            }
        }
        self.target = target
        guard let timeout = body["timeout"], timeout != .null else {
            budget = nil
            return
        }
        guard let seconds = timeout.integer, (1...86_400).contains(seconds) else {
            throw Fault(.invalid, "cannot change the power: timeout must be 1 to 86400 seconds")
        }
        budget = .seconds(seconds)
    }
}

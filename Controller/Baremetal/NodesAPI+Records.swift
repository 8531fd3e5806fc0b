import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Power
import Protocol

// What a BMC remembers, and where it thinks it is (ours: Ironic has no routes for them).
extension NodesAPI {
    private static let eventsMax: Int64 = 500

    func addRecordRoutes(to routes: Routes) {
        routes.ironic(.get, "/v1/nodes/:node/event_log", .reader, .showEventLog) { call in
            let limit = try limit(call.request.query("limit"))
            let node = try await service.node(
                try call.parameter("node"),
                by: call.principal,
                to: "read the event log of",
                .lookInside
            )
            let driver = try service.driver(of: node)
            guard let log = driver.eventLog, node.manages else {
                throw Fault.unsupported("event_log", of: node)
            }
            let events = try await log.events(of: try driver.bmc(of: node), max: limit)
            return .json(["event_log": .array(events.map(document))])
        }
        routes.ironic(.get, "/v1/nodes/:node/bmc", .reader, .showBMC) { call in
            let node = try await service.node(
                try call.parameter("node"),
                by: call.principal,
                to: "ask for the BMC of",
                .lookInside
            )
            let driver = try service.driver(of: node)
            guard let control = driver.network, node.manages else {
                throw Fault.unsupported("bmc", of: node)
            }
            let bmc = try driver.bmc(of: node)
            let guid = try await driver.power.identity(of: bmc)
            return .json(document(try await control.network(of: bmc), bmc, guid))
        }
    }

    private func limit(_ text: String?) throws -> Int {
        guard let text else { return 100 }
        guard let number = Int64(text), (1...Self.eventsMax).contains(number) else {
            throw Fault(
                .invalid,
                "cannot show the event log: limit “\(text.prefix(20))” is no number from 1 to \(Self.eventsMax)"
            )
        }
        return Int(number)
    }

    private func document(_ event: BMCEvent) -> JSONValue {
        [
            "id": .integer(Int64(event.id)), "time": JSONValue(event.at),
            "source": .string(event.source), "sensor": JSONValue(event.sensor),
            "text": JSONValue(event.text),
            "asserted": event.isAsserted.map(JSONValue.bool) ?? .null,
            "data": .string(event.data),
        ]
    }

    private func document(_ network: BMCNetwork, _ bmc: BMC, _ guid: String?) -> JSONValue {
        [
            "guid": JSONValue(guid), "registered_address": .string(bmc.host),
            "address": JSONValue(network.address), "address_source": JSONValue(network.source),
            "netmask": JSONValue(network.netmask), "gateway": JSONValue(network.gateway),
            "mac": JSONValue(network.mac),
            "vlan": network.vlan.map { .integer(Int64($0)) } ?? .null,
            "is_registered_address": network.isAt(bmc.host).map(JSONValue.bool) ?? .null,
        ]
    }
}

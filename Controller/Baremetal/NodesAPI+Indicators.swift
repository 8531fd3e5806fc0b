import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Power
import Protocol

// A machine's lamps, and what its sensors show (ours: Ironic has no route for them).
extension NodesAPI {
    func addIndicatorRoutes(to routes: Routes) {
        let path = "/v1/nodes/:node/management/indicators"
        routes.ironic(.get, path, .reader, .showIndicators) { call in
            try call.require(minor: 63)
            let (node, found) = try await indicators(call)
            return .json(["indicators": .array(found.map { document($0, of: node) })])
        }
        routes.ironic(.get, path + "/:component", .reader, .showIndicators) { call in
            try call.require(minor: 63)
            let word = try call.parameter("component")
            let (node, found) = try await indicators(call)
            // Ironic's own form: name@component is one lamp's state.
            if let name = Indicator.Name(word) {
                return .json(["state": .string(try state(of: name, found, node))])
            }
            let some = found.filter { $0.name.component == word }
            return .json(["indicators": .array(some.map { document($0, of: node) })])
        }
        routes.ironic(.get, path + "/:component/:name", .reader, .showIndicators) { call in
            try call.require(minor: 63)
            let name = try name(call)
            let (node, found) = try await indicators(call)
            return .json(["state": .string(try state(of: name, found, node))])
        }
        routes.ironic(.put, path + "/:component/:name", .member, .setIndicator) { call in
            try call.require(minor: 63)
            return try await set(call) { try name(call) }
        }
        routes.ironic(.put, path + "/:component", .member, .setIndicator) { call in
            try call.require(minor: 63)
            return try await set(call) {
                let word = try call.parameter("component")
                guard let name = Indicator.Name(word) else {
                    throw Fault(
                        .invalid,
                        "cannot find the indicator “\(word.prefix(80))”: its name is like name@component"
                    )
                }
                return name
            }
        }
        routes.ironic(.get, "/v1/nodes/:node/sensors", .reader, .showSensors) { call in
            let node = try await seen(call)
            let driver = try service.driver(of: node)
            guard let sensors = driver.sensors, node.manages else {
                throw Fault.unsupported("sensors", of: node)
            }
            let found = try await sensors.readings(of: try driver.bmc(of: node))
            return .json(["sensors": .array(found.map(document))])
        }
    }

    private func name(_ call: BaremetalCall) throws -> Indicator.Name {
        Indicator.Name(
            component: try call.parameter("component"),
            id: try call.parameter("name")
        )
    }

    private func control(_ node: Node) throws -> (any IndicatorControl, BMC) {
        let driver = try service.driver(of: node)
        guard let control = driver.indicators, node.manages else {
            throw Fault.unsupported("indicators", of: node)
        }
        return (control, try driver.bmc(of: node))
    }

    private func indicators(_ call: BaremetalCall) async throws -> (Node, [Indicator]) {
        let node = try await seen(call)
        let (control, bmc) = try control(node)
        return (node, try await control.indicators(of: bmc))
    }

    /// Whoever may not is told so before anything else.
    private func set(
        _ call: BaremetalCall,
        _ read: () throws -> Indicator.Name
    ) async throws -> Response {
        let node = try await owned(call, to: "switch the lamps of")
        let name = try read()
        let (control, bmc) = try control(node)
        let word = try await call.object()["state"]?.text
        guard let state = word.flatMap({ Indicator.State(rawValue: $0.uppercased()) }) else {
            throw Fault(
                .invalid,
                "cannot switch the indicator \(name.id.prefix(80)): its state must be ON, OFF or BLINKING"
            )
        }
        try await control.set(state, of: name, of: bmc)
        return .empty()
    }

    private func state(
        of name: Indicator.Name,
        _ found: [Indicator],
        _ node: Node
    ) throws -> String {
        guard let lamp = found.first(where: { $0.name == name }) else {
            throw Fault(
                .invalid,
                "cannot show the indicator \(name.id.prefix(80)): node \(node.label) has none of this name at \(name.component.prefix(40))"
            )
        }
        return lamp.state.rawValue
    }

    private func document(_ indicator: Indicator, of node: Node) -> JSONValue {
        let name = "\(indicator.name.id)@\(indicator.name.component)"
        let path = "nodes/\(node.id)/management/indicators/\(name)"
        return [
            "name": .string(name), "component": .string(indicator.name.component),
            "readonly": false, "states": ["BLINKING", "OFF", "ON"],
            "links": [
                ["href": .string("\(root)/v1/\(path)"), "rel": "self"],
                ["href": .string("\(root)/\(path)"), "rel": "bookmark"],
            ],
        ]
    }

    private func document(_ reading: SensorReading) -> JSONValue {
        [
            "kind": .string(reading.kind.rawValue), "name": .string(reading.name),
            "value": reading.value.map(JSONValue.number) ?? .null, "unit": .string(reading.unit),
            "state": JSONValue(reading.state), "health": JSONValue(reading.health),
        ]
    }
}

extension Indicator.Name {
    /// Reads `name@component`.
    fileprivate init?(_ text: String) {
        guard let at = text.firstIndex(of: "@") else { return nil }
        self.init(component: String(text[text.index(after: at)...]), id: String(text[..<at]))
    }
}

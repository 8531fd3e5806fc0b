import Basics
package import HTTP
import HTTPTypes
import Hummingbird
import Protocol

/// The Bare Metal API's drivers and conductors: there is one conductor, this controller.
package struct DriversAPI: RouteArea {
    private let service: NodesService
    private let root: String

    package init(service: NodesService, publicURL: String) {
        self.service = service
        root = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("", dialect: .ironic)
        routes.ironic(.get, "/v1/drivers", .systemReader, .listDrivers) { call in
            let isDetailed = call.request.query("detail").flatMap { JSONValue.string($0).truth }
            // Every driver of ours is made of interfaces; there are no classic ones.
            let isClassic = call.request.query("type") == "classic"
            let names = isClassic ? [] : service.drivers.keys.sorted()
            return .json([
                "drivers": .array(
                    try names.map {
                        try only(
                            call,
                            driver(
                                $0,
                                call.version,
                                isDetailed: isDetailed == true
                                    || call.request.query("fields") != nil
                            )
                        )
                    }
                )
            ])
        }
        routes.ironic(.get, "/v1/drivers/:driver", .systemReader, .showDriver) { call in
            .json(try only(call, driver(try name(call), call.version, isDetailed: true)))
        }
        routes.ironic(.get, "/v1/drivers/:driver/properties", .systemReader, .showDriverProperties)
        {
            call in
            .json(.object(DriverProperties.of(try name(call)).mapValues(JSONValue.string)))
        }
        routes.ironic(.get, "/v1/conductors", .systemReader, .listConductors) { call in
            try call.require(minor: 49)
            return .json(["conductors": [try only(call, conductor)]])
        }
        routes.ironic(.get, "/v1/conductors/:host", .systemReader, .showConductor) { call in
            try call.require(minor: 49)
            guard try call.parameter("host") == service.settings.hostName else {
                throw Fault(.notFound, "cannot find this conductor: there is only one")
            }
            return .json(try only(call, conductor))
        }
        routes.ironic(
            .get,
            "/v1/drivers/:driver/raid/logical_disk_properties",
            .systemReader,
            .showRAIDProperties
        ) { call in
            try call.accept(minor: 12, "RAID properties")
            // As with Ironic, they are those of the schema, whatever the driver's default interface.
            _ = try name(call)
            return .json(.object(RAIDConfiguration.properties.mapValues(JSONValue.string)))
        }
        addPassthru(routes)
    }

    private func addPassthru(_ routes: Routes) {
        let passthru = "/v1/drivers/:driver/vendor_passthru"
        routes.ironic(.get, passthru + "/methods", .systemAdmin, .listVendorMethods) { call in
            _ = try name(call)
            return .json([:])
        }
        for method in HTTPRequest.Method.vendor {
            routes.ironic(method, passthru, .systemAdmin, .callVendorMethod(method)) { call in
                _ = try name(call)
                throw Fault.noHandler(call.request.query("method"))
            }
            routes.ironic(method, passthru + "/:method", .systemAdmin, .callVendorMethod(method)) {
                call in
                _ = try name(call)
                throw Fault.noHandler(try call.parameter("method"))
            }
        }
    }

    /// The members that a request asked for, or all.
    /// - Throws: `Fault` of kind `invalid` when it asks for one that is not there.
    private func only(_ call: BaremetalCall, _ document: JSONValue) throws -> JSONValue {
        guard let list = call.request.query("fields") else { return document }
        let names = list.split(separator: ",").map(String.init)
        for name in names where document[name] == nil {
            throw Fault(.invalid, "cannot show the field “\(name.prefix(40))”: there is none")
        }
        return .object((document.members ?? [:]).filter { (names + ["links"]).contains($0.key) })
    }

    private func name(_ call: BaremetalCall) throws -> String {
        let name = try call.parameter("driver")
        guard service.drivers[name] != nil else {
            throw Fault(.notFound, "cannot find driver “\(name.prefix(80))”: it is not enabled")
        }
        return name
    }

    private func driver(_ name: String, _ version: Microversion, isDetailed: Bool) -> JSONValue {
        var members: [String: JSONValue] = [
            "name": .string(name), "hosts": [.string(service.settings.hostName)],
            "links": [
                ["href": .string("\(root)/v1/drivers/\(name)"), "rel": "self"],
                ["href": .string("\(root)/drivers/\(name)"), "rel": "bookmark"],
            ],
        ]
        if version.minor >= 14 {
            members["properties"] = [
                ["href": .string("\(root)/v1/drivers/\(name)/properties"), "rel": "self"],
                ["href": .string("\(root)/drivers/\(name)/properties"), "rel": "bookmark"],
            ]
        }
        if version.minor >= 30 { members["type"] = "dynamic" }
        if version.minor >= 30, isDetailed {
            for (interface, enabled) in DriverInterfaces.of(name) {
                members["default_\(interface)"] = JSONValue(enabled.first)
                members["enabled_\(interface)s"] = .array(enabled.map(JSONValue.string))
            }
        }
        return .object(members)
    }

    private var conductor: JSONValue {
        [
            "hostname": .string(service.settings.hostName), "conductor_group": "",
            "alive": true, "drivers": .array(service.drivers.keys.sorted().map(JSONValue.string)),
            "created_at": .null, "updated_at": .null,
            "links": [
                [
                    "href": .string("\(root)/v1/conductors/\(service.settings.hostName)"),
                    "rel": "self",
                ],
                [
                    "href": .string("\(root)/conductors/\(service.settings.hostName)"),
                    "rel": "bookmark",
                ],
            ],
        ]
    }
}

import Hummingbird
import HTTPTypes

/// Version discovery of the Bare Metal service: the root and `/v1`.
package struct BareMetalDiscovery: RouteArea {
    private let root: String
    private let minimum: String
    private let maximum: String

    /// `publicURL` is where clients reach the root; the others bound the microversions, for instance
    /// `1.1` and `1.95`.
    package init(publicURL: String, minimum: String, maximum: String) {
        root = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
        self.minimum = minimum
        self.maximum = maximum
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("", dialect: .ironic)
        let version: JSONValue = [
            "id": "v1", "status": "CURRENT", "min_version": .string(minimum),
            "version": .string(maximum),
            "links": [["href": .string(root + "/v1/"), "rel": "self"]],
        ]
        let headers: HTTPFields = [
            .known("X-OpenStack-Ironic-API-Minimum-Version"): minimum,
            .known("X-OpenStack-Ironic-API-Maximum-Version"): maximum,
            .known("X-OpenStack-Ironic-API-Version"): minimum,
        ]
        routes.get("/", .open, .listVersions) { _, _ in
            .json(
                [
                    "name": "OpenStack Ironic API",
                    "description": "Bare Metal API of RDO-Manager",
                    "default_version": version, "versions": [version],
                ],
                headers: headers
            )
        }
        var document: JSONValue = [
            "id": "v1", "version": version,
            "links": [["href": .string(root + "/v1/"), "rel": "self"]],
            "media_types": [
                ["base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"]
            ],
        ]
        for resource in ["nodes", "ports", "drivers"] {
            document[resource] = [
                ["href": .string("\(root)/v1/\(resource)/"), "rel": "self"],
                ["href": .string("\(root)/\(resource)/"), "rel": "bookmark"],
            ]
        }
        let answer = document
        routes.get("/v1", .open, .showVersion) { _, _ in .json(answer, headers: headers) }
    }
}

extension Operation {
    private static let version = Schema.object(
        [
            "id": .text, "status": .text, "min_version": .text, "version": .text,
            "links": .list(of: .document),
        ],
        required: ["id", "status", "min_version", "version", "links"]
    )

    fileprivate static let listVersions = Operation(
        "List versions of the Bare Metal service",
        answers: .ok(
            .object(
                [
                    "name": .text, "description": .text, "default_version": version,
                    "versions": .list(of: version),
                ],
                required: ["name", "description", "default_version", "versions"]
            )
        )
    )
    fileprivate static let showVersion = Operation(
        "Show version 1 of the Bare Metal service",
        answers: .ok(
            .object(["id": .text, "version": version], required: ["id", "version"], open: true)
        )
    )
}

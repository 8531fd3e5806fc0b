import HTTP

/// A service of the cloud and where it is.
package struct CatalogService: Sendable, Equatable {
    /// `identity`, `image`, `baremetal`: what clients look for.
    package let type: String
    package let name: String
    package let url: String

    package init(type: String, name: String, url: String) {
        self.type = type
        self.name = name
        self.url = url
    }
}

/// Where clients find the services.
///
/// The addresses come from the configuration, never from a request's `Host` header: that is the client's
/// to choose, and a catalog made from it would send other people's tokens where an attacker likes.
package struct Catalog: Sendable, Equatable {
    package let region: String
    package let services: [CatalogService]

    /// The services of this controller, whose root is reached at `publicURL`.
    package init(publicURL: String, region: String = "RegionOne") {
        self.region = region
        let root = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
        services = [
            CatalogService(type: "baremetal", name: "ironic", url: root),
            CatalogService(type: "identity", name: "keystone", url: root + "/identity"),
            CatalogService(type: "image", name: "glance", url: root + "/image"),
        ]
    }

    private static let interfaces = ["public", "internal", "admin"]

    /// As tokens carry it.
    var inToken: JSONValue {
        .array(
            services.map { service in
                [
                    "id": .string(service.name), "name": .string(service.name),
                    "type": .string(service.type),
                    "endpoints": .array(
                        Self.interfaces.map { interface in
                            [
                                "id": .string("\(service.name)-\(interface)"),
                                "interface": .string(interface), "region": .string(region),
                                "region_id": .string(region), "url": .string(service.url),
                            ]
                        }
                    ),
                ]
            }
        )
    }

    /// As the service list shows it.
    var serviceList: [JSONValue] {
        services.map { service in
            [
                "id": .string(service.name), "name": .string(service.name),
                "type": .string(service.type), "enabled": true, "description": "", "links": [:],
            ]
        }
    }

    /// As the endpoint list shows it.
    var endpointList: [JSONValue] {
        services.flatMap { service in
            Self.interfaces.map { interface in
                [
                    "id": .string("\(service.name)-\(interface)"), "interface": .string(interface),
                    "region": .string(region), "region_id": .string(region),
                    "service_id": .string(service.name), "url": .string(service.url),
                    "enabled": true, "links": [:],
                ]
            }
        }
    }
}

import HTTP

/// A service of this controller and where it is.
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

/// The controller's own services; the stored catalog is brought in step with it at every start.
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
}

/// Who an endpoint is for.
enum EndpointInterface: String, Sendable, CaseIterable {
    case `public`, `internal`, admin
}

/// A place that has services.
struct Region: Sendable, Equatable {
    let id: String
    var parentID: String?
    var description = ""
    var extra: [String: JSONValue] = [:]
}

/// A service in the stored catalog.
struct ServiceRecord: Sendable, Equatable {
    let id: String
    var type: String
    var name = ""
    var isEnabled = true
    /// The controller's own: type and name are its own business, and it cannot be deleted.
    var isOwn = false
    var description = ""
    var extra: [String: JSONValue] = [:]
}

/// An address of a service in the stored catalog.
struct EndpointRecord: Sendable, Equatable {
    let id: String
    var serviceID: String
    var regionID: String?
    var interface: EndpointInterface
    var url: String
    var isEnabled = true
    /// The controller's own: its address follows the configuration, and it cannot be deleted.
    var isOwn = false
    var extra: [String: JSONValue] = [:]

    /// The address for a project and user, as Keystone fills in templates; `nil` when one is missing.
    func url(projectID: String?, userID: String) -> String? {
        var text = url
        for (name, value) in [
            ("project_id", projectID), ("tenant_id", projectID), ("user_id", userID),
        ] {
            for form in ["$(\(name))s", "%(\(name))s"] where text.contains(form) {
                guard let value else { return nil }
                text.replace(form, with: value)
            }
        }
        return text
    }
}

/// What a token's catalog shows.
struct CatalogEntry: Sendable, Equatable {
    var service: ServiceRecord
    var endpoints: [EndpointRecord]
}

/// A change of the stored catalog; `nil` leaves a member as it is.
struct CatalogEdit: Sendable, Equatable {
    var id: String?
    var type: String?
    var name: String?
    var description: String?
    var isEnabled: Bool?
    /// The empty one takes it away.
    var parentID: String?
    var serviceID: String?
    /// The empty one takes it away.
    var regionID: String?
    var interface: EndpointInterface?
    var url: String?
    var extra: [String: JSONValue] = [:]
}

/// Which parts of the stored catalog a list shows.
struct CatalogFilter: Sendable, Equatable {
    var type: String?
    var name: String?
    var parentID: String?
    var serviceID: String?
    var regionID: String?
    var interface: String?
    var isEnabled: Bool?
    /// Endpoints that are given to this project.
    var projectID: String?
}

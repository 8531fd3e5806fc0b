import Basics
package import HTTP
import HTTPTypes
import Hummingbird

/// Identity v3 (Keystone) under `/identity`.
///
/// Every route takes any valid token: who may do what is decided in the service, where the objects are known.
package struct IdentityAPI: RouteArea {
    let service: IdentityService
    /// Where clients reach the controller's root, without a slash at the end.
    let origin: String

    /// `publicURL` is where clients reach the controller's root.
    package init(service: IdentityService, publicURL: String) {
        self.service = service
        origin = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("/identity", dialect: .keystone)
        let version: JSONValue = [
            "id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
            "links": [["rel": "self", "href": .string(origin + "/identity/v3/")]],
            "media-types": [
                ["base": "application/json", "type": "application/vnd.openstack.identity-v3+json"]
            ],
        ]
        routes.get("", .open, .listVersions) { _, _ in
            .json(["versions": ["values": [version]]], status: .multipleChoices)
        }
        routes.get("/v3", .open, .showVersion) { _, _ in .json(["version": version]) }
        addTokens(routes)
        addOwn(routes)
        addUsers(routes)
        addGroups(routes)
        addDomains(routes)
        addProjects(routes)
        addProjectTags(routes)
        addRoles(routes)
        addInferences(routes)
        addGrants(routes)
        addCredentials(routes)
        addRegions(routes)
        addServices(routes)
        addEndpoints(routes)
        addProjectEndpoints(routes)
    }

    // MARK: - Answers

    func links(_ path: String) -> JSONValue {
        ["self": .string("\(origin)/identity/v3/\(path)")]
    }

    /// A list with its links; `limit` is how many the page could have held.
    func list(
        _ name: String,
        _ shapes: [JSONValue],
        _ request: Request,
        limit: Int? = nil
    ) -> Response {
        let place = origin + request.uri.path
        var next = JSONValue.null
        var headers: HTTPFields = [:]
        if let limit, shapes.count >= limit, let last = shapes.last?["id"]?.text {
            let kept = (request.uri.query ?? "").split(separator: "&").filter {
                !$0.hasPrefix("marker=")
            }
            let address = "\(place)?\((kept + ["marker=\(last)"]).joined(separator: "&"))"
            next = .string(address)
            // Clients that know nothing of the member follow the header (RFC 8288).
            headers[.known("Link")] = "<\(address)>; rel=\"next\""
        }
        return .json(
            .object([
                name: .array(shapes),
                "links": ["self": .string(place), "next": next, "previous": .null],
            ]),
            headers: headers
        )
    }

    /// One object, as an answer.
    func one(
        _ name: String,
        _ shape: JSONValue,
        status: HTTPResponse.Status = .ok
    ) -> Response {
        .json(.object([name: shape]), status: status)
    }
}

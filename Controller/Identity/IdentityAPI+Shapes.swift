import HTTP
import Protocol

/// How objects look in answers, as Keystone writes them.
extension IdentityAPI {
    func shape(_ user: User) -> JSONValue {
        var members = user.attributes.extra
        members["id"] = .string(user.id)
        members["name"] = .string(user.name)
        members["domain_id"] = .string(user.domainID)
        members["enabled"] = .bool(user.isEnabled)
        members["password_expires_at"] = .null
        members["options"] = .object(user.attributes.options)
        members["links"] = links("users/\(user.id)")
        if let project = user.defaultProjectID { members["default_project_id"] = .string(project) }
        if !user.attributes.description.isEmpty {
            members["description"] = .string(user.attributes.description)
        }
        return .object(members)
    }

    func shape(_ group: Group) -> JSONValue {
        var members = group.attributes.extra
        members["id"] = .string(group.id)
        members["name"] = .string(group.name)
        members["domain_id"] = .string(group.domainID)
        members["description"] = .string(group.attributes.description)
        members["links"] = links("groups/\(group.id)")
        return .object(members)
    }

    func shape(_ domain: Domain) -> JSONValue {
        var members = domain.attributes.extra
        members["id"] = .string(domain.id)
        members["name"] = .string(domain.name)
        members["enabled"] = .bool(domain.isEnabled)
        members["description"] = .string(domain.attributes.description)
        members["tags"] = []
        members["options"] = .object(domain.attributes.options)
        members["links"] = links("domains/\(domain.id)")
        return .object(members)
    }

    func shape(_ project: Project) -> JSONValue {
        var members = project.attributes.extra
        members["id"] = .string(project.id)
        members["name"] = .string(project.name)
        members["domain_id"] = .string(project.domainID)
        members["parent_id"] = .string(project.parentID ?? project.domainID)
        members["is_domain"] = false
        members["enabled"] = .bool(project.isEnabled)
        members["description"] = .string(project.attributes.description)
        members["tags"] = .array(project.tags.map(JSONValue.string))
        members["options"] = .object(project.attributes.options)
        members["links"] = links("projects/\(project.id)")
        return .object(members)
    }

    func shape(_ role: RoleRecord) -> JSONValue {
        var members = role.attributes.extra
        members["id"] = .string(role.id)
        members["name"] = .string(role.name)
        members["domain_id"] = JSONValue(role.domainID)
        members["description"] = .string(role.attributes.description)
        members["options"] = .object(role.attributes.options)
        members["links"] = links("roles/\(role.id)")
        return .object(members)
    }

    /// A role as tokens and application credentials name it.
    static func brief(_ role: RoleRecord) -> JSONValue {
        ["id": .string(role.id), "name": .string(role.name), "domain_id": JSONValue(role.domainID)]
    }

    func shape(_ region: Region) -> JSONValue {
        var members = region.extra
        members["id"] = .string(region.id)
        members["description"] = .string(region.description)
        members["parent_region_id"] = JSONValue(region.parentID)
        members["links"] = links("regions/\(region.id)")
        return .object(members)
    }

    func shape(_ service: ServiceRecord) -> JSONValue {
        var members = service.extra
        members["id"] = .string(service.id)
        members["type"] = .string(service.type)
        members["name"] = .string(service.name)
        members["enabled"] = .bool(service.isEnabled)
        members["description"] = .string(service.description)
        members["links"] = links("services/\(service.id)")
        return .object(members)
    }

    func shape(_ endpoint: EndpointRecord) -> JSONValue {
        var members = endpoint.extra
        members["id"] = .string(endpoint.id)
        members["service_id"] = .string(endpoint.serviceID)
        members["interface"] = .string(endpoint.interface.rawValue)
        members["url"] = .string(endpoint.url)
        members["region"] = JSONValue(endpoint.regionID)
        members["region_id"] = JSONValue(endpoint.regionID)
        members["enabled"] = .bool(endpoint.isEnabled)
        members["links"] = links("endpoints/\(endpoint.id)")
        return .object(members)
    }

    /// A catalog as tokens carry it.
    static func shape(_ catalog: [CatalogEntry], for session: Session) -> JSONValue {
        .array(
            catalog.map { entry in
                [
                    "id": .string(entry.service.id), "name": .string(entry.service.name),
                    "type": .string(entry.service.type),
                    "endpoints": .array(
                        entry.endpoints.compactMap { endpoint in
                            let url = endpoint.url(
                                projectID: session.principal.projectID,
                                userID: session.principal.userID
                            )
                            return url.map { url in
                                [
                                    "id": .string(endpoint.id), "url": .string(url),
                                    "interface": .string(endpoint.interface.rawValue),
                                    "region": JSONValue(endpoint.regionID),
                                    "region_id": JSONValue(endpoint.regionID),
                                ]
                            }
                        }
                    ),
                ]
            }
        )
    }

    /// A grant; with names only when they were asked for.
    func shape(_ named: NamedGrant, names: Bool) -> JSONValue {
        func reference(_ reference: NamedReference) -> JSONValue {
            guard names else { return ["id": .string(reference.id)] }
            var shape: JSONValue = ["id": .string(reference.id), "name": .string(reference.name)]
            if let id = reference.domainID {
                shape["domain"] = [
                    "id": .string(id), "name": .string(reference.domainName ?? ""),
                ]
            }
            return shape
        }
        var scope: JSONValue
        switch named.grant.scope {
        case .system: scope = ["system": ["all": true]]
        case .project: scope = ["project": named.scope.map(reference) ?? .null]
        case .domain: scope = ["domain": named.scope.map(reference) ?? .null]
        }
        if named.grant.isInherited { scope["OS-INHERIT:inherited_to"] = "projects" }
        let isUser = named.grant.actor.userID != nil
        return [
            "role": reference(named.role), isUser ? "user" : "group": reference(named.actor),
            "scope": scope,
            "links": ["assignment": .string("\(origin)/identity/v3/\(path(of: named.grant))")],
        ]
    }

    /// Where a grant is found.
    private func path(of grant: Grant) -> String {
        let place =
            switch grant.scope {
            case .system: "system"
            case .project(let id): "projects/\(id)"
            case .domain(let id): "domains/\(id)"
            }
        let actor =
            switch grant.actor {
            case .user(let id): "users/\(id)"
            case .group(let id): "groups/\(id)"
            }
        let path = "\(place)/\(actor)/roles/\(grant.roleID)"
        return grant.isInherited ? "OS-INHERIT/\(path)/inherited_to_projects" : path
    }

    func shape(_ credential: ApplicationCredential) -> JSONValue {
        var shape: JSONValue = [
            "id": .string(credential.id), "name": .string(credential.name),
            "description": .string(credential.description),
            "project_id": .string(credential.projectID), "user_id": .string(credential.userID),
            "unrestricted": .bool(credential.isUnrestricted),
            "roles": .array(credential.roles.map(Self.brief)),
            "expires_at": JSONValue(credential.expires?.rfc3339(suffix: ".000000Z")),
            "links": links("users/\(credential.userID)/application_credentials/\(credential.id)"),
        ]
        if !credential.rules.isEmpty {
            shape["access_rules"] = .array(credential.rules.map(Self.shape))
        }
        return shape
    }

    static func shape(_ rule: OwnedRule) -> JSONValue {
        [
            "id": .string(rule.id), "service": .string(rule.rule.service),
            "method": .string(rule.rule.method), "path": .string(rule.rule.path),
        ]
    }
}

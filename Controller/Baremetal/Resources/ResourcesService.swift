import Basics
import HTTP
import Protocol
import Store

// The door for simple resources.
extension NodesService {
    /// The resources of one page that the principal may see.
    func resources(
        _ kind: ResourceKind,
        _ query: ResourceQuery,
        node reference: String? = nil,
        by principal: Principal
    ) async throws -> [Resource] {
        try kind.requireLook(by: principal)
        var query = query
        if !principal.isSystem { query.visibleTo = principal.projectID ?? "" }
        return try await database.read { [query, sealer] transaction in
            var query = query
            if let reference {
                let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
                query.equal["node_uuid"] = .string(node.id.text)
            }
            return try transaction.resources(kind, query)
        }
    }

    /// The resource with this UUID or name.
    /// - Throws: `Fault` of kind `notFound`, also when the principal may not see it.
    func resource(
        _ kind: ResourceKind,
        _ reference: String,
        by principal: Principal
    ) async throws -> Resource {
        try kind.requireLook(by: principal)
        return try await database.read { [sealer] transaction in
            try transaction.visible(kind, reference, to: principal, sealer: sealer)
        }
    }

    /// Makes a resource.
    func create(
        _ kind: ResourceKind,
        _ members: [String: JSONValue],
        _ version: Microversion,
        by principal: Principal
    ) async throws -> Resource {
        var members = members
        var id = random.identifier(ResourceID.self)
        if let wanted = members.removeValue(forKey: "uuid"), wanted != .null {
            guard let known = wanted.text.flatMap({ ResourceID($0) }) else {
                throw Fault(.invalid, "cannot make a \(kind.item): its uuid is none")
            }
            id = known
        }
        let now = time.now
        var made = kind.make(id: id, at: now)
        try kind.read(members, into: &made, version, isNew: true)
        try kind.adopt(&made, by: principal)
        try kind.check(&made, nil)
        return try await database.write { [made, sealer] transaction in
            var resource = made
            try transaction.requireChange(
                of: kind,
                &resource,
                by: principal,
                isDeletion: true,
                sealer: sealer
            )
            guard try transaction.resource(kind, resource.id.text) == nil else {
                throw Fault(
                    .conflict,
                    "cannot make \(kind.item) \(resource.id): one with this UUID exists already"
                )
            }
            try transaction.requireRoom(for: resource, of: kind, by: principal)
            try kind.beforeSave(transaction, resource, nil)
            try transaction.save(kind, resource, before: nil, at: now)
            return resource
        }
    }

    /// Changes a resource.
    /// - Throws: `Fault`; the resource is unchanged then.
    func update(
        _ kind: ResourceKind,
        _ reference: String,
        by principal: Principal,
        edit: @escaping @Sendable (inout Resource) throws -> Void
    ) async throws -> Resource {
        try kind.requireLook(by: principal)
        let now = time.now
        return try await database.write { [sealer] transaction in
            let seen = try transaction.visible(kind, reference, to: principal, sealer: sealer)
            var before = seen
            try transaction.requireChange(of: kind, &before, by: principal, sealer: sealer)
            var resource = before
            try edit(&resource)
            try kind.check(&resource, before)
            try kind.requireOwnership(resource, before, by: principal)
            if resource.values["node_uuid"] != before.values["node_uuid"] {
                try transaction.requireChange(of: kind, &resource, by: principal, sealer: sealer)
            }
            guard resource != before else { return before }
            resource.updatedAt = now
            try kind.beforeSave(transaction, resource, before)
            try transaction.save(kind, resource, before: before, at: now)
            return resource
        }
    }

    /// Takes a resource away.
    func delete(
        _ kind: ResourceKind,
        _ reference: String,
        by principal: Principal
    ) async throws {
        try kind.requireLook(by: principal)
        let now = time.now
        try await database.write { [sealer] transaction in
            var resource = try transaction.visible(kind, reference, to: principal, sealer: sealer)
            try transaction.requireChange(
                of: kind,
                &resource,
                by: principal,
                isDeletion: true,
                sealer: sealer
            )
            try kind.beforeDelete(transaction, resource)
            try transaction.delete(kind, resource, at: now)
        }
    }
}

extension ResourceKind {
    /// Lets those pass who may see any resource of this kind.
    func requireLook(by principal: Principal) throws {
        guard case .installation = scope else { return }
        try principal.requireSystem(.reader, to: "look at a \(item)")
    }

    /// Gives a new resource its owner: what a project makes is its own.
    /// - Throws: `Fault` of kind `forbidden` for another owner, or when it were for all to see.
    func adopt(_ resource: inout Resource, by principal: Principal) throws {
        guard case .owner(let shared, _) = scope, !principal.isSystem else { return }
        let own = principal.projectID ?? ""
        let wanted = resource.text("owner")
        guard wanted == nil || wanted == own, shared.map({ resource.values[$0] }) != true else {
            throw Fault(
                .forbidden,
                "cannot make a \(item) for another project or for all: it takes the system scope"
            )
        }
        resource.values["owner"] = .string(own)
    }
}

extension ResourceKind {
    /// Whose a resource is, and whether all see it, changes only the whole installation.
    /// - Throws: `Fault` of kind `forbidden`.
    func requireOwnership(
        _ resource: Resource,
        _ before: Resource,
        by principal: Principal
    ) throws {
        guard case .owner(let shared, _) = scope, !principal.isSystem else { return }
        let names = ["owner", shared].compactMap { $0 }
        guard names.allSatisfy({ resource.values[$0] == before.values[$0] }) else {
            throw Fault(
                .forbidden,
                "cannot change \(names.joined(separator: " or ")) of \(item) \(resource.id): it takes the system scope"
            )
        }
    }
}

extension Transaction {
    /// The resource with this UUID or name, if the principal may see it.
    /// - Throws: `Fault` of kind `notFound`.
    func visible(
        _ kind: ResourceKind,
        _ reference: String,
        to principal: Principal,
        sealer: Sealer
    ) throws -> Resource {
        let missing = Fault(
            .notFound,
            "cannot find \(kind.item) \(reference.prefix(255)): there is none with this UUID\(kind.isNamed ? " or name" : "")"
        )
        guard let resource = try resource(kind, reference) else { throw missing }
        guard !principal.isSystem else { return resource }
        switch kind.scope {
        case .installation: throw missing
        case .node:
            guard let id = resource.node, let node = try node(id, sealer: sealer),
                NodeAccess.isVisible(node, to: principal)
            else { throw missing }
        case .owner(let shared, _):
            let isShared = shared.map { resource.values[$0] == true } ?? false
            guard isShared || resource.text("owner") == principal.projectID else { throw missing }
        }
        return resource
    }

    /// Bounds how many resources of a kind one project makes.
    /// - Throws: `Fault` of kind `forbidden`, as OpenStack's services answer where a quota ends.
    func requireRoom(for resource: Resource, of kind: ResourceKind, by principal: Principal) throws
    {
        guard case .owner = kind.scope, !principal.isSystem else { return }
        let held = try count(kind.table, where: "owner", is: resource.text("owner") ?? "")
        guard held < ResourceKind.ownedMax else {
            throw Fault(
                .forbidden,
                "cannot make a \(kind.item): your project has \(held) already, which is the most; delete some first"
            )
        }
    }

    /// Lets those pass who may change the resource; a node that is named becomes its UUID.
    func requireChange(
        of kind: ResourceKind,
        _ resource: inout Resource,
        by principal: Principal,
        isDeletion: Bool = false,
        sealer: Sealer
    ) throws {
        let action = "change \(kind.item) \(resource.id)"
        switch kind.scope {
        case .installation(let role):
            try principal.requireSystem(isDeletion ? .admin : role, to: action)
        case .node:
            let node = try visibleNode(
                resource.text("node_uuid") ?? "",
                to: principal,
                sealer: sealer
            )
            try NodeAccess.requireChange(
                of: node,
                by: principal,
                to: action,
                isDeletion ? kind.making : kind.changing
            )
            resource.values["node_uuid"] = .string(node.id.text)
        case .owner(_, let role):
            // Ironic's members of the system manage what is any project's.
            try principal.require(principal.isSystem ? .member : role, to: action)
            guard principal.isSystem || resource.text("owner") == principal.projectID else {
                throw Fault(.forbidden, "cannot \(action): it is not your project's")
            }
        }
    }
}

import Basics
package import Boot
package import HTTP
package import Protocol
import Store

// The door for ports.
extension NodesService {
    /// Ports of one page.
    package func ports(
        node reference: String?,
        address: MACAddress?,
        after marker: PortID?,
        limit: Int,
        by principal: Principal?
    ) async throws -> [Port] {
        var project: String?
        if let principal, !principal.isSystem { project = principal.projectID ?? "" }
        return try await database.read { [project, sealer] transaction in
            let node = try reference.map {
                try transaction.visibleNode($0, to: principal, sealer: sealer).id
            }
            return try transaction.ports(
                node: node,
                address: address,
                visibleTo: project,
                after: marker,
                limit: limit
            )
        }
    }

    /// The port with this identifier.
    /// - Throws: `Fault` of kind `notFound`, also when its node may not be seen.
    package func port(_ id: PortID, by principal: Principal?) async throws -> Port {
        try await database.read { [sealer] transaction in
            guard let port = try transaction.port(id),
                let node = try transaction.node(port.node, sealer: sealer),
                NodeAccess.isVisible(node, to: principal)
            else {
                throw Fault(.notFound, "cannot find port \(id): there is none with this UUID")
            }
            return port
        }
    }

    /// Adds a port to a node.
    /// - Throws: `Fault` of kind `conflict` when the MAC or the name is taken.
    package func createPort(
        id wanted: PortID?,
        node reference: String,
        address: MACAddress,
        by principal: Principal?,
        edit: @escaping @Sendable (inout Port) throws -> Void
    ) async throws -> Port {
        let now = time.now
        let id = wanted ?? random.identifier()
        return try await database.write { [sealer] transaction in
            let node = try transaction.visibleNode(reference, to: principal, sealer: sealer)
            try NodeAccess.requireChange(of: node, by: principal, to: "add a port to \(node.label)")
            guard try transaction.port(id) == nil else {
                throw Fault(
                    .conflict,
                    "cannot create port \(id): one with this UUID exists already"
                )
            }
            var port = Port(id: id, node: node.id, address: address, at: now)
            try edit(&port)
            try transaction.save(port, cause: "registered", at: now)
            return port
        }
    }

    /// Changes a port.
    package func updatePort(
        _ id: PortID,
        by principal: Principal?,
        edit: @escaping @Sendable (inout Port) throws -> Void
    ) async throws -> Port {
        let now = time.now
        let seen = try await port(id, by: principal)
        return try await database.write { [sealer] transaction in
            let node = try transaction.visibleNode(
                seen.node.text,
                to: principal,
                sealer: sealer
            )
            try NodeAccess.requireChange(
                of: node,
                by: principal,
                to: "change a port of \(node.label)"
            )
            guard var port = try transaction.port(id) else {
                throw Fault(.notFound, "cannot find port \(id): there is none with this UUID")
            }
            try edit(&port)
            port.updatedAt = now
            try transaction.save(port, cause: "updated", at: now)
            return port
        }
    }

    /// Takes a port away.
    package func deletePort(_ id: PortID, by principal: Principal?) async throws {
        let now = time.now
        let seen = try await port(id, by: principal)
        try await database.write { [sealer] transaction in
            let node = try transaction.visibleNode(
                seen.node.text,
                to: principal,
                sealer: sealer
            )
            try NodeAccess.requireChange(
                of: node,
                by: principal,
                to: "remove a port of \(node.label)"
            )
            try transaction.delete(seen, at: now)
        }
    }
}

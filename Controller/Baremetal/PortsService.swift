import Basics
package import Boot
package import HTTP
package import Protocol
import Store

// The door for ports that the controller itself registers; `ResourceKind.port` is the API's.
extension NodesService {
    /// Whether a port with this MAC is registered.
    package func hasPort(_ address: MACAddress) async throws -> Bool {
        try await database.read { try $0.port(at: address) != nil }
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
            try NodeAccess.requireChange(
                of: node,
                by: principal,
                to: "add a port to \(node.label)",
                .wire
            )
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
}

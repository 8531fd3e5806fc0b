package import Boot
package import HTTP
package import Protocol

/// A network interface of a node.
package struct Port: Sendable, Equatable {
    package let id: PortID
    package let node: NodeID
    package var address: MACAddress
    package var name: String?
    /// Whether the machine may boot from it.
    package var isPXEEnabled: Bool
    package var extra: [String: JSONValue]
    /// The switch port at the other end of the cable.
    package var localLink: [String: JSONValue]
    package var physicalNetwork: String?
    package var isSmartNIC: Bool
    package var description: String?
    package var createdAt: Timestamp
    package var updatedAt: Timestamp?

    package init(id: PortID, node: NodeID, address: MACAddress, at now: Timestamp) {
        self.id = id
        self.node = node
        self.address = address
        isPXEEnabled = true
        extra = [:]
        localLink = [:]
        isSmartNIC = false
        createdAt = now
    }
}

import Basics
import HTTP
import Power
import Protocol
import Store

/// What a node's BMC is told to send its events to, and how what comes there is known to be its.
///
/// The capability in the address is a code over the node and its BMC, so that nothing of it is stored: with another
/// BMC, another system of it or another user it is another one, and the old one is worth nothing.
struct EventTarget: Equatable {
    /// Names the target among those of the node; no secret.
    let mark: String
    /// 32 bytes as text: whoever has it may tell events of the node.
    let capability: Secret

    init(of node: NodeID, at bmc: BMC, for url: String, _ sealer: Sealer) {
        let access = bmc.redfish ?? RedfishAccess()
        let place = [
            node.text, bmc.endpoint, "\(access.isSecure)", access.root, access.system ?? "",
            bmc.user, url,
        ].map { "\($0.utf8.count):\($0)" }.joined()
        let name = sealer.code(of: place, for: "name of an event subscription")
        mark = Base64URL.encode(Array(name.prefix(12)))
        let code = sealer.code(of: place, for: "capability of an event subscription")
        capability = Secret(Base64URL.encode(code))
    }

    /// As the BMC keeps it.
    func subscription(of node: NodeID, at url: String) -> EventSubscription {
        EventSubscription(
            destination: Secret("\(url)/v1/redfish_events/\(node)/\(capability.reveal())"),
            mark: Self.mark(of: node, mark)
        )
    }

    /// How our subscriptions are told from others'.
    static func mark(of node: NodeID, _ target: String) -> String { "rdo \(node) \(target)" }
}

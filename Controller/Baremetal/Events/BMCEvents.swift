import HTTP
import Power

/// What a BMC tells in one message: Redfish's `Event` resource.
///
/// It is untrusted: of each event a few texts are kept, bounded and without control characters.
struct BMCEvents: Equatable {
    struct Event: Equatable {
        /// Such as `ResourceEvent.1.0.ResourceErrorsDetected`.
        let name: String
        /// `OK`, `Warning` or `Critical`; anything else counts as `OK`.
        let severity: String
        let message: String
        /// The path of what it is about.
        let origin: String?

        var isAlert: Bool { severity == "Warning" || severity == "Critical" }
    }

    /// Events of a message at most; more are left out.
    static let eventsMax = 64
    let events: [Event]

    /// - Returns: `nil` for what is no message of events.
    init?(_ document: JSONValue) {
        guard let list = document["Events"]?.elements, !list.isEmpty else { return nil }
        events = list.prefix(Self.eventsMax).compactMap { item in
            guard item.members != nil else { return nil }
            // `Severity` until 1.5 of the schema, `MessageSeverity` since.
            let severity = item["MessageSeverity"]?.text ?? item["Severity"]?.text ?? "OK"
            return Event(
                name: Self.plain(item["MessageId"]?.text ?? item["EventType"]?.text, max: 100),
                severity: ["Warning", "Critical"].contains(severity) ? severity : "OK",
                message: Self.plain(item["Message"]?.text, max: 300),
                origin: (item["OriginOfCondition"]?["@odata.id"] ?? item["OriginOfCondition"])?.text
            )
        }
        guard !events.isEmpty else { return nil }
    }

    private static func plain(_ text: String?, max: Int) -> String {
        String(
            (text ?? "").unicodeScalars.prefix(max).map { scalar in
                scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
                    || (0x2028...0x202e).contains(scalar.value) ? " " : Character(scalar)
            }
        )
    }
}

extension BMCEvents.Event {
    /// Whether it is about another machine that the same BMC has: a blade beside the node.
    func isForeign(to bmc: BMC) -> Bool {
        guard let access = bmc.redfish, let own = access.system, let origin else { return false }
        let systems = access.root + "/Systems/"
        return origin.hasPrefix(systems) && origin != own && !origin.hasPrefix(own + "/")
    }

    /// For the node's history: who says it stands before what it says.
    var sentence: String {
        let name = name.isEmpty ? "" : " \(name)"
        return "its BMC reports (\(severity))\(name): “\(message)”"
    }
}

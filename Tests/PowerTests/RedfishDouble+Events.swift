import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Synchronization

@testable import Power

// The service's eventing: it keeps subscriptions and posts to their destinations.
extension RedfishDouble {
    private static let list = "/redfish/v1/EventService/Subscriptions"

    /// The subscriptions that it has, those of others left out.
    var subscriptions: [JSONValue] {
        state.withLock { state in
            state.documents.filter { $0.key.hasPrefix(Self.list + "/") }.map(\.value)
                .filter { $0["Id"] != "others" }
                .sorted { ($0["Id"]?.text ?? "") < ($1["Id"]?.text ?? "") }
        }
    }

    /// Forgets what was subscribed, as a BMC does that was reset.
    func forgetSubscriptions() {
        state.withLock { state in
            for path in state.documents.keys where path.hasPrefix(Self.list + "/") {
                _ = drop(path, &state)
            }
        }
    }

    /// Tells all subscribers of something that happened.
    func publish(
        _ name: String,
        _ severity: String,
        _ message: String,
        origin: String,
        _ state: State
    ) {
        for (path, document) in state.documents.sorted(by: { $0.key < $1.key })
        where path.hasPrefix(Self.list + "/") {
            guard let destination = document["Destination"]?.text else { continue }
            let event: JSONValue = [
                "MessageId": .string(name), "Severity": .string(severity),
                "MessageSeverity": .string(severity), "Message": .string(message),
                "EventType": "Alert", "OriginOfCondition": ["@odata.id": .string(origin)],
            ]
            let body: JSONValue = [
                "@odata.type": "#Event.v1_7_0.Event", "Id": "1", "Name": "Event Array",
                "Context": document["Context"] ?? .null, "Events": [event],
            ]
            outbox.yield(Delivery(destination: destination, body: body))
        }
    }

    /// Posts until cancelled; what cannot be delivered is lost.
    func deliver(_ deliveries: AsyncStream<Delivery>) async {
        let transport = HTTPRedfishTransport(connectBudget: .seconds(2), time: SystemTime())
        for await delivery in deliveries {
            guard let address = RedfishAddress(delivery.destination) else { continue }
            let receiver = BMC(
                host: address.host,
                port: address.port,
                user: "",
                password: Secret(""),
                redfish: RedfishAccess(isSecure: address.isSecure)
            )
            // Others' destinations do not exist.
            _ = try? await transport.send(
                RedfishRequest(
                    "POST",
                    address.path,
                    headers: [(name: "Content-Type", value: "application/json")],
                    body: delivery.body.canonicalBytes
                ),
                to: receiver,
                bytesMax: 1 << 16,
                within: .seconds(5)
            )
        }
        await transport.close()
    }

    func subscribe(_ path: String, _ body: JSONValue, _ state: inout State) -> Response {
        guard var list = state.documents[path], let members = list["Members"]?.elements else {
            return .json(error("there is no \(path)"), status: .notFound)
        }
        switch way("events")?.text {
        case "by-kind" where body["SubscriptionType"] != nil || body["EventTypes"] == nil:
            return .json(error("EventTypes is missing"), status: .badRequest)
        case "echo":
            let given = body["Destination"]?.text ?? ""
            return .json(error("cannot reach \(given)"), status: .badRequest)
        default: break
        }
        guard body["Destination"]?.text != nil, body["Protocol"] == "Redfish" else {
            return .json(error("Destination and Protocol are required"), status: .badRequest)
        }
        state.subscriptionsMade += 1
        let id = "\(state.subscriptionsMade)"
        var document = body
        document["Id"] = .string(id)
        document["Status"] = ["State": "Enabled"]
        state.documents["\(path)/\(id)"] = document
        list["Members"] = .array(members + [["@odata.id": .string("\(path)/\(id)")]])
        state.documents[path] = list
        var response = Response(status: .created)
        response.headers[.location] = "\(path)/\(id)"
        return response
    }

    /// Takes a member out of its collection.
    func drop(_ path: String, _ state: inout State) -> Bool {
        guard state.documents.removeValue(forKey: path) != nil else { return false }
        let owner = String(path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex))
        let left = (state.documents[owner]?["Members"]?.elements ?? []).filter {
            $0["@odata.id"]?.text != path
        }
        state.documents[owner]?["Members"] = .array(left)
        return true
    }
}

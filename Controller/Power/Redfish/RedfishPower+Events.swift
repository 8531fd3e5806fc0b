import Basics
import HTTP

// The eventing of DMTF's DSP0266 (section “Eventing”): a BMC posts its events to the destinations of its
// subscriptions.

extension RedfishPower: EventControl {
    package func subscribe(
        _ subscription: EventSubscription,
        of bmc: BMC
    ) async throws -> Bool {
        try await client.call(bmc, to: "subscribe to the events") { call in
            do {
                return try await call.subscribe(subscription)
            } catch RedfishTrouble.refused(let status, let words) {
                // A BMC that repeats what it was told must not tell others where events are taken.
                let secret = subscription.destination.reveal().split(separator: "/").last ?? ""
                throw RedfishTrouble.refused(status, words.replacing(secret, with: "***"))
            }
        }
    }

    package func unsubscribe(_ mark: String, of bmc: BMC) async throws {
        try await client.call(bmc, to: "end the subscription to the events") { call in
            guard let service = try await call.eventService() else { return }
            for found in try await call.subscriptions(of: service, mark) {
                try await call.delete(found.path)
            }
        }
    }
}

extension RedfishCall {
    /// Subscriptions of a BMC that are looked at; services have some 10 to 30 at most.
    private static let subscriptionsMax = 64
    /// What is asked for where a service wants kinds of events to be named.
    private static let kinds = ["StatusChange", "ResourceUpdated", "ResourceAdded", "Alert"]

    /// `nil` where there is none, or it is switched off.
    fileprivate func eventService() async throws -> RedfishDocument? {
        let service = try await find(try await root().events)
        return service?.value["ServiceEnabled"]?.bool == false ? nil : service
    }

    /// Those of ours.
    fileprivate func subscriptions(
        of service: RedfishDocument,
        _ mark: String
    ) async throws -> [RedfishDocument] {
        guard let link = RedfishAnswer.link(service.value["Subscriptions"]),
            let list = try await find(link)
        else { throw RedfishTrouble.unsupported("event subscriptions") }
        var found: [RedfishDocument] = []
        let members = RedfishAnswer.links(list.value["Members"])
        for member in members.prefix(Self.subscriptionsMax) {
            guard let document = try await find(member),
                document.value["Context"]?.text == mark
            else { continue }
            found.append(document)
        }
        return found
    }

    fileprivate func subscribe(_ wanted: EventSubscription) async throws -> Bool {
        guard let service = try await eventService() else {
            throw RedfishTrouble.unsupported("event subscriptions")
        }
        let destination = wanted.destination.reveal()
        var stands = false
        for found in try await subscriptions(of: service, wanted.mark) {
            // Some services do not show the destination; the mark names it already.
            let isSame = found.value["Destination"]?.text ?? destination == destination
            let isOver = found.value["Status"]?["State"]?.text == "Disabled"
            if isSame, !isOver, !stands {
                stands = true
            } else {
                try await delete(found.path)
            }
        }
        guard !stands else { return false }
        guard let link = RedfishAnswer.link(service.value["Subscriptions"]) else {
            throw RedfishTrouble.unsupported("event subscriptions")
        }
        var order: JSONValue = [
            "Destination": .string(destination), "Protocol": "Redfish",
            "Context": .string(wanted.mark),
        ]
        let types = RedfishAnswer.texts(service.value["SubscriptionType@Redfish.AllowableValues"])
        if types.isEmpty || types.contains("RedfishEvent") {
            order["SubscriptionType"] = "RedfishEvent"
        }
        do {
            try await post(link, order)
        } catch RedfishTrouble.refused(let status, _) where [400, 422].contains(status) {
            // Services of before 2018 know no such type and want the kinds of events.
            order["SubscriptionType"] = nil
            let known = RedfishAnswer.texts(service.value["EventTypesForSubscription"])
            let kinds = known.isEmpty ? ["Alert"] : Self.kinds.filter(known.contains)
            order["EventTypes"] = .array(kinds.map(JSONValue.string))
            try await post(link, order)
        }
        return true
    }
}

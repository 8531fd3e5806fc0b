import Basics
import Harness
import HTTP
import Synchronization
import Testing

@testable import Power

@Suite struct RedfishEventTests {
    private static let mark = "rdo node target"

    private func wanted(_ destination: String, mark: String = mark) -> EventSubscription {
        EventSubscription(destination: Secret(destination), mark: mark)
    }

    private func with(
        _ recording: String,
        _ body: @escaping @Sendable (RedfishPower, BMC, RedfishDouble) async throws -> Void
    ) async throws {
        let double = try RedfishDouble(recording)
        try await double.serve { port in
            try await RedfishSubject.drive(.double(port: port)) { driver, bmc in
                try await body(driver, bmc, double)
            }
        }
    }

    @Test func `a subscription is made once, and again when the BMC forgot it`() async throws {
        try await with("events") { driver, bmc, double async throws in
            let one = wanted("https://192.0.2.1:6385/events/a")
            #expect(try await driver.subscribe(one, of: bmc))
            #expect(try await !driver.subscribe(one, of: bmc))
            #expect(double.subscriptions.count == 1)
            #expect(double.subscriptions[0]["Destination"] == "https://192.0.2.1:6385/events/a")
            #expect(double.subscriptions[0]["SubscriptionType"] == "RedfishEvent")
            double.forgetSubscriptions()
            #expect(try await driver.subscribe(one, of: bmc))
            #expect(double.subscriptions.count == 1)
        }
    }

    @Test func `one that sends elsewhere, or a second one, is ended; others' are left alone`()
        async throws
    {
        try await with("events") { driver, bmc, double async throws in
            _ = try await driver.subscribe(wanted("https://192.0.2.1/a"), of: bmc)
            _ = try await driver.subscribe(wanted("https://192.0.2.1/b"), of: bmc)
            #expect(double.subscriptions.map { $0["Destination"]?.text } == ["https://192.0.2.1/b"])
            let twice = double.subscriptions[0]
            double.state.withLock { state in
                _ = double.subscribe(
                    "/redfish/v1/EventService/Subscriptions",
                    [
                        "Destination": twice["Destination"] ?? .null, "Protocol": "Redfish",
                        "Context": .string(Self.mark),
                    ],
                    &state
                )
            }
            #expect(double.subscriptions.count == 2)
            #expect(try await !driver.subscribe(wanted("https://192.0.2.1/b"), of: bmc))
            #expect(double.subscriptions.count == 1)
            _ = try await driver.subscribe(wanted("https://192.0.2.1/c", mark: "other"), of: bmc)
            try await driver.unsubscribe(Self.mark, of: bmc)
            #expect(double.subscriptions.map { $0["Context"]?.text } == ["other"])
            try await driver.unsubscribe(Self.mark, of: bmc)
            let others = double.document("/redfish/v1/EventService/Subscriptions/others")
            #expect(others["Context"] == "somebody else's")
        }
    }

    @Test func `a service that wants kinds of events gets those that it has`() async throws {
        try await with("events-by-kind") { driver, bmc, double async throws in
            #expect(try await driver.subscribe(wanted("https://192.0.2.1/a"), of: bmc))
            #expect(double.subscriptions[0]["EventTypes"] == ["StatusChange", "Alert"])
            #expect(double.subscriptions[0]["SubscriptionType"] == nil)
        }
    }

    @Test func `a BMC without events says so`() async throws {
        try await with("plain") { driver, bmc, _ in
            let fault = await #expect(throws: PowerFault.self) {
                _ = try await driver.subscribe(wanted("https://192.0.2.1/a"), of: bmc)
            }
            #expect(fault?.reason == .unsupported)
            try await driver.unsubscribe(Self.mark, of: bmc)
        }
    }

    @Test func `a BMC that repeats the address does not give the capability away`() async throws {
        try await with("events-refused") { driver, bmc, _ in
            let fault = await #expect(throws: PowerFault.self) {
                let secret = wanted("https://192.0.2.1/v1/redfish_events/n/capability")
                _ = try await driver.subscribe(secret, of: bmc)
            }
            #expect(fault?.message.contains("cannot reach https://192.0.2.1") == true)
            #expect(fault.map { "\($0.message)\($0.detail)".contains("capability") } == false)
        }
    }
}

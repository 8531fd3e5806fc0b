import Basics
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Power
import Protocol
import Store
import Synchronization
import Testing

@testable import Baremetal

private let root = "https://192.0.2.1:6385"
private let bmcEndpoint = "192.0.2.201:443"

@Suite struct EventSubscriberTests {
    private let bench: Bench
    private let events: MemoryEvents

    init() throws {
        bench = try Bench { $0.eventsURL = root }
        events = try #require(bench.service.drivers["redfish"]?.events as? MemoryEvents)
    }

    private var subscriber: EventSubscriber { EventSubscriber(service: bench.service) }

    private func managed() async throws -> NodeID {
        let id = try await bench.registerRedfish()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        return id
    }

    private func history(_ id: NodeID) async throws -> [String] {
        try await bench.database.read {
            try $0.history(of: id, after: nil, descending: false, limit: 300).map(\.event)
        }
    }

    @Test func `a managed node's BMC is told once where its events go`() async throws {
        let id = try await bench.registerRedfish()
        try await subscriber.turn()
        #expect(events.asked == 0, "nobody proved yet that the BMC is the node's")
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        try await subscriber.turn()
        try await subscriber.turn()
        #expect(events.asked == 1)
        let told = events.destinations(bmcEndpoint)
        #expect(told.count == 1)
        #expect(told[0].hasPrefix("\(root)/v1/redfish_events/\(id)/"))
        #expect(told[0].split(separator: "/").last?.utf8.count == 43)
        #expect(try await history(id).contains("its BMC sends its events from now on"))
    }

    @Test func `a BMC that forgot is told again, also by a controller that started anew`()
        async throws
    {
        let id = try await managed()
        try await subscriber.turn()
        let told = events.destinations(bmcEndpoint)
        events.forget()
        bench.world.time.advance(.seconds(601))
        try await subscriber.turn()
        #expect(events.destinations(bmcEndpoint) == told)
        #expect(try await history(id).contains { $0.contains("had forgotten") })
    }

    @Test func `another BMC address moves the subscription, a deleted node ends it`() async throws {
        let id = try await managed()
        try await subscriber.turn()
        let first = events.destinations(bmcEndpoint)
        bench.world.time.advance(.seconds(1))
        _ = try await bench.service.update(id.text, by: nil) {
            $0.driverInfo.fields["redfish_address"] = "https://192.0.2.202"
        }
        try await subscriber.turn()
        try await subscriber.turn()
        #expect(events.destinations(bmcEndpoint) == [])
        let second = events.destinations("192.0.2.202:443")
        #expect(second.count == 1)
        #expect(second != first, "what the old BMC knows is worth nothing any more")
        try await bench.service.delete(id.text, by: nil)
        try await subscriber.turn()
        #expect(events.destinations("192.0.2.202:443") == [])
        let rows = try await bench.database.read { [sealer = bench.service.sealer] in
            try $0.subscriptions(of: id, sealer: sealer)
        }
        #expect(rows == [])
    }

    @Test func `another driver and a noop management end the subscription`() async throws {
        let id = try await managed()
        try await subscriber.turn()
        bench.world.time.advance(.seconds(1))
        _ = try await bench.service.update(id.text, by: nil) {
            $0.interfaces["management_interface"] = "noop"
        }
        try await subscriber.turn()
        try await subscriber.turn()
        #expect(events.destinations(bmcEndpoint) == [])
        bench.world.time.advance(.seconds(1))
        _ = try await bench.service.update(id.text, by: nil) { $0.interfaces = [:] }
        try await subscriber.turn()
        #expect(events.destinations(bmcEndpoint).count == 1)
        bench.world.time.advance(.seconds(1))
        _ = try await bench.service.update(id.text, by: nil) { $0.driver = "manual-management" }
        try await subscriber.turn()
        #expect(events.destinations(bmcEndpoint) == [])
    }

    @Test func `switched off in the configuration, what was subscribed is ended`() async throws {
        _ = try await managed()
        try await subscriber.turn()
        let other = try Bench(database: bench.database)
        let events = try #require(other.service.drivers["redfish"]?.events as? MemoryEvents)
        let told = self.events.state.withLock(\.subscriptions)
        events.state.withLock { $0.subscriptions = told }
        try await EventSubscriber(service: other.service).turn()
        #expect(events.destinations(bmcEndpoint) == [])
        try await EventSubscriber(service: other.service).turn()
        #expect(events.asked == 1)
    }

    @Test func `a BMC that refuses is asked with growing pauses, one without events once a day`()
        async throws
    {
        let id = try await managed()
        events.fail(PowerFault(.refused, "cannot subscribe to the events: no place"))
        for _ in 0..<60 {
            try await subscriber.turn()
            bench.world.time.advance(.seconds(60))
        }
        #expect((4...8).contains(events.asked), "\(events.asked)")
        #expect(try await history(id).count { $0.contains("no place") } == 1)
        events.fail(PowerFault(.unsupported, "cannot subscribe to the events: it has none"))
        bench.world.time.advance(.seconds(3600))
        try await subscriber.turn()
        let asked = events.asked
        for _ in 0..<60 {
            try await subscriber.turn()
            bench.world.time.advance(.seconds(60))
        }
        #expect(events.asked == asked)
    }

    @Test func `a BMC that is gone is told to stop so often, then left alone`() async throws {
        let id = try await managed()
        try await subscriber.turn()
        try await bench.service.delete(id.text, by: nil)
        events.fail(PowerFault(.noAnswer, "cannot end the subscription: no answer"))
        let asked = events.asked
        for _ in 0..<200 {
            try await subscriber.turn()
            bench.world.time.advance(.seconds(600))
        }
        #expect(events.asked - asked == EventSubscriber.endsMax)
    }
}

@Suite struct BMCEventTests {
    private let bench: Bench

    init() throws { bench = try Bench { $0.eventsURL = root } }

    private func managed() async throws -> (id: NodeID, path: String) {
        let id = try await bench.registerRedfish()
        try await bench.ask(.manage, id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        let bmc = try node.driverInfo.redfish(label: "c0")
        let target = EventTarget(of: id, at: bmc, for: root, bench.service.sealer)
        let told = target.subscription(of: id, at: root).destination.reveal()
        return (id, String(told.dropFirst(root.count)))
    }

    private func alert(
        _ severity: String = "Critical",
        _ message: String = "fan 3 failed",
        origin: String = "/redfish/v1/Chassis/1U"
    ) -> JSONValue {
        [
            "Context": "rdo",
            "Events": [
                [
                    "MessageId": "Platform.1.0.FanFailed", "Severity": .string(severity),
                    "Message": .string(message),
                    "OriginOfCondition": ["@odata.id": .string(origin)],
                ]
            ],
        ]
    }

    private func alerts(_ id: NodeID) async throws -> [String] {
        try await bench.database.read {
            try $0.history(of: id, after: nil, descending: false, limit: 300).map(\.event)
                .filter { $0.contains("BMC reports") }
        }
    }

    @Test func `a power switch is noticed at once, by looking and not by believing`() async throws {
        let (id, path) = try await managed()
        let world = bench.world
        #expect(try await bench.service.find(id)?.powerState == .off)
        try await bench.withClient { client async throws in
            let lie: JSONValue = [
                "Events": [["MessageId": "X", "Message": "on", "PowerState": "On"]]
            ]
            #expect(try await client.ask(.post, path, lie).status == 204)
        }
        _ = await bench.reconciler.reconcile(id)
        #expect(try await bench.service.find(id)?.powerState == .off)
        world.edit(id) { $0.power = .on }
        world.time.advance(.seconds(3))
        _ = await bench.reconciler.reconcile(id)
        #expect(try await bench.service.find(id)?.powerState == .off, "nothing said so")
        try await bench.withClient { client async throws in
            #expect(try await client.ask(.post, path, self.alert("OK", "power on")).status == 204)
        }
        _ = await bench.reconciler.reconcile(id)
        #expect(try await bench.service.find(id)?.powerState == .on)
        #expect(try await alerts(id) == [])
    }

    @Test func `alerts stand in the history and the feed, in the BMC's words and bounded`()
        async throws
    {
        let (id, path) = try await managed()
        let long = "fan\u{1b}[2J\u{202e}" + String(repeating: "x", count: 5000)
        try await bench.withClient { client async throws in
            #expect(try await client.ask(.post, path, self.alert("Critical", long)).status == 204)
        }
        let lines = try await alerts(id)
        #expect(lines.count == 1)
        #expect(lines[0].hasPrefix("its BMC reports (Critical) Platform.1.0.FanFailed: “fan [2J x"))
        #expect(lines[0].count < 400)
        let change = try await bench.database.read {
            try $0.changes(after: 0, limit: 1000).last
        }
        #expect(change?.cause == lines[0])
        #expect(change?.before == change?.after)
        #expect(try await bench.service.find(id)?.state == .manageable)
    }

    @Test func `whoever does not know the capability learns nothing and wakes nobody`()
        async throws
    {
        let (id, path) = try await managed()
        let prefix = path.prefix(path.count - 43)
        try await bench.withClient { client async throws in
            var answers: Set<String> = []
            for wrong in [
                prefix + String(repeating: "A", count: 43), String(path.dropLast(1)), path + "A",
                "/v1/redfish_events/aaaaaaaa-0000-4000-8000-000000000009/" + path.suffix(43),
                "/v1/redfish_events/c0/" + path.suffix(43), "/v1/redfish_events/%00/x",
            ] {
                let answer = try await client.ask(.post, wrong, self.alert())
                #expect(answer.status == 404, "\(wrong)")
                answers.insert(answer.body.canonicalText)
            }
            #expect(answers.count == 1, "\(answers)")
        }
        #expect(!bench.service.hints.withLock { $0.isHinted(id) })
        #expect(try await alerts(id) == [])
    }

    @Test func `an old address is worth nothing after the BMC's changed`() async throws {
        let (id, path) = try await managed()
        _ = try await bench.service.update(id.text, by: nil) {
            $0.driverInfo.fields["redfish_address"] = "https://192.0.2.202"
        }
        try await bench.withClient { client async throws in
            #expect(try await client.ask(.post, path, self.alert()).status == 404)
        }
    }

    @Test func `what is no message, or too large a one, is refused`() async throws {
        let (id, path) = try await managed()
        try await bench.withClient { client async throws in
            for wrong in [[:], ["Events": []], ["Events": "x"], ["Events": [1, 2]], []]
                as [JSONValue]
            {
                #expect(try await client.ask(.post, path, wrong).status == 400, "\(wrong)")
            }
            let huge = String(repeating: "x", count: 10 << 20)
            let answer = try await client.ask(.post, path, self.alert("OK", huge))
            #expect(answer.status == 413)
            let deep = String(repeating: "[", count: 60_000)
            let nested = try await client.http.execute(
                uri: path,
                method: .post,
                body: ByteBuffer(string: deep)
            )
            #expect(nested.status == .badRequest)
            let many: JSONValue = [
                "Events": .array((0..<300).map { _ in ["Severity": "Warning", "Message": "m"] })
            ]
            #expect(try await client.ask(.post, path, many).status == 204)
        }
        #expect(try await alerts(id).count == EventHints.linesMax)
    }

    @Test func `a flood is cut off, and the machine asked now and then`() async throws {
        let (id, path) = try await managed()
        let time = bench.world.time
        try await bench.withClient { client async throws in
            var statuses: [Int: Int] = [:]
            for _ in 0..<200 {
                statuses[try await client.ask(.post, path, self.alert()).status, default: 0] += 1
            }
            #expect(statuses == [204: 30, 429: 170])
            time.advance(.seconds(10))
            statuses = [:]
            for _ in 0..<20 {
                statuses[try await client.ask(.post, path, self.alert()).status, default: 0] += 1
            }
            #expect(statuses == [204: 5, 429: 15])
        }
        #expect(try await alerts(id).count == EventHints.linesMax)
        let outcome = await bench.reconciler.reconcile(id)
        bench.service.hints.withLock { $0.hint(id) }
        guard case .wait(_, let until) = await bench.reconciler.reconcile(id) else {
            Issue.record("it looks again at once: \(outcome)")
            return
        }
        #expect(until > time.now)
    }

    @Test func `another machine of the same BMC is looked at and not written down`() async throws {
        let (id, _) = try await managed()
        _ = try await bench.service.update(id.text, by: nil) {
            $0.driverInfo.fields["redfish_system_id"] = "/redfish/v1/Systems/1"
        }
        let node = try #require(try await bench.service.find(id))
        for (origin, isTaken) in [
            ("/redfish/v1/Systems/2", false), ("/redfish/v1/Systems/12/Bios", false),
            ("/redfish/v1/Systems/1/Memory/3", true), ("/redfish/v1/Chassis/1U", true),
        ] {
            let before = try await alerts(id).count
            let events = try #require(BMCEvents(alert(origin: origin)))
            try await bench.service.take(events, of: node)
            #expect(try await alerts(id).count - before == (isTaken ? 1 : 0), "\(origin)")
        }
    }
}

import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Power
import Protocol
import Store
import Synchronization
import Testing

@testable import Baremetal

/// Subscribing and delivering over real connections, with a double that posts.
@Suite struct BMCEventDeliveryTests {
    private struct Place: Sendable {
        let service: NodesService
        let reconciler: NodeReconciler
        let driver: RedfishPower
    }

    /// The routes, which are known once the port is.
    private final class Late: Sendable {
        let responder = Mutex<(any HTTPResponder<APIContext>)?>(nil)
    }

    private func service(_ bench: Bench, _ driver: RedfishPower, _ url: String) -> Place {
        var settings = bench.service.settings
        settings.eventsURL = url
        let service = NodesService(
            database: bench.database,
            sealer: bench.service.sealer,
            images: SimulatedImages(),
            drivers: [.redfish(driver)],
            queue: NodeQueue(),
            settings: settings,
            time: bench.world.time,
            random: SeededRandom(seed: 7),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        return Place(
            service: service,
            reconciler: NodeReconciler(service: service, agents: bench.world, keys: bench.world),
            driver: driver
        )
    }

    /// Serves the route for BMCs while the body runs.
    private func serve(
        _ bench: Bench,
        _ body: @escaping @Sendable (Place) async throws -> Void
    ) async throws {
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        let late = Late()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let application = Application(
            responder: CallbackResponder { (request: Request, context: APIContext) in
                guard let responder = late.responder.withLock({ $0 }) else {
                    throw HTTPError(.serviceUnavailable)
                }
                return try await responder.respond(to: request, context: context)
            },
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { continuation.yield($0.localAddress?.port ?? 0) },
            logger: logger
        )
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await application.run()
                return false
            }
            group.addTask {
                var iterator = ports.makeAsyncIterator()
                guard let port = await iterator.next() else { return false }
                let driver = RedfishPower(settings: RedfishSettings(), time: SystemTime())
                let place = service(bench, driver, "http://127.0.0.1:\(port)")
                let surface = Surface(
                    authenticator: nil,
                    logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                    time: SystemTime(),
                    random: SystemRandom()
                )
                BMCEventsAPI(service: place.service).addRoutes(to: surface)
                let made: any HTTPResponder<APIContext> = surface.makeRouter().buildResponder()
                late.responder.withLock { $0 = made }
                do {
                    try await body(place)
                } catch {
                    await driver.shutDown()
                    throw error
                }
                await driver.shutDown()
                return true
            }
            defer { group.cancelAll() }
            while let isDone = try await group.next() {
                if isDone { return }
            }
        }
    }

    private func eventually(
        _ what: String,
        _ holds: () async throws -> Bool
    ) async throws {
        for _ in 0..<200 {
            if try await holds() { return }
            try await SystemTime().sleep(for: .milliseconds(50))
        }
        Issue.record("\(what) did not come within 10 s")
    }

    @Test func `a machine that somebody switches is seen without a poll, also after a BMC's reset`()
        async throws
    {
        let bench = try Bench()
        let double = try RedfishDouble("events")
        try await double.serve { port in
            try await self.serve(bench) { place in
                let node = try await place.service.create(id: nil, driver: "redfish", by: nil) {
                    $0.name = "c0"
                    $0.driverInfo = DriverInfo(
                        fields: [
                            "redfish_address": .string("http://127.0.0.1:\(port)"),
                            "redfish_username": .string(RedfishDouble.user),
                        ],
                        secrets: ["redfish_password": Secret(RedfishDouble.password)]
                    )
                }
                let id = node.id
                func settle(_ power: PowerState) async throws {
                    try await self.eventually("power \(power)") {
                        guard place.service.hints.withLock({ $0.isHinted(id) }) else {
                            return try await place.service.find(id)?.powerState == power
                        }
                        bench.world.time.advance(.seconds(3))
                        _ = await place.reconciler.reconcile(id)
                        return try await place.service.find(id)?.powerState == power
                    }
                }
                _ = try await place.service.request(.manage, for: "c0", by: nil)
                _ = await place.reconciler.reconcile(id)
                #expect(try await place.service.find(id)?.state == .manageable)
                let subscriber = EventSubscriber(service: place.service)
                try await subscriber.turn()
                #expect(double.subscriptions.count == 1)
                // Somebody presses the button.
                let bmc = try #require(try await place.service.find(id)?.driverInfo).redfish(
                    label: "c0"
                )
                try await place.driver.change(.on, of: bmc)
                try await settle(.on)
                double.forgetSubscriptions()
                bench.world.time.advance(.seconds(601))
                try await subscriber.turn()
                #expect(double.subscriptions.count == 1)
                try await place.driver.change(.off, of: bmc)
                try await settle(.off)
                double.state.withLock {
                    double.publish("Fan.1.0.Failed", "Critical", "fan 3", origin: "/x", $0)
                }
                try await self.eventually("the alert") {
                    try await bench.database.read {
                        try $0.history(of: id, after: nil, descending: true, limit: 9)
                            .contains { $0.event.contains("fan 3") }
                    }
                }
                try await place.service.delete("c0", by: nil)
                try await subscriber.turn()
                #expect(double.subscriptions == [])
            }
        }
    }
}

import Basics
import HTTP
import HTTPTypes
import Power
import Protocol
import Testing

@testable import Baremetal

/// What a BMC measures and remembers, made up.
struct MemoryRecords: SensorControl, EventLogControl, NetworkControl {
    func readings(of bmc: BMC) async throws -> [SensorReading] {
        [
            SensorReading(
                kind: .temperature,
                name: "Inlet",
                value: 21.5,
                unit: "Cel",
                state: "ok",
                health: "OK"
            )
        ]
    }

    func events(of bmc: BMC, max: Int) async throws -> [BMCEvent] {
        (601 - max...600).map { number -> BMCEvent in
            let isMakers = number == 600
            return BMCEvent(
                id: UInt16(number),
                at: isMakers ? nil : "11/25/2026 18:00:00",
                source: "Temperature",
                sensor: "01",
                text: isMakers ? nil : "Upper Critical going high",
                isAsserted: isMakers ? nil : true,
                data: "576050"
            )
        }
    }

    func network(of bmc: BMC) async throws -> BMCNetwork {
        var network = BMCNetwork()
        network.address = "192.0.2.77"
        network.source = "DHCP Address"
        network.mac = "52:54:00:ab:cd:01"
        network.vlan = 17
        return network
    }
}

@Suite struct RecordRouteTests {
    @Test func `the newest entries of a BMC's event log are shown in its words`() async throws {
        let bench = try Bench()
        _ = try await bench.register()
        try await bench.withClient { client async throws in
            let path = "/v1/nodes/c0/event_log"
            let all = try await client.ask(.get, path).body["event_log"]?.elements ?? []
            #expect(all.count == 100, "a bound that nobody has to ask for")
            #expect(all.first?["id"] == 501)
            #expect(all.first?["text"] == "Upper Critical going high")
            #expect(all.first?["asserted"] == true)
            #expect(all.last?["time"] == .null)
            #expect(all.last?["text"] == .null)
            let two = try await client.ask(.get, path + "?limit=2").body["event_log"]?.elements
            #expect(two?.map { $0["id"] } == [599, 600])
            for wrong in ["0", "501", "-1", "many", "1e2", ""] {
                let answer = try await client.ask(.get, path + "?limit=\(wrong)")
                #expect(answer.status == 400, "\(wrong)")
                #expect(answer.fault.contains("1 to 500"), "\(answer.fault)")
            }
        }
    }

    @Test func `a BMC that thinks it is elsewhere shows`() async throws {
        let bench = try Bench()
        _ = try await bench.register()
        try await bench.withClient { client async throws in
            let bmc = try await client.ask(.get, "/v1/nodes/c0/bmc").body
            #expect(bmc["registered_address"] == "192.0.2.201")
            #expect(bmc["address"] == "192.0.2.77")
            #expect(bmc["is_registered_address"] == false)
            #expect(bmc["vlan"] == 17)
            #expect(bmc["gateway"] == .null)
            #expect(bmc["guid"] == .null)
        }
    }

    @Test func `sensors of an IPMI node are shown as those of Redfish are`() async throws {
        let bench = try Bench()
        _ = try await bench.register()
        try await bench.withClient { client async throws in
            let sensors = try await client.ask(.get, "/v1/nodes/c0/sensors").body
            #expect(sensors["sensors"]?.elements?.first?["value"] == .number(21.5))
            #expect(sensors["sensors"]?.elements?.first?["kind"] == "temperature")
        }
    }

    @Test func `a driver that cannot answers as one without the interface`() async throws {
        let bench = try Bench()
        _ = try await bench.registerRedfish()
        try await bench.withClient { client async throws in
            for path in ["event_log", "bmc"] {
                let answer = try await client.ask(.get, "/v1/nodes/c0/\(path)")
                #expect(answer.status == 400, "\(path)")
            }
        }
    }
}

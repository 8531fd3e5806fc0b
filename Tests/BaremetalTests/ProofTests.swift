import Agents
import Basics
import HTTP
import Logging
import Power
import Protocol
import Store
import Synchronization
import Testing

@testable import Baremetal

/// Event logs of BMCs, by the user's name.
private final class MemoryLogs: EventRecordControl {
    let records = Mutex<[String: [UInt16: EventRecord]]>([:])
    let isDead = Mutex(false)

    func record(_ number: UInt16, of bmc: BMC) async throws -> EventRecord? {
        if isDead.withLock({ $0 }) {
            throw PowerFault(.noAnswer, "cannot read the event log of BMC \(bmc.endpoint)")
        }
        return records.withLock { $0[bmc.user]?[number] }
    }

    func forget(_ number: UInt16, of bmc: BMC) async throws {
        records.withLock { $0[bmc.user]?[number] = nil }
    }
}

@Suite struct NodeProofTests {
    private let logs = MemoryLogs()
    private let data = [UInt8](repeating: 5, count: MachineProof.dataBytes)

    /// The services of a bench whose IPMI driver reads these logs.
    private func service(_ bench: Bench) -> NodesService {
        var ipmi = NodeDriver(name: "ipmi", power: bench.world, hasAgent: true, needsBMC: true)
        ipmi.records = logs
        return NodesService(
            database: bench.database,
            sealer: Sealer(key: Secret(bytes: [UInt8](repeating: 5, count: 32))),
            images: SimulatedImages(),
            drivers: [ipmi, .redfish(in: bench.world)],
            queue: NodeQueue(),
            settings: bench.service.settings,
            time: bench.world.time,
            random: SeededRandom(seed: 7),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }

    private func write(_ type: UInt8, _ data: [UInt8], for user: String = "bmc1") {
        logs.records.withLock { $0[user, default: [:]][9] = EventRecord(type: type, data: data) }
    }

    @Test func `the right record in the node's own BMC proves the machine, once`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        let service = service(bench)
        write(MachineProof.recordType, data)
        #expect(await service.check(9, holds: data, of: id) == .proven)
        #expect(await service.check(9, holds: data, of: id) == .proven, "until it is stored")
        await service.forget(9, of: id)
        #expect(logs.records.withLock { $0["bmc1"]?.isEmpty } == true, "the log is tidied up")
        guard case .refused = await service.check(9, holds: data, of: id) else {
            Issue.record("a record proves twice")
            return
        }
    }

    @Test func `a record in another node's BMC is refused with the address to look at`()
        async throws
    {
        let bench = try Bench()
        let id = try await bench.register()
        _ = try await bench.register("c1", number: 2)
        write(MachineProof.recordType, data, for: "bmc2")
        guard case .refused(let reason) = await service(bench).check(9, holds: data, of: id) else {
            Issue.record("it is not refused")
            return
        }
        #expect(reason.contains("192.0.2.201:623"))
        #expect(reason.contains("c0"))
        #expect(reason.contains("ipmi_address"))
    }

    @Test func `a record of another kind or content proves nothing`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        for (type, content) in [
            (UInt8(0x02), data), (MachineProof.recordType, data.reversed() + [1]),
        ] {
            write(type, content)
            guard case .refused = await service(bench).check(9, holds: data, of: id) else {
                Issue.record("it is not refused")
                return
            }
        }
    }

    @Test func `a record without a number of its own is not read by its number`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        for number in [UInt16(0), 0xffff] {
            logs.records.withLock {
                $0["bmc1", default: [:]][number] = EventRecord(
                    type: MachineProof.recordType,
                    data: data
                )
            }
            guard case .impossible = await service(bench).check(number, holds: data, of: id) else {
                Issue.record("record \(number) is read")
                return
            }
            await service(bench).forget(number, of: id)
            #expect(
                logs.records.withLock { $0["bmc1"]?[number] } != nil,
                "the last record may be another by now"
            )
        }
    }

    @Test func `a silent BMC is no refusal, and a driver without event logs cannot tell`()
        async throws
    {
        let bench = try Bench()
        let id = try await bench.register()
        logs.isDead.withLock { $0 = true }
        guard case .later = await service(bench).check(9, holds: data, of: id) else {
            Issue.record("silence is a verdict")
            return
        }
        _ = try await bench.service.update(id.text, by: nil) { node in
            node.driver = "redfish"
            node.driverInfo = DriverInfo(fields: ["redfish_address": "bmc"])
        }
        guard case .impossible = await service(bench).check(9, holds: data, of: id) else {
            Issue.record("redfish reads event logs")
            return
        }
    }

    @Test func `the live IPMI driver reads sensors, event logs, networks and proofs`() {
        let driver = NodeDriver.ipmi(
            IPMIPower(settings: IPMIPower.Settings(), time: SystemTime())
        )
        #expect(driver.sensors != nil)
        #expect(driver.eventLog != nil)
        #expect(driver.network != nil)
        #expect(driver.records != nil)
        #expect(driver.recordSearch == nil)
        #expect(driver.steps == nil)
    }

    @Test func `a machine that was just discovered has no BMC that could tell`() async throws {
        let bench = try Bench()
        let node = try await bench.service.create(id: nil, driver: "ipmi", by: nil) { _ in }
        guard case .impossible = await service(bench).check(9, holds: data, of: node.id) else {
            Issue.record("an unknown BMC tells")
            return
        }
    }

    @Test func `a refusal stands in the node's history`() async throws {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.service.tell("refused the key abcd: another BMC", of: id)
        let entries = try await bench.database.read {
            try $0.history(of: id, after: nil, descending: true, limit: 1)
        }
        #expect(entries.first?.event == "refused the key abcd: another BMC")
    }
}

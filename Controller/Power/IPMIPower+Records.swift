import Basics
import Synchronization

// What a BMC measures and remembers. Reading all of it takes many small questions, hence the longer budget.
extension IPMIPower: SensorControl, EventLogControl, NetworkControl {
    private static let recordsBudget: Duration = .seconds(60)
    private static let eventsMax = 500

    /// Lets one reader at a time look through a BMC, so that many do not hold up what switches its machine.
    /// - Throws: `Fault` of kind `conflict`.
    private func look(
        _ command: [String],
        _ bmc: BMC,
        to purpose: String,
        budget: Duration? = nil
    ) async throws -> String {
        guard readers.withLock({ $0.insert(bmc.endpoint).inserted }) else {
            throw Fault(
                .conflict,
                "cannot \(purpose) of BMC \(bmc.endpoint): somebody else reads from it; ask again in a minute"
            )
        }
        defer { _ = readers.withLock { $0.remove(bmc.endpoint) } }
        return try await call(command, bmc, to: purpose, budget: budget)
    }

    package func readings(of bmc: BMC) async throws -> [SensorReading] {
        let output = try await look(
            ["-c", "sdr", "elist", "full"],
            bmc,
            to: "read the sensors",
            budget: Self.recordsBudget
        )
        return IPMIAnswer.readings(output)
    }

    package func events(of bmc: BMC, max: Int) async throws -> [BMCEvent] {
        let count = min(Swift.max(max, 1), Self.eventsMax)
        let output = try await look(
            ["sel", "list", "last", String(count)],
            bmc,
            to: "read the event log",
            budget: Self.recordsBudget
        )
        return Array(IPMIAnswer.events(output).suffix(count))
    }

    package func network(of bmc: BMC) async throws -> BMCNetwork {
        let output = try await look(["lan", "print"], bmc, to: "read the network settings")
        guard let network = IPMIAnswer.network(output) else {
            throw unreadable(output, bmc, "read the network settings")
        }
        return network
    }
}

extension IPMIPower: EventRecordControl {
    /// Get SEL Entry (IPMI 2.0, section 31.5), whole and without a reservation.
    package func record(_ number: UInt16, of bmc: BMC) async throws -> EventRecord? {
        let purpose = "read the event log"
        let place = [UInt8(truncatingIfNeeded: number), UInt8(number >> 8)].map(String.init)
        do {
            let command = ["raw", "0x0a", "0x43", "0", "0"] + place + ["0", "0xff"]
            let output = try await call(command, bmc, to: purpose)
            guard let record = IPMIAnswer.record(number, output) else {
                throw unreadable(output, bmc, purpose)
            }
            return record
        } catch let fault as PowerFault where fault.reason == .refused {
            if fault.detail.contains("rsp=0xcb") { return nil }
            guard fault.detail.contains("rsp=0xc1") else { throw fault }
            throw PowerFault(
                .unsupported,
                "cannot \(purpose) of BMC \(bmc.endpoint): it has none",
                detail: fault.detail
            )
        }
    }

    package func forget(_ number: UInt16, of bmc: BMC) async throws {
        _ = try await call(["sel", "delete", String(number)], bmc, to: "tidy up the event log")
    }
}

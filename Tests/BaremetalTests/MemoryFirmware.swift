import Basics
import HTTP
import Power
import Protocol
import Synchronization

@testable import Baremetal

/// A firmware in memory for each machine, by its BMC; changed settings hold from the machine's next start.
final class MemoryFirmware: FirmwareControl, BIOSControl {
    private struct Machine {
        var settings: [String: JSONValue] = ["Boot": "Uefi", "Cores": 4, "Quiet": true]
        var pending: [String: JSONValue]?
        var startsThen = 0
        /// Changes that it was asked for.
        var asked = 0
    }

    private static let factory: [String: JSONValue] = ["Boot": "Bios", "Cores": 2, "Quiet": false]
    private let policies = Mutex<[String: BootPolicyState]>([:])
    private let machines = Mutex<[String: Machine]>([:])
    private let ignoring = Mutex(false)
    private let stubborn = Mutex(false)
    let starts: @Sendable (BMC) -> Int
    let updates = MemoryUpdates()

    /// `starts`: how often the machine was switched on.
    init(starts: @escaping @Sendable (BMC) -> Int) { self.starts = starts }

    /// From now on it says yes and keeps its settings.
    func ignoreChanges() { ignoring.withLock { $0 = true } }

    /// From now on it takes over nothing.
    func keepPending() { stubborn.withLock { $0 = true } }

    func asked(_ user: String) -> Int { machines.withLock { $0[user]?.asked ?? 0 } }

    func bootPolicy(of bmc: BMC) async throws -> BootPolicyState {
        policies.withLock { $0[bmc.user] ?? BootPolicyState(mode: .uefi, isSecure: false) }
    }

    func setBootMode(_ mode: BootMode, of bmc: BMC) async throws {
        policies.withLock { $0[bmc.user, default: BootPolicyState(isSecure: false)].mode = mode }
    }

    func setSecureBoot(_ isOn: Bool, of bmc: BMC) async throws {
        policies.withLock { $0[bmc.user, default: BootPolicyState(mode: .uefi)].isSecure = isOn }
    }

    func components(of bmc: BMC) async throws -> [FirmwareComponent] {
        try updates.components()
    }

    func settings(of bmc: BMC) async throws -> [BIOSSetting] {
        let now = starts(bmc)
        let isStubborn = stubborn.withLock { $0 }
        return machines.withLock { machines in
            var machine = machines[bmc.user] ?? Machine()
            if let pending = machine.pending, now > machine.startsThen, !isStubborn {
                machine.settings.merge(pending) { $1 }
                machine.pending = nil
            }
            machines[bmc.user] = machine
            return machine.settings.sorted { $0.key < $1.key }.map {
                BIOSSetting(name: $0.key, value: $0.key == Self.hidden ? .null : $0.value)
            }
        }
    }

    func pending(of bmc: BMC) async throws -> Set<String>? {
        // Whoever looks sees what the machine's start did.
        _ = try await settings(of: bmc)
        return machines.withLock { Set(($0[bmc.user]?.pending ?? [:]).keys) }
    }

    /// A setting that is never shown, such as a password.
    static let hidden = "Password"

    /// Gives a machine's firmware such a setting.
    func addHidden(_ user: String) {
        machines.withLock { $0[user, default: Machine()].settings[Self.hidden] = "old" }
    }

    /// What the firmware has there.
    func hiddenValue(_ user: String) -> JSONValue? {
        machines.withLock { $0[user]?.settings[Self.hidden] }
    }

    func apply(_ settings: [String: JSONValue], of bmc: BMC) async throws {
        for name in settings.keys.sorted() where Self.factory[name] == nil && name != Self.hidden {
            throw PowerFault(
                .unsupported,
                "cannot change the BIOS settings of BMC \(bmc.endpoint): there is no setting \(name)"
            )
        }
        take(settings, bmc)
    }

    func reset(of bmc: BMC) async throws { take(Self.factory, bmc) }

    private func take(_ settings: [String: JSONValue], _ bmc: BMC) {
        let now = starts(bmc)
        let isIgnored = ignoring.withLock { $0 }
        machines.withLock { machines in
            var machine = machines[bmc.user] ?? Machine()
            machine.asked += 1
            machine.pending = isIgnored ? nil : settings
            machine.startsThen = now
            machines[bmc.user] = machine
        }
    }
}

extension NodeDriver {
    /// Redfish nodes whose machines are the simulated ones.
    static func redfish(in world: SimulatedWorld) -> NodeDriver {
        var driver = NodeDriver(name: "redfish", power: world, hasAgent: true, bmcKind: .redfish)
        let firmware = MemoryFirmware { bmc in
            world.machines.withLock { machines in
                machines.values.first { "bmc\($0.number)" == bmc.user }?
                    .log.count { $0 == "power on" } ?? 0
            }
        }
        driver.firmware = firmware
        driver.bios = firmware
        driver.media = world
        driver.events = MemoryEvents()
        let bmc: @Sendable (Node) throws -> BMC = { try $0.driverInfo.redfish(label: $0.label) }
        driver.steps = DriverStepGroup([
            BIOSSteps(firmware, bmc: bmc), FirmwareSteps(firmware, bmc: bmc),
        ])
        return driver
    }
}

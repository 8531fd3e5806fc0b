import Synchronization

/// Machines without hardware: they do at once what they are told.
///
/// For trying the API and for load tests; only an explicit configuration enables it.
package final class FakePower: PowerControl {
    private struct Machine {
        var power = PowerState.off
        var choice = BootChoice(device: .disk, isPersistent: true)
    }

    private let machines = Mutex<[String: Machine]>([:])

    package init() {}

    package func power(of bmc: BMC) async throws -> PowerState {
        machines.withLock { $0[bmc.endpoint, default: Machine()].power }
    }

    package func change(_ change: PowerChange, of bmc: BMC) async throws {
        machines.withLock { machines in
            switch change {
            case .on, .cycle: machines[bmc.endpoint, default: Machine()].power = .on
            case .off, .softOff: machines[bmc.endpoint, default: Machine()].power = .off
            }
        }
    }

    package func setBootDevice(
        _ device: BootDevice,
        persistent: Bool,
        mode: BootMode,
        of bmc: BMC
    ) async throws {
        machines.withLock {
            $0[bmc.endpoint, default: Machine()].choice = BootChoice(
                device: device,
                isPersistent: persistent
            )
        }
    }

    package func bootDevice(of bmc: BMC) async throws -> BootChoice {
        machines.withLock { $0[bmc.endpoint, default: Machine()].choice }
    }

    package func identity(of bmc: BMC) async throws -> String? { nil }

    package func injectNMI(into bmc: BMC) async throws {}
}

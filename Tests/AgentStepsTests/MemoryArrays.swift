import AgentSystem
import Basics
import Glibc
import Synchronization

@testable import AgentSteps

/// Software RAID over disks in memory: what is written to a mirror goes to each of its members.
final class MemoryArrays: RAIDArrays {
    struct State {
        var created: [ArrayOrder] = []
        var assembled: [(device: String, id: ArrayID, members: [String])] = []
        var running: Set<String> = []
        var busy: Set<String> = []
        var stopped: [String] = []
        /// Arrays that do not start.
        var broken: Set<ArrayID> = []
    }

    let state = Mutex(State())

    init(running: Set<String> = [], busy: Set<String> = []) {
        state.withLock {
            $0.running = running
            $0.busy = busy
        }
    }

    func create(_ order: ArrayOrder) async throws {
        state.withLock {
            $0.created.append(order)
            $0.running.insert(order.device)
        }
    }

    func assemble(
        _ device: String,
        level: RAIDLevel,
        id: ArrayID,
        members: [String]
    ) async throws {
        guard !state.withLock({ $0.broken.contains(id) }) else {
            throw SystemFailure("start the array \(device)", code: EIO)
        }
        state.withLock {
            $0.assembled.append((device, id, members))
            $0.running.insert(device)
        }
    }

    func stop(_ device: String) async throws {
        let isBusy = state.withLock { state in
            guard !state.busy.contains(device) else { return true }
            state.running.remove(device)
            state.stopped.append(device)
            return false
        }
        if isBusy { throw SystemFailure("stop the array \(device)", code: EBUSY) }
    }

    func running() -> [String] { state.withLock { $0.running.sorted() } }
}

/// RAID work over what a test has.
func raidWork(
    _ devices: any BlockDevices,
    _ disks: any DiskAccess,
    arrays: MemoryArrays = MemoryArrays(),
    random: SeededRandom = SeededRandom(seed: 3)
) -> RAIDWork {
    RAIDWork(
        devices: devices,
        disks: disks,
        arrays: arrays,
        time: LeapingTime(),
        random: random
    )
}

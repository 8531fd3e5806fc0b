import Basics
import Power
import Synchronization

/// Updates of a firmware in memory: what an image is for says its name.
final class MemoryUpdates: Sendable {
    /// How the BMC goes on after it took an order.
    enum Way: Sendable {
        /// The task runs for two looks; the version shows then.
        case completes
        /// The task waits until the machine was restarted.
        case waitsForRestart
        /// The task runs, and ends badly.
        case fails
        /// The BMC does not answer for so many calls and has forgotten the task then.
        case restarts(Int)
        /// The task ends well, and the version is the same.
        case keepsVersion
        /// The task is forgotten, and the version is the same.
        case forgets
        /// The second image is refused.
        case refusesSecond
    }

    struct State {
        var way = Way.completes
        var images: [String] = []
        var versions = ["bios": "1.0", "bmc": "2.1"]
        var startsThen = 0
        var looks = 0
        var silentFor = 0
    }

    let state = Mutex(State())

    func go(_ way: Way) { state.withLock { $0.way = way } }
    var images: [String] { state.withLock(\.images) }

    private static func silence(_ state: inout State) throws {
        guard state.silentFor > 0 else { return }
        state.silentFor -= 1
        throw PowerFault(.noAnswer, "cannot reach the BMC: it does not answer")
    }

    func components() throws -> [FirmwareComponent] {
        try state.withLock { state in
            try Self.silence(&state)
            return [
                FirmwareComponent(name: "bios", version: state.versions["bios"] ?? ""),
                FirmwareComponent(name: "bmc", version: state.versions["bmc"] ?? "", model: "M2"),
            ]
        }
    }

    func update(from url: String, starts: Int) throws -> String? {
        try state.withLock { state in
            try Self.silence(&state)
            if case .refusesSecond = state.way, !state.images.isEmpty {
                throw PowerFault(.refused, "cannot update the firmware: not an image of this board")
            }
            state.images.append(url)
            (state.startsThen, state.looks) = (starts, 0)
            if case .restarts(let calls) = state.way {
                state.silentFor = calls
                state.install()
            }
            return "/redfish/v1/TaskService/Tasks/1"
        }
    }

    func look(starts: Int) throws -> FirmwareUpdateState {
        try state.withLock { state in
            try Self.silence(&state)
            state.looks += 1
            switch state.way {
            case .restarts, .forgets: return .gone
            case .waitsForRestart:
                guard starts > state.startsThen else { return .waiting }
            case .completes, .keepsVersion, .fails, .refusesSecond:
                guard state.looks > 2 else { return .running(percent: 10 * state.looks) }
            }
            if case .fails = state.way { return .failed("wrong signature") }
            if case .keepsVersion = state.way { return .done }
            state.install()
            return .done
        }
    }
}

extension MemoryUpdates.State {
    /// `http://…/bios-3.0.bin` is version 3.0 of the BIOS.
    fileprivate mutating func install() {
        guard let name = images.last?.split(separator: "/").last?.split(separator: "-"),
            name.count == 2
        else { return }
        versions[String(name[0])] = String(name[1].dropLast(4))
    }
}

extension MemoryFirmware: FirmwareUpdateControl {
    func update(from url: String, of bmc: BMC) async throws -> String? {
        try updates.update(from: url, starts: starts(bmc))
    }

    func state(ofUpdate task: String, of bmc: BMC) async throws -> FirmwareUpdateState {
        try updates.look(starts: starts(bmc))
    }
}

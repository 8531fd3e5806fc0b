import AgentSystem
import Glibc
import Synchronization

@testable import AgentSteps

/// A drive that behaves as its standard says, on a disk in memory, or lies in the ways that tests choose.
final class DriveDouble: DriveChannel, DriveChannels {
    /// What a test gives to a drive.
    enum Ability: Sendable {
        case formats, sanitizes, isATA, isFrozen, failsErase

        func apply(to state: inout State) {
            switch self {
            case .formats: state.formats = true
            case .sanitizes: state.sanitizes = true
            case .isATA: state.isATA = true
            case .isFrozen: state.isFrozen = true
            case .failsErase: state.failsErase = true
            }
        }
    }

    struct State {
        /// NVMe: what the controller page announces; ATA: whether the drive speaks it.
        var formats = false
        var sanitizes = false
        var isATA = false
        var isFrozen = false
        var password: [UInt8]?
        var isPrepared = false
        var hiddenBlocks: UInt64 = 0
        var shownBlocks: UInt64 = 0
        /// Says “done” and does nothing.
        var lies = false
        var failsErase = false
        var sanitizePolls = 0
        var commands: [UInt8] = []
    }

    private let disk: MemoryDisk
    private let state: Mutex<State>

    init(_ disk: MemoryDisk, _ edit: (inout State) -> Void) {
        var state = State()
        edit(&state)
        self.disk = disk
        self.state = Mutex(state)
    }

    /// Opcodes that were sent, without identify.
    var commands: [UInt8] { state.withLock { $0.commands } }
    var password: [UInt8]? { state.withLock { $0.password } }

    func channel(_ path: String) throws(SystemFailure) -> any DriveChannel { self }
    func namespace() throws(SystemFailure) -> UInt32 { 1 }

    private func wipe() throws(SystemFailure) {
        guard !state.withLock({ $0.lies }) else { return }
        // What a drive shows after a cryptographic erase is anything but the old data.
        try disk.put(noise(Int(disk.geometry.bytes), seed: 99), at: 0)
    }

    func nvme(_ command: NVMeCommand, into data: inout [UInt8]) throws(SystemFailure) -> Int {
        guard !state.withLock({ $0.isATA }) else { throw SystemFailure("command", code: ENOTTY) }
        switch command.opcode {
        case 0x06:
            guard command.words[0] == 1 else { return 0 }
            let (formats, sanitizes) = state.withLock { ($0.formats, $0.sanitizes) }
            if formats { data[256] = 0x02 }
            if formats { data[524] = 0x04 }
            if sanitizes { data[328] = 0x02 }
            return 0
        case 0x80:
            state.withLock { $0.commands.append(0x80) }
            if state.withLock({ $0.failsErase }) { return 0x10a }
            try wipe()
            return 0
        case 0x84:
            state.withLock { $0.commands.append(0x84) }
            try wipe()
            return 0
        case 0x02:
            data[2] = state.withLock { state in
                state.sanitizePolls += 1
                return state.sanitizePolls < 3 ? 2 : 1
            }
            return 0
        default: return 1
        }
    }

    func ata(
        _ registers: ATARegisters,
        _ data: ATAData,
        seconds: UInt32
    ) throws(SystemFailure) -> (registers: ATARegisters, data: [UInt8]) {
        guard state.withLock({ $0.isATA }) else { throw SystemFailure("command", code: ENOTTY) }
        var answer = ATARegisters(0x50)
        if registers.command != 0xec { state.withLock { $0.commands.append(registers.command) } }
        guard case .toDrive(let block) = data else {
            switch registers.command {
            case 0xec: return (answer, identify())
            case 0xf3: state.withLock { $0.isPrepared = true }
            case 0x27: answer.block = blocks + state.withLock { $0.hiddenBlocks } - 1
            case 0x37:
                state.withLock { state in
                    state.shownBlocks = state.hiddenBlocks
                    state.hiddenBlocks = 0
                }
            default: answer.command = 0x51
            }
            return (answer, [])
        }
        let given = Array(block[2..<34])
        let isRight = state.withLock { $0.password == nil || $0.password == given }
        switch registers.command {
        case 0xf1 where !state.withLock({ $0.isFrozen }): state.withLock { $0.password = given }
        case 0xf2 where isRight: break
        case 0xf6 where isRight: state.withLock { $0.password = nil }
        case 0xf4 where isRight && state.withLock({ $0.isPrepared && !$0.failsErase }):
            try wipe()
            state.withLock { $0.password = nil }
        default: answer.command = 0x51
        }
        return (answer, [])
    }

    private var blocks: UInt64 { UInt64(disk.geometry.bytes / 512) }

    private func identify() -> [UInt8] {
        state.withLock { state in
            var page = [UInt8](repeating: 0, count: 512)
            page[256] = 0x01
            if state.password != nil { page[256] |= 0x02 }
            if state.isFrozen { page[256] |= 0x08 }
            page[178] = 5
            if state.hiddenBlocks > 0 { page[165] = 0x04 }
            let blocks = blocks + state.shownBlocks
            for index in 0..<8 {
                page[200 + index] = UInt8(truncatingIfNeeded: blocks >> (8 * index))
            }
            return page
        }
    }
}

/// A machine without drives that take commands of their own.
struct NoDrives: DriveChannels {
    func channel(_ path: String) throws(SystemFailure) -> any DriveChannel {
        throw SystemFailure("open \(path)", code: ENOTTY)
    }
}

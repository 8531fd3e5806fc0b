import AgentSystem
import Glibc

/// How a whole disk was erased, in the order in which the ways are tried.
package enum ErasureMethod: String, Sendable, CaseIterable {
    case nvmeFormatKey = "NVMe format, cryptographic erase"
    case nvmeFormat = "NVMe format, user data erase"
    case nvmeSanitizeKey = "NVMe sanitize, cryptographic erase"
    case nvmeSanitize = "NVMe sanitize, block erase"
    case ataEnhanced = "ATA security erase unit, enhanced"
    case ataNormal = "ATA security erase unit"
    case writeZeroes = "discard and zeroes written by the drive"
    case overwrite = "overwritten with zeroes"

    /// Whether every byte must read as zero afterwards; the others promise only that the old content is gone.
    var promisesZero: Bool { self == .writeZeroes || self == .overwrite }
}

/// Erases one drive by its own commands, where it has any.
struct DriveErasure {
    /// The password that stands on an ATA drive while it is erased, and on one whose erase was cut off.
    static let password = "rdo-manager"
    private static let pollSeconds: UInt32 = 5

    let path: String
    let channel: any DriveChannel
    /// Waits between two questions about how far a sanitize is.
    let pause: (UInt32) async throws -> Void

    /// What came of it: the method, or why the drive has none that can be used.
    enum Outcome {
        case erased(ErasureMethod)
        case none(String)
    }

    // MARK: - NVMe

    /// Formats or sanitizes the namespace.
    ///
    /// - Throws: `StepFailure` when a command that the drive claims to have fails.
    func eraseNVMe() async throws -> Outcome {
        let space = try channel.namespace()
        guard let facts = NVMeErasure(controller: try identify(0, kind: 1)) else {
            return .none("its identify page is too short")
        }
        if facts.formats {
            let page = try identify(space, kind: 0)
            guard let index = NVMeErasure.formatIndex(namespace: page) else {
                return .none("its namespace page is too short")
            }
            // SES is bits 9 to 11: 1 erases user data, 2 the key. The format itself stays.
            let low = index & 0x0f | (index & 0x30) << 8
            let kind: UInt32 = facts.formatsByKey ? 2 : 1
            let method: ErasureMethod = facts.formatsByKey ? .nvmeFormatKey : .nvmeFormat
            let format = NVMeCommand(
                0x80,
                space: facts.formatsAll ? .max : space,
                words: [low | kind << 9],
                seconds: 4 * 3600
            )
            let status = try send(format)
            if status == 0 { return .erased(method) }
            guard facts.sanitizesByKey || facts.sanitizesBlocks else {
                return .none("NVMe format ended with status \(status)")
            }
        }
        guard facts.sanitizesByKey || facts.sanitizesBlocks else {
            return .none("it has neither NVMe format nor sanitize")
        }
        let action: UInt32 = facts.sanitizesByKey ? 4 : 2
        let status = try send(NVMeCommand(0x84, words: [action]))
        guard status == 0 else { return .none("NVMe sanitize ended with status \(status)") }
        try await awaitSanitize()
        return .erased(facts.sanitizesByKey ? .nvmeSanitizeKey : .nvmeSanitize)
    }

    private func awaitSanitize() async throws {
        while true {
            var page = [UInt8](repeating: 0, count: 32)
            // Log page 0x81, eight dwords, counted from zero.
            let status = try channel.nvme(
                NVMeCommand(0x02, space: .max, words: [7 << 16 | 0x81]),
                into: &page
            )
            guard status == 0 else { throw failed("its sanitize log cannot be read (\(status))") }
            switch page[2] & 0x07 {
            case 1, 4: return
            case 2: try await pause(Self.pollSeconds)
            default: throw failed("its sanitize operation failed")
            }
        }
    }

    private func identify(_ space: UInt32, kind: UInt32) throws -> [UInt8] {
        var page = [UInt8](repeating: 0, count: 4096)
        let status = try channel.nvme(
            NVMeCommand(0x06, space: space, words: [kind]),
            into: &page
        )
        guard status == 0 else { throw failed("it does not identify itself (status \(status))") }
        return page
    }

    private func send(_ command: NVMeCommand) throws -> Int {
        var none: [UInt8] = []
        return try channel.nvme(command, into: &none)
    }

    // MARK: - ATA

    /// Shows what is hidden behind the last block, and takes away our own password, which an erase that
    /// was cut off leaves.
    ///
    /// Until then a locked drive takes no data.
    func prepareATA() throws {
        guard let facts = try identifyATA() else { return }
        if facts.mayHideArea { try showHiddenArea(facts) }
        guard facts.isEnabled else { return }
        try unlock()
        // Anybody else's password is not ours to break.
        guard let after = try identifyATA(), !after.isEnabled else {
            throw failed("a password is set on it; remove it, or replace the drive")
        }
    }

    /// Erases by the drive's security feature.
    func eraseATA() throws -> Outcome {
        guard let facts = try identifyATA() else { return .none("it is no ATA drive") }
        guard facts.isSupported else { return .none("it has no ATA security feature") }
        if facts.isFrozen {
            return .none("its security is frozen by the firmware; a power cycle without that helps")
        }
        guard try !security(0xf1, passwordBlock(0)).hasFailed else {
            return .none("it takes no password")
        }
        let method: ErasureMethod = facts.isEnhanced ? .ataEnhanced : .ataNormal
        let budget = min((facts.seconds ?? 24 * 3600) * 2 + 600, 48 * 3600)
        var isErased = false
        if try !channel.ata(ATARegisters(0xf3), .none, seconds: 60).registers.hasFailed {
            let block = passwordBlock(facts.isEnhanced ? 2 : 0)
            isErased = try !security(0xf4, block, seconds: budget).hasFailed
        }
        // A drive that still has the password would be lost at its next power cycle.
        if try identifyATA()?.isEnabled ?? true { try unlock() }
        guard let after = try identifyATA(), !after.isEnabled else {
            throw failed("the password “\(Self.password)” is still set on it; remove it by hand")
        }
        return isErased ? .erased(method) : .none("its security erase failed")
    }

    private func identifyATA() throws -> ATASecurity? {
        do throws(SystemFailure) {
            let answer = try channel.ata(ATARegisters(0xec), .fromDrive, seconds: 30)
            return answer.registers.hasFailed ? nil : ATASecurity(identify: answer.data)
        } catch {
            let none = [ENOTTY, EINVAL, EOPNOTSUPP, EPROTO]
            if none.contains(error.code) { return nil }
            throw error
        }
    }

    /// The password in a block of 512 bytes; `control` 0 is the user's, 2 with an enhanced erase.
    private func passwordBlock(_ control: UInt8) -> [UInt8] {
        let text = [control, 0] + Array(Self.password.utf8)
        return text + [UInt8](repeating: 0, count: 512 - text.count)
    }

    private func security(
        _ command: UInt8,
        _ block: [UInt8],
        seconds: UInt32 = 60
    ) throws -> ATARegisters {
        try channel.ata(ATARegisters(command), .toDrive(block), seconds: seconds).registers
    }

    private func unlock() throws {
        _ = try security(0xf2, passwordBlock(0))
        _ = try security(0xf6, passwordBlock(0))
    }

    /// Makes blocks behind the announced end (a host-protected area) part of the disk again.
    private func showHiddenArea(_ facts: ATASecurity) throws {
        var read = ATARegisters(0x27)
        read.device = 0x40
        let answer = try channel.ata(read, .none, seconds: 30).registers
        guard !answer.hasFailed, answer.block &+ 1 > facts.blocks, facts.blocks > 0 else { return }
        // SET MAX must follow READ NATIVE MAX at once. Count 1: for good, since the kernel learns the
        // new size at the next boot only.
        var set = ATARegisters(0x37)
        set.count = 1
        set.device = 0x40
        set.block = answer.block
        _ = try channel.ata(set, .none, seconds: 30)
        let hidden = answer.block + 1 - facts.blocks
        guard let after = try identifyATA(), after.blocks > answer.block else {
            throw failed(
                "\(hidden) blocks are hidden behind its end and it does not show them; replace the drive"
            )
        }
        throw HiddenAreaShown(blocks: hidden)
    }

    private func failed(_ what: String) -> StepFailure {
        StepFailure("cannot erase \(path): \(what)", retryable: false)
    }
}

/// A hidden area became part of the disk, whose size the kernel must learn before anything is erased.
struct HiddenAreaShown: Error {
    let blocks: UInt64
}

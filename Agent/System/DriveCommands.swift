import CLinux
import Glibc

/// One NVMe admin command.
package struct NVMeCommand: Sendable, Equatable {
    package var opcode: UInt8
    /// The namespace; all ones means every one.
    package var space: UInt32
    /// Command dwords 10 to 15.
    package var words: [UInt32]
    /// How long the drive may take.
    package var seconds: UInt32

    package init(_ opcode: UInt8, space: UInt32 = 0, words: [UInt32] = [], seconds: UInt32 = 60) {
        self.opcode = opcode
        self.space = space
        self.words = Array((words + [UInt32](repeating: 0, count: 6)).prefix(6))
        self.seconds = seconds
    }
}

/// The registers of an ATA command of 48 bits, and of its answer.
package struct ATARegisters: Sendable, Equatable {
    /// Features; the error in an answer.
    package var features: UInt8 = 0
    package var count: UInt8 = 0
    /// 48 bits.
    package var block: UInt64 = 0
    package var device: UInt8 = 0
    /// The command; the status in an answer.
    package var command: UInt8

    package init(_ command: UInt8) { self.command = command }

    /// Whether an answer tells of a failure: the error bit or the device fault bit.
    package var hasFailed: Bool { command & 0x21 != 0 }
}

/// Speaks to one drive, past the kernel's block layer.
///
/// Calls block their thread for as long as the drive works.
package protocol DriveChannel: Sendable {
    /// The namespace that the block device is; for NVMe drives.
    func namespace() throws(SystemFailure) -> UInt32

    /// One admin command.
    ///
    /// `data` is filled by the drive.
    /// - Returns: the drive's status; 0 is success.
    func nvme(_ command: NVMeCommand, into data: inout [UInt8]) throws(SystemFailure) -> Int

    /// A command without data, or with 512 bytes in one direction.
    /// - Throws: `SystemFailure`; code `EOPNOTSUPP` or `ENOTTY` when the drive speaks no ATA.
    func ata(
        _ registers: ATARegisters,
        _ data: ATAData,
        seconds: UInt32
    ) throws(SystemFailure) -> (registers: ATARegisters, data: [UInt8])
}

/// What goes along with an ATA command.
package enum ATAData: Sendable, Equatable {
    case none
    case fromDrive
    case toDrive([UInt8])
}

/// Opens drives for commands of their own.
package protocol DriveChannels: Sendable {
    func channel(_ path: String) throws(SystemFailure) -> any DriveChannel
}

/// The kernel's pass-through ioctls.
package struct SystemDriveChannels: DriveChannels {
    package init() {}

    package func channel(_ path: String) throws(SystemFailure) -> any DriveChannel {
        try OpenDrive(path)
    }
}

/// A drive's device file, open for pass-through.
final class OpenDrive: DriveChannel {
    private let file: Int32
    private let path: String

    init(_ path: String) throws(SystemFailure) {
        file = rdo_disk_open(path, 0, 0)
        self.path = path
        guard file >= 0 else { throw SystemFailure("open \(path)", code: errno) }
    }

    deinit { close(file) }

    func namespace() throws(SystemFailure) -> UInt32 {
        let number = rdo_nvme_namespace(file)
        guard number >= 0 else { throw failure("ask for the namespace of", number) }
        return UInt32(number)
    }

    func nvme(_ command: NVMeCommand, into data: inout [UInt8]) throws(SystemFailure) -> Int {
        var result: UInt32 = 0
        let count = UInt32(data.count)
        let status = data.withUnsafeMutableBytes { bytes in
            rdo_nvme_admin(
                file,
                command.opcode,
                command.space,
                command.words,
                count == 0 ? nil : bytes.baseAddress,
                count,
                command.seconds &* 1000,
                &result
            )
        }
        guard status >= 0 else { throw failure("command", status) }
        return Int(status)
    }

    func ata(
        _ registers: ATARegisters,
        _ data: ATAData,
        seconds: UInt32
    ) throws(SystemFailure) -> (registers: ATARegisters, data: [UInt8]) {
        var bytes: [UInt8] =
            switch data {
            case .none: []
            case .fromDrive: [UInt8](repeating: 0, count: 512)
            case .toDrive(let content): content
            }
        let direction: Int32 =
            switch data {
            case .none: 0
            case .fromDrive: 1
            case .toDrive: 2
            }
        func part(_ shift: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: registers.block >> shift) }
        var raw: [UInt8] =
            [registers.features, registers.count] + [0, 8, 16, 24, 32, 40].map(part)
            + [registers.device, registers.command]
        let count = UInt32(bytes.count)
        let status = bytes.withUnsafeMutableBytes { buffer in
            rdo_ata(
                file,
                &raw,
                direction,
                count == 0 ? nil : buffer.baseAddress,
                count,
                seconds &* 1000
            )
        }
        guard status >= 0 else { throw failure("command", status) }
        var answer = ATARegisters(raw[9])
        answer.features = raw[0]
        answer.count = raw[1]
        answer.block = (0..<6).reduce(0) { $0 | UInt64(raw[2 + $1]) << UInt64(8 * $1) }
        answer.device = raw[8]
        return (answer, bytes)
    }

    private func failure(_ verb: String, _ status: Int32) -> SystemFailure {
        SystemFailure("\(verb) \(path)", code: -status)
    }
}

import Basics
import Glibc
import Protocol

/// What tells one software RAID array from all others: 16 bytes that stand on each member.
package struct ArrayID: Sendable, Hashable, CustomStringConvertible {
    package let bytes: [UInt8]

    package init(bytes: [UInt8]) {
        precondition(bytes.count == 16, "an array's identity takes 16 bytes")
        self.bytes = bytes
    }

    /// Reads 32 hexadecimal digits; `nil` for anything else.
    package init?(_ text: String) {
        let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 32, text.utf8.count == 32 else { return nil }
        bytes = stride(from: 0, to: 32, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    /// 32 hexadecimal digits.
    package var description: String { hexadecimal(bytes) }

    /// As `mdadm` takes it: four groups of eight digits with colons between them.
    var argument: String {
        stride(from: 0, to: 16, by: 4).map { hexadecimal(Array(bytes[$0..<($0 + 4)])) }
            .joined(separator: ":")
    }
}

/// The levels of software RAID that are made, in mdadm's spelling.
package enum RAIDLevel: String, Sendable, CaseIterable {
    case stripes = "0"
    case mirror = "1"
    case parity = "5"
    case doubleParity = "6"
    case mirroredStripes = "10"

    /// Fewest member disks.
    package var membersMin: Int {
        switch self {
        case .stripes, .mirror, .mirroredStripes: 2
        case .parity: 3
        case .doubleParity: 4
        }
    }

    /// The kernel's module for it.
    var module: String {
        switch self {
        case .stripes: "raid0"
        case .mirror: "raid1"
        case .parity, .doubleParity: "raid456"
        case .mirroredStripes: "raid10"
        }
    }
}

/// An array that is to be made.
package struct ArrayOrder: Sendable, Equatable {
    /// `/dev/md0`.
    package let device: String
    /// As it stands in the superblocks; at most `nameBytesMax` letters, digits, `-`, `_`, `.`.
    package let name: String
    package let level: RAIDLevel
    package let id: ArrayID
    /// Devices of the members: `/dev/vda2`.
    package let members: [String]
    /// Whether the superblocks stand at the members' ends, so that each member reads as the array does.
    ///
    /// For what firmware reads.
    package let superblocksAtEnd: Bool

    /// The superblock takes 32 bytes, of which `any:` and an ending zero are not the name's.
    package static let nameBytesMax = 27

    package init(
        device: String,
        name: String,
        level: RAIDLevel,
        id: ArrayID,
        members: [String],
        superblocksAtEnd: Bool = false
    ) {
        self.device = device
        self.name = name
        self.level = level
        self.id = id
        self.members = members
        self.superblocksAtEnd = superblocksAtEnd
    }
}

/// Linux software RAID.
package protocol RAIDArrays: Sendable {
    /// Makes an array and starts it; what its members held is lost.
    /// - Throws: `SystemFailure` in the tool's words, `Fault` when there is no tool.
    func create(_ order: ArrayOrder) async throws

    /// Starts an array from these members, also when some are missing. A member of another array is not taken.
    /// - Throws: as `create`.
    func assemble(_ device: String, level: RAIDLevel, id: ArrayID, members: [String]) async throws

    /// Stops an array; its members keep what they hold.
    /// - Throws: as `create`; when somebody uses it, for instance.
    func stop(_ device: String) async throws

    /// Devices of all arrays that the kernel has, sorted, also of those that wait for members.
    func running() -> [String]
}

/// The kernel's arrays, handled by the field's own tool: `mdadm`.
///
/// No configuration file is read and nothing is scanned for: an array is started by its identity and its members
/// only, whatever names stand on disks.
package struct SystemRAIDArrays: RAIDArrays {
    private static let budget: Duration = .seconds(60)

    private let processes: any ProcessRunner
    private let tree: FileTree
    private let loadModule: @Sendable (String) -> Void

    /// Takes what it works with.
    ///
    /// `tree`: where `/sys` is. `loadModule`: loads a module of the kernel by name, if there is one.
    package init(
        processes: any ProcessRunner,
        tree: FileTree = FileTree(),
        loadModule: @escaping @Sendable (String) -> Void
    ) {
        self.processes = processes
        self.tree = tree
        self.loadModule = loadModule
    }

    package func create(_ order: ArrayOrder) async throws {
        prepare(order.level)
        try await mdadm(
            [
                "--create", order.device, "--run", "--force",
                "--metadata=\(order.superblocksAtEnd ? "1.0" : "1.2")",
                // Every host takes an array of this one for its own, and keeps its name.
                "--homehost=any", "--name=\(order.name)", "--uuid=\(order.id.argument)",
                "--level=\(order.level.rawValue)", "--raid-devices=\(order.members.count)",
            ] + order.members,
            "make the array \(order.device) of \(order.members.joined(separator: ", "))"
        )
    }

    package func assemble(
        _ device: String,
        level: RAIDLevel,
        id: ArrayID,
        members: [String]
    ) async throws {
        prepare(level)
        try await mdadm(
            ["--assemble", device, "--config=none", "--run", "--uuid=\(id.argument)"] + members,
            "start the array \(device) of \(members.joined(separator: ", "))"
        )
    }

    package func stop(_ device: String) async throws {
        try await mdadm(["--stop", device], "stop the array \(device)")
    }

    package func running() -> [String] {
        tree.names(in: "/sys/class/block").filter { name in
            guard name.hasPrefix("md"),
                let state = tree.text("/sys/class/block/\(name)/md/array_state")
            else { return false }
            return state != "clear"
        }.map { "/dev/\($0)" }.sorted()
    }

    private func prepare(_ level: RAIDLevel) {
        loadModule("md_mod")
        loadModule(level.module)
    }

    private func mdadm(_ arguments: [String], _ action: String) async throws {
        var environment = ProcessRequest.plainEnvironment
        // Nobody answers for udev in the ramdisk; the kernel makes the device files itself.
        environment["MDADM_NO_UDEV"] = "1"
        let result = try await processes.run(
            ProcessRequest("mdadm", arguments, environment: environment, budget: Self.budget)
        )
        guard result.succeeded else {
            throw SystemFailure(
                "\(action): mdadm says “\(result.errorText.suffix(300))”",
                code: EIO
            )
        }
    }
}

/// The marks of software RAID on members (Linux `include/uapi/linux/raid/md_p.h`).
package enum RAIDSuperblock {
    private static let magic: [UInt8] = [0xfc, 0x4e, 0x2b, 0xa9]
    private static let backToFront: [UInt8] = [0xa9, 0x2b, 0x4e, 0xfc]

    /// Where a superblock of versions 1.1, 1.2, 1.0 and 0.90 begins on a device of this size.
    static func places(on bytes: Int64) -> [Int64] {
        let sectors = bytes / 512
        return [0, 4096, (sectors - 16) / 8 * 8 * 512, bytes / 65_536 * 65_536 - 65_536]
            .filter { $0 >= 0 && $0 + 256 <= bytes }
    }

    /// Whether a device is a member of some array, of any version.
    /// - Throws: `SystemFailure` when it cannot be read.
    package static func isMember(_ disk: any Disk) throws(SystemFailure) -> Bool {
        for place in places(on: disk.geometry.bytes) {
            let mark = try disk.bytes(place..<(place + 4))
            if mark == magic || mark == backToFront { return true }
        }
        return false
    }

    /// The array that a device with a superblock of version 1.2, or 1.0, is a member of; `nil` when it is of none.
    /// - Throws: `SystemFailure` when it cannot be read.
    package static func array(of disk: any Disk) throws(SystemFailure) -> ArrayID? {
        for place in places(on: disk.geometry.bytes).dropFirst().prefix(2) {
            let head = try disk.bytes(place..<(place + 32))
            if head.starts(with: magic + [1, 0, 0, 0]) {
                return ArrayID(bytes: Array(head[16..<32]))
            }
        }
        return nil
    }
}

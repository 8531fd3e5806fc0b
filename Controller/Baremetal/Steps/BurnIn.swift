import Basics
import HTTP
import Protocol

/// How the step `burnin_memory` tests a machine's memory.
///
/// The names of `driver_info` are Ironic's (`agent_burnin_memory_…` of its hardware burn-in).
struct BurnIn: Sendable, Equatable {
    /// How long, in seconds.
    let seconds: UInt32
    /// Of the memory that is free in the ramdisk.
    let percent: UInt32

    private static let secondsRange: ClosedRange<Int64> = 1...86_400
    private static let percentRange: ClosedRange<Int64> = 1...98

    /// Reads what a node's `driver_info` says: `agent_burnin_memory_timeout` (seconds, 86,400 by default and
    /// at most) and `agent_burnin_memory_vm_bytes` (as in `98%`, the default and at most).
    /// - Throws: `Fault` of kind `invalid` that names the field.
    init(_ node: Node) throws {
        func value(
            _ name: String,
            _ range: ClosedRange<Int64>,
            suffix: String
        ) throws -> UInt32 {
            guard let found = node.driverInfo.fields[name], found != .null else {
                return UInt32(range.upperBound)
            }
            var text = found.plainText ?? ""
            if text.hasSuffix(suffix) { text.removeLast(suffix.count) }
            guard let number = Int64(text), range.contains(number) else {
                throw Fault(
                    .invalid,
                    "cannot test the memory of node \(node.label): driver_info has \(name) “\((found.plainText ?? "").prefix(40))”, which is not \(range.lowerBound) to \(range.upperBound)\(suffix)"
                )
            }
            return UInt32(number)
        }
        seconds = try value("agent_burnin_memory_timeout", Self.secondsRange, suffix: "")
        percent = try value("agent_burnin_memory_vm_bytes", Self.percentRange, suffix: "%")
    }
}

extension WireBurnedIn {
    /// What was tested, for people.
    var summary: String {
        "\(ByteCount(Int64(clamping: memoryBytes))) of memory were tested for \(shownSeconds(seconds)) s, \(loops) times as a whole, without an error"
    }
}

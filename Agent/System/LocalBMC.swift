import CLinux
import Glibc

/// The machine's own BMC, spoken to from within the machine.
package protocol LocalBMC: Sendable {
    /// Writes a record without a timestamp into the event log; blocks its thread for at most five seconds.
    ///
    /// `data`: 13 bytes.
    /// - Returns: the record's number.
    /// - Throws: `LocalBMCFailure`.
    func addEvent(type: UInt8, data: [UInt8]) throws(LocalBMCFailure) -> UInt16
}

/// Why the machine's own BMC did not do something, as a clause for people.
package struct LocalBMCFailure: Error, Equatable {
    package let reason: String

    package init(_ reason: String) { self.reason = reason }
}

/// The BMC behind the kernel's `/dev/ipmi0`.
package struct KernelBMC: LocalBMC {
    private static let milliseconds: Int32 = 5000
    private let path: String

    /// - Parameter tree: where `/dev` is.
    package init(tree: FileTree = FileTree()) { path = tree.path("/dev/ipmi0") }

    /// Add SEL Entry (IPMI 2.0, section 31.6).
    package func addEvent(type: UInt8, data: [UInt8]) throws(LocalBMCFailure) -> UInt16 {
        let file = open(path, O_RDWR | O_CLOEXEC)
        guard file >= 0 else {
            throw LocalBMCFailure(
                errno == ENOENT
                    ? "the kernel found no BMC" : "its BMC cannot be opened (error \(errno))"
            )
        }
        defer { close(file) }
        // The BMC gives the record its number.
        let request = [0, 0, type] + data.prefix(13)
        var answer = [UInt8](repeating: 0, count: 32)
        let count = rdo_ipmi(
            file,
            0x0a,
            0x44,
            request,
            request.count,
            &answer,
            answer.count,
            Self.milliseconds
        )
        guard count >= 0 else {
            throw LocalBMCFailure("its BMC does not answer (error \(-count))")
        }
        return try Self.number(Array(answer.prefix(Int(count))))
    }

    /// Reads the answer: a completion code, and the record's number.
    static func number(_ answer: [UInt8]) throws(LocalBMCFailure) -> UInt16 {
        switch answer.first {
        case 0:
            guard answer.count >= 3 else { break }
            return UInt16(answer[1]) | UInt16(answer[2]) << 8
        case 0x80, 0xc1: throw LocalBMCFailure("its BMC takes no records from within")
        case 0x81: throw LocalBMCFailure("its BMC is erasing its event log")
        case 0xc4: throw LocalBMCFailure("the event log of its BMC is full; clear it")
        case .some(let code):
            throw LocalBMCFailure("its BMC refuses the record with code \(code)")
        case nil: break
        }
        throw LocalBMCFailure("its BMC's answer makes no sense")
    }
}

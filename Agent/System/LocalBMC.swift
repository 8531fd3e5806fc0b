package import Basics
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
        // The BMC gives the record its number.
        try Self.number(try ask(0x0a, 0x44, [0, 0, type] + data.prefix(13)))
    }

    /// An account of the BMC's Redfish service for this machine, which ends with its next restart.
    ///
    /// Get Bootstrap Account Credentials (DMTF DSP0270, section 9). A5h leaves the command as it is; every other value
    /// would switch it off for whoever comes later. Blocks its thread for at most five seconds.
    package func bootstrapAccount() throws(LocalBMCFailure) -> BootstrapAccount {
        try BootstrapAccount(answer: try ask(0x2c, 0x02, [0x52, 0xa5]))
    }

    /// Sends one request and returns the answer: a completion code and what belongs to it.
    private func ask(
        _ function: UInt8,
        _ command: UInt8,
        _ request: [UInt8]
    ) throws(LocalBMCFailure) -> [UInt8] {
        let file = open(path, O_RDWR | O_CLOEXEC)
        guard file >= 0 else {
            throw LocalBMCFailure(
                errno == ENOENT
                    ? "the kernel found no BMC" : "its BMC cannot be opened (error \(errno))"
            )
        }
        defer { close(file) }
        var answer = [UInt8](repeating: 0, count: 64)
        let count = rdo_ipmi(
            file,
            function,
            command,
            request,
            request.count,
            &answer,
            answer.count,
            Self.milliseconds
        )
        guard count >= 0 else {
            throw LocalBMCFailure("its BMC does not answer (error \(-count))")
        }
        return Array(answer.prefix(Int(count)))
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

/// An account that a BMC makes for its own machine.
package struct BootstrapAccount: Sendable, Equatable {
    package let user: String
    package let password: Secret

    package init(user: String, password: Secret) {
        self.user = user
        self.password = password
    }

    /// Reads the answer: a completion code, 52h, and 16 bytes each of user and password, padded with zeros.
    init(answer: [UInt8]) throws(LocalBMCFailure) {
        switch answer.first {
        case 0: break
        case 0x80: throw LocalBMCFailure("its BMC gives no accounts to its machine")
        case 0xc1, 0xcc, 0xd4: throw LocalBMCFailure("its BMC knows no accounts of its machine")
        case .some(let code):
            throw LocalBMCFailure("its BMC refuses an account with code \(code)")
        case nil: throw LocalBMCFailure("its BMC's answer makes no sense")
        }
        guard answer.count == 34, answer[1] == 0x52 else {
            throw LocalBMCFailure("its BMC's answer makes no sense")
        }
        let texts = [answer[2..<18], answer[18..<34]].map { field in
            let text = field.prefix { $0 != 0 }
            let isWhole = field[text.endIndex...].allSatisfy { $0 == 0 }
            return isWhole && text.allSatisfy { (0x21...0x7e).contains($0) } ? Array(text) : []
        }
        // With a colon in the user nobody could tell where the password begins (RFC 7617).
        guard !texts[0].isEmpty, !texts[1].isEmpty, !texts[0].contains(UInt8(ascii: ":")) else {
            throw LocalBMCFailure("its BMC's answer makes no sense")
        }
        user = String(decoding: texts[0], as: UTF8.self)
        password = Secret(bytes: texts[1])
    }
}

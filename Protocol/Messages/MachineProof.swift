/// How an agent proves that it runs on the machine that a BMC belongs to.
///
/// The agent writes a record into the event log of its own BMC, from within; the controller reads it through the
/// BMC's network address. The record holds the first 13 bytes of SHA-256 over `message`: the key that enrols and a
/// challenge of the controller that is used once. A machine that writes to another BMC, repeats an old record or
/// enrols with another key does not get it right; to guess a key for a given record takes 2^104 tries.
///
/// An event log is what every BMC has (IPMI 2.0, appendix G: all of these commands are mandatory but the deletion).
package enum MachineProof {
    /// Length of a challenge.
    package static let challengeBytes = 16
    /// Length of what a record holds.
    package static let dataBytes = 13
    /// Type of the record: of those without a timestamp that are the system's own (IPMI 2.0, section 32.3).
    package static let recordType: UInt8 = 0xeb
    /// The numbers by which a record can be read; 0 and 0xffff mean the first and the last one.
    ///
    /// BMCs that keep what machines write in a log of another kind give 0xffff (openbmc/intel-ipmi-oem); there the record
    /// is looked for.
    package static let recordNumbers: ClosedRange<UInt32> = 1...0xfffe

    private static let purpose = Array("rdo machine proof 1\0".utf8)

    /// What is digested.
    package static func message(challenge: [UInt8], key: [UInt8]) -> [UInt8] {
        purpose + challenge + key
    }

    private static let tagPrefix = "rdo-"

    /// The text by which a machine proves itself in its `AssetTag`: 30 characters, because some BMCs keep no more
    /// than 32.
    ///
    /// `data`: what a record would hold.
    package static func tag(_ data: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        let text = data.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return tagPrefix + String(decoding: text, as: UTF8.self)
    }

    /// Whether a text is a proof of some machine's, and no value of the site's.
    package static func isTag(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return text.hasPrefix(tagPrefix) && bytes.count == tagPrefix.utf8.count + 2 * dataBytes
            && bytes.dropFirst(tagPrefix.utf8.count).allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x66).contains($0)
            }
    }
}

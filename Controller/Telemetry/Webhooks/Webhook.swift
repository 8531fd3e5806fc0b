import Basics
import Protocol

/// Where changes of state are sent.
struct WebhookID: Identifier {
    let text: String
    init(unchecked text: String) { self.text = text }
}

/// An address that gets every change of state that its owner may see, in order, until it was taken.
///
/// ```
/// active ── delivered ──> active, with the next change
/// active ── failed ──> active, tried again later
/// active ── failed for the last time ──> disabled
/// active ── its address changed and no secret was given ──> disabled
/// disabled ── enabled by its owner ──> active
/// ```
struct Webhook: Sendable, Equatable {
    let id: WebhookID
    /// The project that owns it; `nil` belongs to the whole installation.
    let project: String?
    var url: String
    /// Signs what is sent; sealed at rest, bound to the address, never shown.
    var secret: Secret?
    /// Why nothing is sent; `nil` while it is active.
    var disabledReason: String?
    /// The last change that was taken, or that was not for it.
    var position: Int64
    /// Tries of the present change that failed.
    var failures: Int
    var nextTry: Timestamp
    var lastError: String?
    let createdAt: Timestamp

    /// A change is tried so often, then the hook is disabled: the pauses add up to more than two hours.
    static let failuresMax = 32
    /// Between two tries at most.
    static let pauseMax: Duration = .seconds(300)

    /// A change was taken.
    mutating func deliver(_ sequence: Int64) {
        position = sequence
        failures = 0
        lastError = nil
    }

    /// A change was not taken; the next try is later each time.
    mutating func fail(_ message: String, at now: Timestamp) {
        failures += 1
        lastError = message
        nextTry = now + min(Self.pauseMax, .seconds(1 << min(failures, 9)))
        if failures >= Self.failuresMax {
            disabledReason = "\(failures) tries failed; the last: \(message)"
        }
    }

    /// Goes to another address; the secret stays behind, since it was meant for the old one.
    mutating func move(to url: String, secret new: Secret?) {
        if url != self.url {
            self.url = url
            secret = nil
        }
        if let new { secret = new }
        if secret == nil { disabledReason = "its address changed: give it a secret again" }
    }

    /// Begins anew with the change that was not taken.
    mutating func enable() {
        guard secret != nil else { return }
        disabledReason = nil
        failures = 0
        nextTry = Timestamp(nanoseconds: 0)
    }
}

/// Which addresses hooks may have.
package struct WebhookRules: Sendable, Equatable {
    /// Whether plain HTTP is allowed.
    package var allowsPlain = false
    /// Whether this host and the provisioning network may be reached.
    package var allowsInternal = false
    /// Our address on the provisioning network, and its mask: agents and BMCs stand there.
    package var network: (address: [UInt8], mask: [UInt8])?

    package init() {}

    package static func == (left: WebhookRules, right: WebhookRules) -> Bool {
        left.allowsPlain == right.allowsPlain && left.allowsInternal == right.allowsInternal
            && left.network?.address == right.network?.address
            && left.network?.mask == right.network?.mask
    }

    /// Why bytes of an address (4 or 16) may not be sent to; `nil` when they may.
    ///
    /// Looked at after each resolution, and the connection goes to the address that was looked at: a name that
    /// points elsewhere the next time wins nothing.
    func problem(with bytes: [UInt8], own: [[UInt8]]) -> String? {
        if bytes.count == 16 {
            let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10...11] == [255, 255]
            let isTranslated = bytes.starts(with: [0, 0x64, 0xff, 0x9b])
            let isCompatible =
                bytes[..<12].allSatisfy { $0 == 0 } && bytes[12...] != [0, 0, 0, 0]
                && bytes[12...] != [0, 0, 0, 1]
            let isSixToFour = bytes[0] == 0x20 && bytes[1] == 0x02
            if isSixToFour { return problem(with: Array(bytes[2..<6]), own: own) }
            if isMapped || isTranslated || isCompatible {
                return problem(with: Array(bytes[12...]), own: own)
            }
        }
        if Self.isNowhere(bytes) { return "it is a multicast, link-local or reserved address" }
        guard !allowsInternal else { return nil }
        if Self.isLoopback(bytes) || own.contains(bytes) { return "it is an address of this host" }
        if let network, bytes.count == 4,
            zip(bytes, zip(network.address, network.mask)).allSatisfy({ $0 & $1.1 == $1.0 & $1.1 })
        {
            return "it is on the provisioning network"
        }
        return nil
    }

    private static func isLoopback(_ bytes: [UInt8]) -> Bool {
        if bytes.count == 4 { return bytes[0] == 127 }
        return bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1
    }

    private static func isNowhere(_ bytes: [UInt8]) -> Bool {
        if bytes.count == 4 {
            return bytes[0] == 0 || (bytes[0] == 169 && bytes[1] == 254) || bytes[0] >= 224
        }
        return bytes.allSatisfy { $0 == 0 } || bytes[0] == 0xff
            || (bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80)
    }
}

import Protocol
import Transport

/// How a request to be admitted is answered.
enum EnrolmentVerdict: Sendable, Equatable {
    /// The key is bound already: say so again.
    case known(NodeID)
    /// Bind the key in this state. The node is `nil` for a machine that nobody registered.
    case bind(NodeID?, AgentKey.State)
    /// The key waits for its machine's proof or an operator.
    case wait(NodeID)
    /// `contested`: another key holds the token.
    case refuse(WireRefused.Code, String, contested: Bool = false)
}

/// The rules by which machines are admitted; values in, values out.
enum EnrolmentRules {
    /// Interfaces that a request may name.
    static let macsMax = 64

    /// What can be said without looking anything up.
    static func precheck(_ request: WireEnrolRequest) -> EnrolmentVerdict? {
        guard AgentRole(request.role) != nil, request.token.count == 32,
            request.exchange.count <= 64, request.macs.count <= macsMax,
            request.bootMac.isEmpty || isMAC(request.bootMac)
        else { return .refuse(.malformed, "the request is malformed") }
        guard WireVersion.common(min: request.versionMin, max: request.versionMax) != nil else {
            return .refuse(
                .version,
                "this controller speaks versions \(WireVersion.oldest) to \(WireVersion.current)"
            )
        }
        return nil
    }

    /// Judges a request by its token.
    ///
    /// `known` is the row of the key that speaks, if it has one; `trust` is true where the site takes the
    /// first key of a boot for the machine's own.
    static func judge(
        _ request: WireEnrolRequest,
        from key: CurvePublicKey,
        token: AgentToken?,
        known: AgentKey?,
        trust: Bool,
        at now: Timestamp
    ) -> EnrolmentVerdict {
        guard let token else { return .refuse(.token, "the token is not known") }
        guard token.role == AgentRole(request.role) else {
            return .refuse(.token, "the token is for another role")
        }
        if let holder = token.boundKey {
            guard holder == key else {
                return .refuse(.token, "the token belongs to another key", contested: true)
            }
            guard let known else { return .refuse(.token, "the key was revoked") }
            switch known.state {
            case .bound: return .known(known.node)
            case .waiting: return .wait(known.node)
            }
        }
        guard now < token.expires else { return .refuse(.token, "the token has expired") }
        if let mac = token.mac, mac != request.bootMac {
            return .refuse(.token, "the token is for another machine")
        }
        // The token of a config drive came over a disk that we wrote: it proves the machine.
        let state: AgentKey.State = token.role == .overcloud || trust ? .bound : .waiting
        return .bind(token.node, state)
    }

    /// Whether the machine speaks from the address that the DHCP server gave it.
    static func checkLease(_ leased: String?, speaksFrom address: String) -> EnrolmentVerdict? {
        guard let leased, leased == address else {
            return .refuse(
                .address,
                "the boot interface has no lease for the address that speaks"
            )
        }
        return nil
    }

    /// Whether the machine speaks from where it was told to.
    static func check(
        _ placement: AgentPlacement,
        speaksFrom address: String
    ) -> EnrolmentVerdict? {
        switch placement {
        case .anywhere, .at(address): nil
        case .at:
            .refuse(
                .address,
                "the machine was told to take another address than the one that speaks"
            )
        }
    }

    /// Lower case, six pairs of hexadecimal digits, colons.
    static func isMAC(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count == 17 else { return false }
        return bytes.enumerated().allSatisfy { index, byte in
            switch byte {
            case UInt8(ascii: ":"): index % 3 == 2
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"):
                index % 3 != 2
            default: false
            }
        }
    }
}

package import Basics
import Protocol

/// One conversation with DHCP servers: what to send next, and what an answer means.
///
/// No clock, no socket.
///
/// ```
/// selecting ──offer──▶ requesting ──acknowledge──▶ bound ──half the lease──▶ renewing ──acknowledge──▶ bound
///     ▲                    │ refuse, 4 tries                                     │ refuse, lease over
///     └────────────────────┴──────────────────────────────────────────────────────┘
/// ```
package struct DHCPConversation: ~Copyable {
    /// Where the conversation stands.
    package enum State: Sendable, Equatable {
        case selecting
        case requesting(DHCPLease, tries: Int)
        case bound(DHCPLease)
        case renewing(DHCPLease)
    }

    /// What an answer leads to.
    package enum Answer: Sendable, Equatable {
        /// Not for us, or out of turn.
        case ignored
        /// Send `message()` at once.
        case sendNow
        /// The lease is ours, anew or again.
        case bound(DHCPLease)
        /// The server took its offer or the lease back; begin again.
        case lost
    }

    package private(set) var state = State.selecting
    private var transaction: UInt32
    private let mac: [UInt8]

    /// Begins; `mac` has six bytes.
    package init(mac: [UInt8], transaction: UInt32) {
        self.mac = mac
        self.transaction = transaction
    }

    /// The message that this state asks for.
    package mutating func message(secondsElapsed: Int) -> DHCPMessage {
        var kind = DHCPMessage.Kind.request
        var lease: DHCPLease?
        var renewal = false
        switch state {
        case .selecting: kind = .discover
        case .requesting(let offered, let tries):
            lease = offered
            state = .requesting(offered, tries: tries + 1)
        case .bound(let held), .renewing(let held):
            lease = held
            renewal = true
            state = .renewing(held)
        }
        var message = DHCPMessage(kind: kind, transaction: transaction, mac: mac)
        message.secondsElapsed = UInt16(clamping: secondsElapsed)
        message.options[61] = [1] + mac
        message.options[55] = [1, 3, 51, 54, 121]
        message.options[57] = [0x05, 0xdc]
        message.options[60] = Array("rdo-agent".utf8)
        if let lease, renewal {
            message.clientAddress = lease.address
        } else if let lease {
            message.options[50] = lease.address.bytes
            message.options[54] = lease.server.bytes
        }
        return message
    }

    /// Takes a server's answer.
    package mutating func receive(_ message: DHCPMessage) -> Answer {
        guard message.transaction == transaction, message.mac == mac else { return .ignored }
        switch (state, message.kind) {
        case (.selecting, .offer):
            // Another offer may make sense.
            guard let lease = try? message.lease() else { return .ignored }
            state = .requesting(lease, tries: 0)
            return .sendNow
        case (.requesting(let wanted, _), .acknowledge), (.renewing(let wanted), .acknowledge):
            // An acknowledgement that makes no sense is as good as none.
            guard let lease = try? message.lease(), lease.address == wanted.address else {
                return .ignored
            }
            state = .bound(lease)
            return .bound(lease)
        case (.requesting, .refuse), (.renewing, .refuse):
            state = .selecting
            return .lost
        default: return .ignored
        }
    }

    /// No answer came in time.
    package mutating func timeOut() {
        if case .requesting(_, let tries) = state, tries >= 4 { state = .selecting }
    }

    /// A renewal begins with a transaction of its own.
    package mutating func renew(transaction: UInt32) {
        self.transaction = transaction
        if case .bound(let lease) = state { state = .renewing(lease) }
    }

    /// The lease is over; begin again.
    package mutating func expire() { state = .selecting }
}

/// Gets an address for an interface and keeps it.
package struct DHCPClient: Sendable {
    private let network: any Network
    private let random: any RandomSource
    private let time: any TimeSource
    private let refused: @Sendable (SystemFailure) -> Void

    /// Makes the client; `refused` is told of routes that the kernel did not take.
    package init(
        network: any Network,
        random: any RandomSource,
        time: any TimeSource,
        refused: @escaping @Sendable (SystemFailure) -> Void = { _ in }
    ) {
        self.refused = refused
        self.network = network
        self.random = random
        self.time = time
    }

    /// Asks until a server lends an address, and configures the interface with it.
    ///
    /// Never gives up by itself: a switch port may take a minute to forward.
    /// - Throws: `CancellationError`; `SystemFailure` when the interface is gone.
    package func acquire(_ interface: NetworkInterface) async throws -> DHCPLease {
        var conversation = try start(interface)
        while true {
            if let lease = try await converse(&conversation, on: interface, for: .seconds(3600)) {
                return lease
            }
        }
    }

    /// Renews the lease at half of its time for ever.
    /// - Parameters:
    ///   - lease: what `acquire` got.
    ///   - interface: where.
    ///   - changed: called with each lease whose address differs from the one before.
    /// - Throws: `CancellationError`; `SystemFailure` when the interface is gone.
    package func keep(
        _ lease: DHCPLease,
        on interface: NetworkInterface,
        changed: @Sendable (DHCPLease) -> Void
    ) async throws {
        var lease = lease
        while true {
            let half = Duration.seconds(Int64(max(30, lease.seconds / 2)))
            try await time.sleep(for: half)
            var conversation = try start(interface)
            conversation.hold(lease)
            conversation.renew(transaction: transaction())
            var renewed = try await converse(&conversation, on: interface, for: half)
            if renewed == nil { renewed = try await acquire(interface) }
            guard let renewed else { continue }
            if renewed.address != lease.address { changed(renewed) }
            lease = renewed
        }
    }

    private func start(_ interface: NetworkInterface) throws -> DHCPConversation {
        guard let mac = macBytes(interface.mac) else {
            throw Fault(
                .invalid,
                "cannot ask for an address on \(interface.name): “\(interface.mac)” is no Ethernet "
                    + "address; boot from an Ethernet interface"
            )
        }
        return DHCPConversation(mac: mac, transaction: transaction())
    }

    private func transaction() -> UInt32 {
        random.bytes(4).reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Sends and listens until bound; `nil` when that took longer than `limit`.
    ///
    /// Pauses grow from 1 s to 16 s, as RFC 2131 demands, with a jitter.
    private func converse(
        _ conversation: inout DHCPConversation,
        on interface: NetworkInterface,
        for limit: Duration
    ) async throws -> DHCPLease? {
        let channel = try network.openDHCP(interface.name)
        let began = time.elapsed
        var pause = Duration.seconds(1)
        while true {
            let waited = time.elapsed - began
            if waited >= limit { return nil }
            let message = conversation.message(secondsElapsed: Int(waited.inSeconds))
            // A link that is down refuses to send; it may come up before the next try.
            try? channel.send(DHCPPacket.wrap(message.bytes, from: message.clientAddress))
            let jitter = Duration.milliseconds(Int64(random.number(below: 500)))
            switch try await listen(&conversation, channel, for: pause + jitter) {
            case .bound(let lease):
                try network.configure(interface.name, lease: lease).forEach(refused)
                return lease
            case .sendNow, .lost: pause = .seconds(1)
            case .ignored:
                conversation.timeOut()
                pause = min(pause * 2, .seconds(16))
            }
        }
    }

    /// Takes frames until one matters or the time is over (`.ignored`).
    private func listen(
        _ conversation: inout DHCPConversation,
        _ channel: any FrameChannel,
        for span: Duration
    ) async throws -> DHCPConversation.Answer {
        let end = time.elapsed + span
        while time.elapsed < end {
            while let frame = channel.receive() {
                // Foreign bytes: what does not parse is somebody else's.
                guard let payload = try? DHCPPacket.unwrap(frame),
                    let message = try? DHCPMessage(payload)
                else { continue }
                let answer = conversation.receive(message)
                if answer != .ignored { return answer }
            }
            // Polling twenty times a second costs nothing and needs no thread.
            try await time.sleep(for: min(.milliseconds(50), max(.zero, end - time.elapsed)))
        }
        return .ignored
    }
}

extension DHCPConversation {
    /// Takes over a lease that an earlier conversation got.
    mutating func hold(_ lease: DHCPLease) { state = .bound(lease) }
}

import Basics
import NIOCore
import NIOPosix
import Synchronization

/// Asks a BMC by one datagram whether it is there, before `ipmitool` is started for it.
///
/// A run of the tool holds 7 MB and one of few places for as long as a silent BMC makes it wait. A datagram holds
/// nothing, so that any number of silent BMCs takes no place from one that answers. The question is Get Channel
/// Authentication Capabilities (IPMI 2.0, 22.13) without a session, which every BMC must answer and with which
/// the tool begins too. It has no secret in it.
///
/// Whoever forges an answer only makes the tool be started.
final class IPMIGreeting: Sendable {
    private typealias Waiters = [UInt64: AsyncStream<Void>.Continuation]

    private struct State {
        var number: UInt64 = 0
        var waiting: [String: Waiters] = [:]
        var channels: [Bool: EventLoopFuture<any Channel>] = [:]
    }

    private let time: any TimeSource
    private let pauses: [Duration]
    private let state = Mutex(State())

    /// Pauses after each question; together what one run of the tool waits.
    static let pauses: [Duration] = [.seconds(1), .seconds(2), .seconds(3), .seconds(4)]

    /// RMCP's header (ASF 2.0, 3.2.2), a session header of zeroes, and the request with its two checksums:
    /// channel 0x0e is the one that is asked, 0x80 asks for what IPMI 2.0 has, 4 is the administrator.
    static let question: [UInt8] = [
        0x06, 0x00, 0xff, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
        0x20, 0x18, 0xc8, 0x81, 0x00, 0x38, 0x8e, 0x04, 0xb5,
    ]

    /// Whether a datagram is IPMI over RMCP, whatever it says: its sender is there.
    static func isAnswer(_ bytes: some Collection<UInt8>) -> Bool {
        bytes.first == 0x06 && bytes.dropFirst(3).first == 0x07
    }

    /// `pauses`: after each question.
    init(time: any TimeSource, pauses: [Duration] = IPMIGreeting.pauses) {
        self.time = time
        self.pauses = pauses
    }

    deinit {
        for channel in state.withLock({ $0.channels.values.map { $0 } }) {
            channel.whenSuccess { $0.close(promise: nil) }
        }
    }

    /// Asks for at most ten seconds.
    /// - Returns: whether something answered; `nil` when it cannot be asked, as by a host name.
    func answers(_ host: String, port: UInt16) async -> Bool? {
        // A name is resolved by the tool, which does it in a process of its own.
        guard let address = try? SocketAddress(ipAddress: host, port: Int(port)),
            let key = Self.key(of: address),
            // Without a socket nothing can be said, and the tool will tell.
            let channel = try? await channel(isIPv6: address.protocol == .inet6).get()
        else { return nil }
        let (answers, continuation) = AsyncStream<Void>.makeStream(
            bufferingPolicy: .bufferingNewest(1)
        )
        let number = state.withLock { state in
            state.number += 1
            state.waiting[key, default: [:]][state.number] = continuation
            return state.number
        }
        defer {
            state.withLock { state in
                state.waiting[key]?[number] = nil
                if state.waiting[key]?.isEmpty == true { state.waiting[key] = nil }
            }
        }
        return await withTaskGroup(of: Bool.self) { group in
            group.addTask(name: "greeting of \(key)") {
                for await _ in answers { return true }
                return false
            }
            group.addTask(name: "questions to \(key)") { [time, pauses] in
                for pause in pauses {
                    Self.ask(address, through: channel)
                    do { try await time.sleep(for: pause) } catch { break }
                }
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
    }

    private static func ask(_ address: SocketAddress, through channel: any Channel) {
        let buffer = channel.allocator.buffer(bytes: question)
        // A datagram that cannot be sent is one that gets no answer.
        channel.writeAndFlush(
            AddressedEnvelope(remoteAddress: address, data: buffer),
            promise: nil
        )
    }

    private static func key(of address: SocketAddress) -> String? {
        guard let host = address.ipAddress, let port = address.port else { return nil }
        return "\(host) \(port)"
    }

    /// The one socket of each family, opened when it is first needed.
    private func channel(isIPv6: Bool) -> EventLoopFuture<any Channel> {
        state.withLock { state in
            if let channel = state.channels[isIPv6] { return channel }
            let listener = Listener { [weak self] in self?.heard($0) }
            let channel = DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelInitializer { $0.pipeline.addHandler(listener) }
                .bind(host: isIPv6 ? "::" : "0.0.0.0", port: 0)
            state.channels[isIPv6] = channel
            return channel
        }
    }

    private func heard(_ address: SocketAddress) {
        guard let key = Self.key(of: address) else { return }
        for waiter in state.withLock({ $0.waiting[key].map { Array($0.values) } ?? [] }) {
            waiter.yield()
        }
    }

    /// Tells who sent an answer.
    private final class Listener: ChannelInboundHandler, Sendable {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>

        private let heard: @Sendable (SocketAddress) -> Void

        init(_ heard: @escaping @Sendable (SocketAddress) -> Void) { self.heard = heard }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = unwrapInboundIn(data)
            guard IPMIGreeting.isAnswer(envelope.data.readableBytesView) else { return }
            heard(envelope.remoteAddress)
        }
    }
}

package import Basics
import Glibc
import HTTPTypes
package import Hummingbird
import HummingbirdCore
import HummingbirdTLS
package import Logging
import NIOCore
import NIOPosix
import Protocol
import ServiceLifecycle
import Synchronization

/// Serves one router on any number of sockets, over TLS or plainly.
///
/// Hummingbird's own `Server` binds one address and cannot take a socket that is bound already, so the
/// bootstrap is ours; the channels, the HTTP handling and the router are Hummingbird's.
package final class HTTPServer: Service {
    /// Bounds against clients that are slow or many.
    package struct Limits: Sendable {
        /// Open connections of one socket; more wait in the kernel's queue.
        package var connectionsMax = 1024
        /// A connection on which no request part arrives and none is being answered is closed.
        package var idleBudget = Duration.seconds(60)
        /// A connection whose client takes nothing of its answer is closed.
        package var stallBudget = Duration.seconds(120)
        package var headerBytesMax = 32 << 10
        /// Connections that wait for `accept`.
        package var backlogMax: CInt = 512

        package init() {}
    }

    private typealias Connection = ServerChannel.Value
    private typealias Listener = NIOAsyncChannel<Connection, Never>

    private let endpoints: [ListenerEndpoint]
    private let tls: TLSFiles?
    private let responder: RouterResponder<APIContext>
    private let limits: Limits
    private let logger: Logger
    private let dates: DateHeader
    private let bound = Mutex<[Int]>([])
    private let onListening: (@Sendable ([Int]) -> Void)?

    /// Makes a server for at least one endpoint.
    ///
    /// Without `tls` it serves plain HTTP; only for boot files, which firmware cannot fetch otherwise.
    /// `onListening` is called once all sockets take connections, with their ports in order.
    package init(
        endpoints: [ListenerEndpoint],
        tls: TLSFiles?,
        router: Router<APIContext>,
        limits: Limits = Limits(),
        logger: Logger,
        time: any TimeSource,
        onListening: (@Sendable ([Int]) -> Void)? = nil
    ) {
        precondition(!endpoints.isEmpty, "a server needs an endpoint")
        self.endpoints = endpoints
        self.tls = tls
        responder = router.buildResponder()
        self.limits = limits
        self.logger = logger
        dates = DateHeader(time: time)
        self.onListening = onListening
    }

    /// The ports in the order of the endpoints, once they take connections.
    package var ports: [Int] { bound.withLock { $0 } }

    /// Serves until cancelled or shut down.
    /// - Throws: `Fault` that names the address when it cannot be bound.
    package func run() async throws {
        let setup = try ServerChannel(
            tls: try tls?.configuration(),
            limits: limits,
            responder: makeResponder()
        )
        var listeners: [Listener] = []
        for endpoint in endpoints {
            listeners.append(try await listen(on: endpoint, setup))
        }
        let ports = listeners.map { $0.channel.localAddress?.port ?? 0 }
        bound.withLock { $0 = ports }
        for port in ports {
            logger.info(
                "listening",
                metadata: [LogKey.address: "port \(port)", LogKey.count: "\(listeners.count)"]
            )
        }
        onListening?(ports)
        let logger = logger
        let open = listeners
        // A stop is a crash: what is being answered is cut off, and recovery is the normal path.
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                for listener in open {
                    group.addTask(name: "listener") {
                        await Self.accept(listener, setup, logger)
                    }
                }
            }
        }
    }

    private static func accept(
        _ listener: Listener,
        _ setup: ServerChannel,
        _ logger: Logger
    ) async {
        await withDiscardingTaskGroup { connections in
            do {
                try await listener.executeThenClose { inbound in
                    for try await connection in inbound {
                        connections.addTask(name: "connection") {
                            await setup.handle(connection, logger: logger)
                        }
                    }
                }
            } catch is CancellationError {
                connections.cancelAll()
            } catch {
                logger.error(
                    "a listener failed",
                    metadata: [LogKey.error: .string(String(describing: error))]
                )
            }
        }
    }

    private func listen(on endpoint: ListenerEndpoint, _ setup: ServerChannel) async throws
        -> Listener
    {
        let limits = limits
        let logger = logger
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: limits.backlogMax)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        AvailableConnectionsChannelHandler<MaximumAvailableConnections>(
                            maxConnections: limits.connectionsMax
                        )
                    )
                }
            }
        switch endpoint {
        case .handedOver(let descriptor):
            return try await bootstrap.bind(descriptor) { channel in
                setup.prepare(channel, logger: logger)
            }
        case .address(let host, let port):
            do {
                return try await bootstrap.bind(host: host, port: port) { channel in
                    setup.prepare(channel, logger: logger)
                }
            } catch let error as IOError where error.errnoCode == EADDRINUSE {
                throw Fault(
                    .unavailable,
                    "cannot listen on \(host) port \(port): another program uses this port; stop it or configure another port",
                    cause: error
                )
            } catch {
                throw Fault(
                    .unavailable,
                    "cannot listen on \(host) port \(port): check that this address belongs to this host and that the port is allowed",
                    cause: error
                )
            }
        }
    }

    private func makeResponder() -> HTTPChannelHandler.Responder {
        let responder = responder
        let logger = logger
        let dates = dates
        return { request, writer, channel in
            let context = APIContext(
                source: ApplicationRequestContextSource(channel: channel, logger: logger)
            )
            var response: Response
            do {
                response = try await responder.respond(to: request, context: context)
            } catch {
                logger.error(
                    "a request had no answer",
                    metadata: [LogKey.error: .string(String(describing: error))]
                )
                response = Response(status: .internalServerError)
            }
            response.headers[.date] = dates.text
            try await writer.write(response: response.head, body: response.body)
        }
    }
}

/// A connection's channel, with TLS around it or without.
private enum ServerChannel: Sendable {
    typealias Value = HTTP1Channel.Value

    case plain(HTTP1Channel)
    case secure(TLSChannel<HTTP1Channel>)

    init(
        tls: TLSConfiguration?,
        limits: HTTPServer.Limits,
        responder: @escaping HTTPChannelHandler.Responder
    ) throws {
        let stall = TimeAmount.nanoseconds(limits.stallBudget.wholeNanoseconds)
        var configuration = HTTP1Channel.Configuration(
            additionalChannelHandlers: [StalledWriteHandler(limit: stall)],
            idleTimeout: .nanoseconds(limits.idleBudget.wholeNanoseconds)
        )
        configuration.httpDecoder.maxHeaderListSize = limits.headerBytesMax
        configuration.httpDecoder.maxHeaderFieldSize = limits.headerBytesMax
        configuration.httpDecoder.maxHeaderFieldCount = 100
        let channel = HTTP1Channel(responder: responder, configuration: configuration)
        if let tls {
            self = .secure(try TLSChannel(channel, tlsConfiguration: tls))
        } else {
            self = .plain(channel)
        }
    }

    func prepare(_ channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        switch self {
        case .plain(let base): base.setup(channel: channel, logger: logger)
        case .secure(let base): base.setup(channel: channel, logger: logger)
        }
    }

    func handle(_ value: Value, logger: Logger) async {
        switch self {
        case .plain(let base): await base.handle(value: value, logger: logger)
        case .secure(let base): await base.handle(value: value, logger: logger)
        }
    }
}

/// The `Date` header's text (RFC 9110, 5.6.7), made once per second.
final class DateHeader: Sendable {
    private let time: any TimeSource
    private let cached = Mutex<(second: Int64, text: String)>((.min, ""))

    init(time: any TimeSource) { self.time = time }

    var text: String {
        let second = time.now.nanoseconds / 1_000_000_000
        return cached.withLock { cached in
            if cached.second != second { cached = (second, Self.format(second)) }
            return cached.text
        }
    }

    static func format(_ second: Int64) -> String {
        var time = time_t(second)
        var parts = tm()
        gmtime_r(&time, &parts)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        func two(_ value: CInt) -> String { value < 10 ? "0\(value)" : String(value) }
        let date = "\(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900)"
        let clock = "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
        return "\(days[Int(parts.tm_wday)]), \(date) \(clock) GMT"
    }
}

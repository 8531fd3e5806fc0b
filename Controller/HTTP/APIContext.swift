package import Basics
package import Hummingbird
import Logging
import NIOCore
import Synchronization

/// What travels with one request.
package struct APIContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    /// `req-` and a UUID, as OpenStack's services write it; also in the answer's header and in the log.
    package internal(set) var requestID: String
    /// Who asks; always there behind `Access.role`, never behind `Access.open`.
    package internal(set) var principal: Principal?
    /// The peer's address without its port; empty in tests without a socket.
    package let remoteAddress: String

    /// The clock that bounds waits of this request.
    package internal(set) var time: any TimeSource = SystemTime()
    /// Tells the middleware around the route who asked.
    let who = Who()

    /// Bytes of a JSON request at most.
    package static let bodyBytesMax = 1 << 20
    /// A JSON request's body must have arrived in this time.
    package static let bodyBudget = Duration.seconds(30)

    package init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        remoteAddress = source.channel.remoteAddress?.ipAddress ?? ""
        requestID = ""
    }

    package var maxUploadSize: Int { Self.bodyBytesMax }

    /// Who asks.
    /// - Throws: `Fault` of kind `unauthenticated` on a route that is open.
    package func requirePrincipal() throws -> Principal {
        guard let principal else { throw Fault.noToken }
        return principal
    }

    /// Tells the audit trail which object the call is about when its path does not say so.
    package func note(target id: String) { who.set(target: id) }

    /// A parameter of the path.
    package func parameter(_ name: String) throws -> String {
        guard let value = parameters.get(name)?.removingURLPercentEncoding(), !value.isEmpty else {
            throw Fault(.invalid, "cannot read the path: it has no \(name)")
        }
        return value
    }
}

/// Who asked, once the gate knows, and for what; shared between the route and the middleware around it.
final class Who: Sendable {
    private struct State {
        var principal: Principal?
        var target: String?
        var recordedAt: Int64 = 0
    }

    private let state = Mutex(State())

    var principal: Principal? { state.withLock { $0.principal } }
    var target: String? { state.withLock { $0.target } }
    /// Where the audit trail has a record of the call already; 0 when it has none.
    var recordedAt: Int64 { state.withLock { $0.recordedAt } }
    func set(recordedAt sequence: Int64) { state.withLock { $0.recordedAt = sequence } }
    func set(_ principal: Principal) { state.withLock { $0.principal = principal } }
    func set(target: String) { state.withLock { $0.target = target } }
}

extension Fault {
    static var noToken: Fault {
        Fault(
            .unauthenticated,
            "cannot tell who asks: the request has no valid token; sign in and send it as X-Auth-Token"
        )
    }
}

extension String {
    /// The text without percent-encoding; `nil` when that is broken.
    package func removingURLPercentEncoding() -> String? {
        guard utf8.contains(UInt8(ascii: "%")) else { return self }
        var bytes: [UInt8] = []
        var rest = Array(utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexDigit),
                let low = rest.popFirst().flatMap(hexDigit)
            else { return nil }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

/// The value of a hexadecimal digit, 0 to 15; `nil` when it is none.
package func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}

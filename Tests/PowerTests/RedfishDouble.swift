import Basics
import Foundation
import HTTP
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Synchronization

/// A Redfish service made of recorded documents, with the ways of certain BMCs.
///
/// The documents and ways are data, in `Recordings/*.json`: `documents` by path, `ways` by name; each recording
/// says what differs from `plain.json`, which follows the examples of DMTF's specification. It behaves as
/// services do: changes show in the documents, actions have effects, sessions and tags are checked.
final class RedfishDouble: Sendable {
    /// What was asked of it.
    struct Asked: Sendable, Equatable {
        let method: String
        let path: String
        let headers: [String: String]
    }

    struct State {
        var documents: [String: JSONValue]
        var sessions: Set<String> = []
        var sessionsMade = 0
        var asked: [Asked] = []
        var versions: [String: Int] = [:]
        var subscriptionsMade = 0
        var images: [JSONValue] = []
        var password = RedfishDouble.password
    }

    /// An event on its way.
    struct Delivery: Sendable {
        let destination: String
        let body: JSONValue
    }

    let ways: JSONValue
    let state: Mutex<State>
    private let deliveries: AsyncStream<Delivery>
    let outbox: AsyncStream<Delivery>.Continuation
    static let user = "admin"
    static let password = "a secret of the tests"

    init(_ recording: String) throws {
        var folder = Array("\(#filePath)".split(separator: "/"))
        folder.removeLast()
        // Other suites have a link to this file.
        folder.removeLast()
        let place = "/" + folder.joined(separator: "/") + "/PowerTests/Recordings"
        func read(_ name: String) throws -> JSONValue {
            let file = URL(filePath: "\(place)/\(name).json")
            return try JSONValue(parsing: Array(try Data(contentsOf: file)))
        }
        let (plain, value) = (try read("plain"), try read(recording))
        ways = value["ways"] ?? [:]
        let documents = (plain["documents"]?.members ?? [:]).merging(
            value["documents"]?.members ?? [:]
        ) { $1 }
        state = Mutex(State(documents: documents))
        (deliveries, outbox) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1000))
    }

    func way(_ name: String) -> JSONValue? { ways[name] }
    var asked: [Asked] { state.withLock { $0.asked } }
    var sessions: Int { state.withLock { $0.sessions.count } }
    func document(_ path: String) -> JSONValue { state.withLock { $0.documents[path] ?? .null } }

    /// Ends all sessions, as a BMC does that restarted.
    func endSessions() { state.withLock { $0.sessions = [] } }

    /// Serves while the body runs; the port goes to it.
    func serve<Result: Sendable>(
        at host: String = "127.0.0.1",
        _ body: @escaping @Sendable (UInt16) async throws -> Result
    ) async throws -> Result {
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        var logger = Logger(label: "double")
        logger.logLevel = .critical
        let application = Application(
            responder: CallbackResponder { (request: Request, _: BasicRequestContext) in
                try await self.answer(request)
            },
            configuration: .init(address: .hostname(host, port: 0)),
            onServerRunning: { channel in
                continuation.yield(channel.localAddress?.port ?? 0)
            },
            logger: logger
        )
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask {
                try await application.run()
                return nil
            }
            group.addTask {
                await self.deliver(self.deliveries)
                return nil
            }
            group.addTask {
                var iterator = ports.makeAsyncIterator()
                guard let port = await iterator.next() else { return nil }
                return try await body(UInt16(port))
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw Fault(.internalError, "cannot serve: the double ended")
        }
    }

    private func answer(_ request: Request) async throws -> Response {
        let path = request.uri.path
        var headers: [String: String] = [:]
        for field in request.headers { headers[field.name.canonicalName] = field.value }
        let buffer = try await request.body.collect(upTo: 1 << 20)
        let asked = Asked(method: request.method.rawValue, path: path, headers: headers)
        let number = state.withLock { state in
            state.asked.append(asked)
            return state.asked.count { $0.path == path && $0.method == asked.method }
        }
        if let way = way("answers")?["\(asked.method) \(path)"] {
            let turns = way["times"]?.integer ?? .max
            if number <= turns { return try await special(way) }
        }
        // Some clients and servers add or drop a slash at the end.
        let plain = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        if plain != "/redfish/v1", !(asked.method == "POST" && plain.hasSuffix("/Sessions")),
            !isAllowed(headers)
        {
            return .json(error("who are you?"), status: .unauthorized)
        }
        let body =
            buffer.readableBytes == 0
            ? nil : try JSONValue(parsing: Array(buffer.readableBytesView))
        return state.withLock { state in
            // Pages of a list are documents of their own.
            let whole = request.uri.query.map { "\(plain)?\($0)" } ?? plain
            let place = state.documents[whole] == nil ? plain : whole
            return respond(to: asked.method, place, headers, body, &state)
        }
    }

    /// An answer that stands in the recording as it is.
    private func special(_ way: JSONValue) async throws -> Response {
        if let seconds = way["seconds"]?.integer {
            try await SystemTime().sleep(for: .seconds(seconds))
        }
        var fields = HTTPFields()
        for (name, value) in way["headers"]?.members ?? [:] {
            guard let name = HTTPField.Name(name) else { continue }
            fields[name] = value.text
        }
        let status = HTTPResponse.Status(code: Int(way["status"]?.integer ?? 200))
        let text = way["body"]?.text ?? ""
        guard let copies = way["copies"]?.integer else {
            return Response(
                status: status,
                headers: fields,
                body: .init(byteBuffer: ByteBuffer(string: text))
            )
        }
        let pause = way["pause"]?.integer
        return Response(
            status: status,
            headers: fields,
            body: .init { writer in
                for _ in 0..<copies {
                    try await writer.write(ByteBuffer(string: text))
                    if let pause { try await SystemTime().sleep(for: .milliseconds(pause)) }
                }
                try await writer.finish(nil)
            }
        )
    }

    private func isAllowed(_ headers: [String: String]) -> Bool {
        if let token = headers["x-auth-token"] {
            return state.withLock { $0.sessions.contains(token) }
        }
        guard way("basic")?.bool != false else { return false }
        let password = state.withLock(\.password)
        let pair = Data("\(Self.user):\(password)".utf8).base64EncodedString()
        return headers["authorization"] == "Basic " + pair
    }

    func error(_ words: String) -> JSONValue {
        ["error": ["code": "Base.1.8.GeneralError", "message": .string(words)]]
    }
}

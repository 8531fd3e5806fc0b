import Basics
import HTTP
import HTTPTypes
import Harness
import Hummingbird
import Logging
import Protocol
import Store
import Synchronization
import Testing

@testable import Telemetry

private let secret = Secret("sixteen bytes ok")

/// A message that a receiver got.
private struct Message: Sendable {
    let path: String
    let body: String
    let headers: HTTPFields
}

/// What a receiver got, and how it answers the first ones.
private final class Inbox: Sendable {
    private let state = Mutex<(messages: [Message], answers: [Int])>(([], []))

    init(answers: [Int] = []) { state.withLock { $0.answers = answers } }

    var messages: [Message] { state.withLock { $0.messages } }
    var events: [Int] { messages.compactMap { $0.headers[.eventID].flatMap { Int($0) } } }

    func take(_ message: Message) -> Int {
        state.withLock { state in
            state.messages.append(message)
            return state.answers.isEmpty ? 204 : state.answers.removeFirst()
        }
    }
}

extension HTTPField.Name {
    fileprivate static let eventID = Self.known("X-RDO-Event-ID")
    fileprivate static let stamp = Self.known("X-RDO-Timestamp")
    fileprivate static let signature = Self.known("X-RDO-Signature")
}

/// Takes nothing until it is told to.
private final class Refusing: WebhookSender {
    let sent = Mutex<[String]>([])
    let refuses = Mutex(true)

    func send(_ body: [UInt8], headers: [(String, String)], to url: String) async throws {
        if refuses.withLock({ $0 }) { throw Fault(.unavailable, "it answered 500") }
        sent.withLock { $0.append(headers.first { $0.0 == "X-RDO-Event-ID" }?.1 ?? "") }
    }
}

private struct OwnNodes: EventScope {
    func isVisible(node: String, to project: String) async throws -> Bool {
        node.hasPrefix(project)
    }
}

/// The service with its database; the test says when a turn is taken.
private struct Bench {
    let database: Database
    let service: WebhooksService
    let sealer = Sealer(key: Secret(bytes: [UInt8](repeating: 5, count: 32)))

    init(_ sender: any WebhookSender, rules: WebhookRules = WebhookRules()) throws {
        database = try Database(
            path: nil,
            migrations: WebhookSchema.migrations,
            feed: ChangeFeed()
        )
        service = WebhooksService(
            database: database,
            sealer: sealer,
            sender: sender,
            scope: OwnNodes(),
            rules: rules,
            time: SystemTime(),
            random: SystemRandom(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }

    func change(_ id: String, kind: String = "node") async throws {
        try await database.write {
            try $0.record(
                kind: kind,
                id: id,
                before: "available",
                after: "deploying",
                cause: "test",
                at: Timestamp(seconds: 1)
            )
        }
    }

    /// Lets a hook send whatever it has, as if its next try had come.
    func turn(_ hook: Webhook) async throws -> Webhook {
        let stored = try await service.hook(hook.id.text, by: principal(hook.project))
        await service.takeTurn(stored)
        return try await service.hook(hook.id.text, by: principal(hook.project))
    }
}

private func principal(_ project: String?) -> Principal {
    Principal(
        userID: "u",
        userName: "kim",
        scope: project.map { .project(id: $0, name: $0) } ?? .system,
        role: .manager,
        isAdminProject: false,
        tokenID: "t"
    )
}

/// Runs a real HTTPS server for as long as `body` runs; `body` gets its port and its certificate's file.
private func serving(
    _ inbox: Inbox,
    _ body: @escaping @Sendable (Int, String) async throws -> Void
) async throws {
    try await TestCertificate.with(name: "localhost", alternatives: ["DNS:localhost"]) { made in
        try await serving(inbox, made, body)
    }
}

private func serving(
    _ inbox: Inbox,
    _ certificate: TestCertificate,
    _ body: @escaping @Sendable (Int, String) async throws -> Void
) async throws {
    let router = Router(context: APIContext.self)
    router.post("/**") { request, context in
        let bytes = try await request.bytes(context)
        let status = inbox.take(
            Message(
                path: request.uri.path,
                body: String(decoding: bytes, as: UTF8.self),
                headers: request.headers
            )
        )
        var response = Response(status: HTTPResponse.Status(code: status))
        if status == 302 { response.headers[.location] = "/elsewhere" }
        return response
    }
    let (ports, continuation) = AsyncStream.makeStream(
        of: [Int].self,
        bufferingPolicy: .bufferingNewest(1)
    )
    let server = HTTPServer(
        endpoints: [.address(host: "127.0.0.1", port: 0)],
        tls: TLSFiles(certificatePath: certificate.path, keyPath: certificate.keyPath),
        router: router,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
        time: SystemTime(),
        onListening: { continuation.yield($0) }
    )
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            defer { continuation.finish() }
            try await server.run()
        }
        var iterator = ports.makeAsyncIterator()
        guard let found = await iterator.next() else { return try await group.waitForAll() }
        try await body(found[0], certificate.path)
        group.cancelAll()
    }
}

@Suite struct WebhookTests {
    private var internalRules: WebhookRules {
        var rules = WebhookRules()
        rules.allowsInternal = true
        return rules
    }

    @Test func `changes arrive signed over HTTPS, in order, again after a failure`() async throws {
        let inbox = Inbox(answers: [204, 500])
        let rules = internalRules
        try await serving(inbox) { port, authority async throws in
            let bench = try Bench(
                HTTPSWebhookSender(rules: rules, authority: authority),
                rules: rules
            )
            try await bench.change("a0")
            let hook = try await bench.service.create(
                "https://localhost:\(port)/hook",
                secret,
                by: principal(nil)
            )
            for id in ["a1", "a2", "a3"] { try await bench.change(id) }
            let failed = try await bench.turn(hook)
            #expect(failed.position == 2 && failed.failures == 1)
            #expect(failed.lastError == "it answered 500")
            let done = try await bench.turn(failed)
            #expect(done.position == 4 && done.failures == 0 && done.lastError == nil)
        }
        #expect(inbox.events == [2, 3, 3, 4])
        for message in inbox.messages {
            let stamp = try #require(message.headers[.stamp])
            #expect(
                message.headers[.signature]
                    == WebhooksService.signature(of: message.body, at: stamp, secret)
            )
            let body = try JSONValue(parsing: message.body.utf8)
            #expect(body["after"] == "deploying" && body["kind"] == "node")
        }
    }

    @Test func `the signature is HMAC-SHA256 as openssl computes it`() {
        let signature = WebhooksService.signature(of: #"{"a":1}"#, at: "1800000000", secret)
        #expect(signature == "v1=d5c95b4fbf9528073505c9169ae2c8c4f7cd989dd1bd3e90daebaaa909dbb9ed")
    }

    @Test func `no redirect is followed`() async throws {
        let inbox = Inbox(answers: [302])
        let rules = internalRules
        try await serving(inbox) { port, authority async throws in
            let sender = HTTPSWebhookSender(rules: rules, authority: authority)
            let fault = await #expect(throws: Fault.self) {
                try await sender.send([], headers: [], to: "https://localhost:\(port)/hook")
            }
            #expect(fault?.message == "it answered 302; redirects are not followed")
        }
        #expect(inbox.messages.map(\.path) == ["/hook"])
    }

    @Test func `nothing is sent to a server whose certificate is not trusted`() async throws {
        let inbox = Inbox()
        let rules = internalRules
        try await serving(inbox) { port, _ async throws in
            let sender = HTTPSWebhookSender(rules: rules, authority: nil)
            await #expect(throws: Fault.self) {
                try await sender.send([1], headers: [], to: "https://localhost:\(port)/hook")
            }
        }
        #expect(inbox.messages.isEmpty)
    }

    @Test func `the next address of a name is tried when nobody is at one`() async throws {
        let inbox = Inbox()
        let rules = internalRules
        try await serving(inbox) { port, authority async throws in
            let sender = HTTPSWebhookSender(rules: rules, authority: authority) { name in
                name == "localhost" ? ["127.0.0.2", "::1", "127.0.0.1"] : []
            }
            try await sender.send([1], headers: [], to: "https://localhost:\(port)/hook")
        }
        #expect(inbox.messages.map(\.path) == ["/hook"])
    }

    @Test func `of a name's addresses only those are tried that may be sent to`() async throws {
        let inbox = Inbox()
        try await serving(inbox) { port, authority async throws in
            var rules = WebhookRules()
            rules.network = ([192, 0, 2, 1], [255, 255, 255, 0])
            let sender = HTTPSWebhookSender(rules: rules, authority: authority) { _ in
                ["192.0.2.7", "127.0.0.1", "fe80::1"]
            }
            let fault = await #expect(throws: Fault.self) {
                try await sender.send([1], headers: [], to: "https://localhost:\(port)/hook")
            }
            #expect(fault?.kind == .forbidden)
            #expect(fault?.message.contains("the provisioning network") == true)
        }
        #expect(inbox.messages.isEmpty)
    }

    @Test func `the resolver gives every address of a name`() throws {
        #expect(try HTTPSWebhookSender.addresses(of: "127.0.0.1") == ["127.0.0.1"])
        #expect(try HTTPSWebhookSender.addresses(of: "::1") == ["::1"])
        #expect(try HTTPSWebhookSender.addresses(of: "localhost").contains("127.0.0.1"))
        #expect(throws: Fault.self) { try HTTPSWebhookSender.addresses(of: "nobody.invalid") }
    }

    @Test func `an IPv6 address in brackets is a target, and held to the rules`() async throws {
        let bench = try Bench(Refusing())
        let hook = try await bench.service.create(
            "https://[2001:db8::1]:8443/x",
            secret,
            by: principal(nil)
        )
        #expect(hook.url == "https://[2001:db8::1]:8443/x")
        let sender = HTTPSWebhookSender(rules: WebhookRules(), authority: nil)
        for url in ["https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fe80::1]/"] {
            let fault = await #expect(throws: Fault.self) {
                try await sender.send([1], headers: [], to: url)
            }
            #expect(fault?.kind == .forbidden, "\(url): \(fault?.message ?? "")")
        }
    }

    @Test func `nothing is sent to this host unless that is allowed`() async throws {
        let inbox = Inbox()
        try await serving(inbox) { port, authority async throws in
            let sender = HTTPSWebhookSender(rules: WebhookRules(), authority: authority)
            let fault = await #expect(throws: Fault.self) {
                try await sender.send([1], headers: [], to: "https://localhost:\(port)/hook")
            }
            #expect(fault?.message.contains("an address of this host") == true)
        }
        #expect(inbox.messages.isEmpty)
    }

    static let addresses: [(String, [UInt8], Bool)] = [
        ("loopback", [127, 9, 0, 1], false), ("zero", [0, 0, 0, 0], false),
        ("link-local", [169, 254, 169, 254], false), ("multicast", [224, 0, 0, 1], false),
        ("broadcast", [255, 255, 255, 255], false), ("provisioning", [192, 0, 2, 77], false),
        ("our own", [198, 51, 100, 7], false), ("another network", [192, 0, 3, 77], true),
        ("a data centre's", [10, 1, 2, 3], true),
        ("IPv6 loopback", [UInt8](repeating: 0, count: 15) + [1], false),
        ("mapped loopback", [UInt8](repeating: 0, count: 10) + [255, 255, 127, 0, 0, 1], false),
        (
            "translated link-local",
            [0, 0x64, 0xff, 0x9b] + [UInt8](repeating: 0, count: 8) + [169, 254, 169, 254], false
        ),
        (
            "6to4 loopback", [0x20, 2, 127, 0, 0, 1] + [UInt8](repeating: 0, count: 10), false
        ), ("IPv6 link-local", [0xfe, 0x80] + [UInt8](repeating: 1, count: 14), false),
        ("IPv6", [0x20, 1, 0xd, 0xb8] + [UInt8](repeating: 1, count: 12), true),
    ]

    @Test(arguments: addresses)
    func `only addresses outside are sent to`(name: String, bytes: [UInt8], isAllowed: Bool) {
        var rules = WebhookRules()
        rules.network = ([192, 0, 2, 1], [255, 255, 255, 0])
        let problem = rules.problem(with: bytes, own: [[198, 51, 100, 7]])
        #expect((problem == nil) == isAllowed, "\(name): \(problem ?? "allowed")")
    }

    @Test(arguments: [
        "ftp://a/", "https://", "https://user@a/", "https://a:0/", "https://a:99999/",
        "https://a/#x", "https://a b/", "https://[::1", "https://[a]/", "https://[::1%lo]/",
        "https://[::1]x/", "https://[127.0.0.1]/", "https://a\\b/", "//a/", "http://a/",
        "https://a\u{0}/",
    ])
    func `an address that is no plain https address is refused`(url: String) async throws {
        let bench = try Bench(Refusing())
        await #expect(throws: Fault.self) {
            _ = try await bench.service.create(url, secret, by: principal(nil))
        }
    }

    @Test func `a hook that fails too often is disabled, and goes on where it was when enabled`()
        async throws
    {
        let sender = Refusing()
        let bench = try Bench(sender)
        var hook = try await bench.service.create("https://a/", secret, by: principal(nil))
        try await bench.change("a1")
        for _ in 0..<Webhook.failuresMax { hook = try await bench.turn(hook) }
        #expect(hook.disabledReason == "32 tries failed; the last: it answered 500")
        #expect(hook.position == 0)
        let due = try await bench.database.read { [sealer = bench.sealer] in
            try $0.dueWebhooks(at: .init(seconds: 4e9), sealer: sealer)
        }
        #expect(due.isEmpty)
        sender.refuses.withLock { $0 = false }
        hook = try await bench.service.update(
            hook.id.text,
            url: nil,
            secret: nil,
            enables: true,
            by: principal(nil)
        )
        #expect(hook.disabledReason == nil)
        _ = try await bench.turn(hook)
        #expect(sender.sent.withLock { $0 } == ["1"])
    }

    @Test func `another address does not get the secret`() async throws {
        let bench = try Bench(Refusing())
        let hook = try await bench.service.create("https://a/", secret, by: principal("a"))
        let moved = try await bench.service.update(
            hook.id.text,
            url: "https://b/",
            secret: nil,
            enables: true,
            by: principal("a")
        )
        #expect(moved.secret == nil)
        #expect(moved.disabledReason == "its address changed: give it a secret again")
        let whole = try await bench.service.update(
            hook.id.text,
            url: "https://b/",
            secret: secret,
            enables: true,
            by: principal("a")
        )
        #expect(whole.secret == secret && whole.disabledReason == nil)
        // A row that somebody gave another address by hand cannot be opened.
        var forged = whole
        forged.url = "https://evil/"
        #expect(forged.sealing != whole.sealing)
    }

    @Test func `a project gets the events of its own nodes and sees its own hooks only`()
        async throws
    {
        let sender = Refusing()
        sender.refuses.withLock { $0 = false }
        let bench = try Bench(sender)
        let hook = try await bench.service.create("https://a/", secret, by: principal("a"))
        try await bench.change("a1")
        try await bench.change("b1")
        try await bench.change("a-image", kind: "image")
        try await bench.change("a2")
        #expect(try await bench.turn(hook).position == 4)
        #expect(sender.sent.withLock { $0 } == ["1", "4"])
        for other in [principal("b"), principal(nil)] {
            await #expect(throws: Fault.self) {
                _ = try await bench.service.hook(hook.id.text, by: other)
            }
            await #expect(throws: Fault.self) {
                try await bench.service.delete(hook.id.text, by: other)
            }
            #expect(try await bench.service.list(by: other).isEmpty)
        }
        try await bench.service.delete(hook.id.text, by: principal("a"))
        #expect(try await bench.service.list(by: principal("a")).isEmpty)
    }
}

import Basics
import Glibc
import HTTP
import Harness
import HostTools
import Hummingbird
import Logging
import Synchronization
import Testing

@Suite struct ServerTests {
    private static let greeting = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"

    private func makeServer(
        _ endpoints: [ListenerEndpoint],
        tls: TLSFiles? = nil,
        limits: HTTPServer.Limits = HTTPServer.Limits(),
        onListening: @escaping @Sendable ([Int]) -> Void
    ) -> HTTPServer {
        let surface = Surface(
            authenticator: nil,
            logger: Logger(label: "test"),
            time: SystemTime(),
            random: SystemRandom()
        )
        let routes = surface.area("", dialect: .plain)
        routes.get("/hello", .open, .sample) { _, _ in .text("good morning") }
        routes.get("/large", .open, .sample) { _, _ in
            let part = ByteBuffer(repeating: 0x61, count: 1 << 20)
            return Response(
                status: .ok,
                body: ResponseBody(contentsOf: Array(repeating: part, count: 64))
            )
        }
        routes.post("/echo", .open, .sample) { request, context in
            .json(bytes: try await request.bytes(context))
        }
        return HTTPServer(
            endpoints: endpoints,
            tls: tls,
            router: surface.makeRouter(),
            limits: limits,
            logger: Logger(label: "test"),
            time: SystemTime(),
            onListening: onListening
        )
    }

    /// Runs a server for as long as `body` runs.
    private func serving(
        _ endpoints: [ListenerEndpoint] = [.address(host: "127.0.0.1", port: 0)],
        tls: TLSFiles? = nil,
        limits: HTTPServer.Limits = HTTPServer.Limits(),
        _ body: @escaping @Sendable ([Int]) async throws -> Void
    ) async throws {
        let (ports, continuation) = AsyncStream.makeStream(
            of: [Int].self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let server = makeServer(endpoints, tls: tls, limits: limits) { continuation.yield($0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { continuation.finish() }
                try await server.run()
            }
            var iterator = ports.makeAsyncIterator()
            guard let found = await iterator.next() else {
                try await group.waitForAll()
                return
            }
            try await body(found)
            group.cancelAll()
        }
    }

    @Test func `a bound address answers`() async throws {
        try await serving { ports in
            let client = RawClient()
            try await client.connect(port: ports[0])
            await client.send(Self.greeting)
            let answer = await client.receive(until: "good morning")
            #expect(answer.hasPrefix("HTTP/1.1 200"))
            #expect(answer.lowercased().contains("\r\ndate: "))
            await client.close()
        }
    }

    @Test func `a handed-over socket and an address are served together`() async throws {
        let handed = makeListeningSocket()
        try await serving([
            .handedOver(descriptor: handed.descriptor), .address(host: "127.0.0.1", port: 0),
        ]) { ports in
            #expect(ports[0] == handed.port)
            for port in ports {
                let client = RawClient()
                try await client.connect(port: port)
                await client.send(Self.greeting)
                #expect(await client.receive(until: "good morning").contains("good morning"))
                await client.close()
            }
        }
    }

    @Test func `a port in use is named`() async throws {
        let other = makeListeningSocket()
        defer { close(other.descriptor) }
        let server = makeServer([.address(host: "127.0.0.1", port: other.port)]) { _ in }
        let fault = await #expect(throws: Fault.self) { try await server.run() }
        #expect(fault?.message.contains("port \(other.port): another program uses") == true)
    }

    @Test func `a client that sends its request too slowly is cut off`() async throws {
        var limits = HTTPServer.Limits()
        limits.idleBudget = .milliseconds(300)
        try await serving(limits: limits) { ports in
            let client = RawClient()
            try await client.connect(port: ports[0])
            await client.send("GET /hello HTTP/1.1\r\nHos")
            #expect(await client.isClosedByPeer())
            let stalled = RawClient()
            try await stalled.connect(port: ports[0])
            await stalled.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            #expect(await stalled.isClosedByPeer())
            await client.close()
            await stalled.close()
        }
    }

    @Test func `a client that takes nothing of its answer is cut off`() async throws {
        var limits = HTTPServer.Limits()
        limits.stallBudget = .milliseconds(300)
        limits.connectionsMax = 1
        try await serving(limits: limits) { ports in
            let client = RawClient()
            try await client.connect(port: ports[0])
            await client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            // There is one place: the second client gets it when the first has lost it.
            let second = RawClient()
            try await second.connect(port: ports[0])
            await second.send(Self.greeting)
            #expect(await second.receive(until: "good morning").contains("good morning"))
            await second.close()
            await client.close()
        }
    }

    @Test func `connections over the limit wait for a place`() async throws {
        var limits = HTTPServer.Limits()
        limits.connectionsMax = 1
        try await serving(limits: limits) { ports in
            let first = RawClient()
            try await first.connect(port: ports[0])
            await first.send(Self.greeting)
            _ = await first.receive(until: "good morning")
            let second = RawClient()
            try await second.connect(port: ports[0])
            await second.send(Self.greeting)
            await first.close()
            #expect(await second.receive(until: "good morning").contains("good morning"))
            await second.close()
        }
    }

    @Test func `headers that are too large end the connection`() async throws {
        try await serving { ports in
            let client = RawClient()
            try await client.connect(port: ports[0])
            let header = "X-Big: " + String(repeating: "a", count: 40 << 10) + "\r\n"
            await client.send("GET /hello HTTP/1.1\r\nHost: x\r\n" + header + "\r\n")
            let answer = await client.receive(until: "\r\n\r\n")
            #expect(!answer.contains("good morning"))
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"))
            await client.close()
        }
    }

    @Test func `two requests on one connection are answered in order`() async throws {
        try await serving { ports in
            let client = RawClient()
            try await client.connect(port: ports[0])
            await client.send(
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\"1\"" + Self.greeting
            )
            let answer = await client.receive(until: "good morning")
            #expect(answer.components(of: "HTTP/1.1 200") == 2)
            await client.close()
        }
    }

    @Test func `only TLS 1.2 and later is spoken`() async throws {
        try await TestCertificate.with(name: "localhost") { made in
            let files = TLSFiles(certificatePath: made.path, keyPath: made.keyPath)
            try await serving(tls: files) { ports in
                func handshake(_ version: String) async throws -> ToolResult {
                    try await Tool.run(
                        "openssl",
                        [
                            "s_client", version, "-cipher", "DEFAULT@SECLEVEL=0", "-ign_eof",
                            "-connect", "127.0.0.1:\(ports[0])",
                        ],
                        input: Array(
                            "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".utf8
                        ),
                        budget: .seconds(20),
                        time: SystemTime()
                    )
                }
                #expect(try await handshake("-tls1_2").output.contains("good morning"))
                #expect(try await handshake("-tls1_3").output.contains("good morning"))
                let old = try await handshake("-tls1_1")
                #expect(!old.output.contains("good morning"))
            }
        }
    }

    @Test(arguments: ["certificatePath", "keyPath"])
    func `a missing certificate or key is named`(missing: String) async throws {
        let files = TLSFiles(certificatePath: "/nowhere/cert.pem", keyPath: "/nowhere/key.pem")
        let server = makeServer([.address(host: "127.0.0.1", port: 0)], tls: files) { _ in }
        let fault = await #expect(throws: Fault.self) { try await server.run() }
        #expect(fault?.message.contains("/nowhere/cert.pem") == true)
    }
}

extension String {
    fileprivate func components(of mark: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: mark) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}

import Basics
import HTTP
import Protocol
import Store
import Testing

@testable import Identity

@Suite struct TokenSignerTests {
    private let signer: TokenSigner
    private let now = Timestamp(seconds: 1_800_000_000)

    init() throws { signer = try TokenSigner(key: TokenSigner.makeKey()) }

    private func claims(_ scope: TokenClaims.Scope = .system) -> TokenClaims {
        TokenClaims(
            id: "t1",
            userID: "u1",
            scope: scope,
            methods: ["password"],
            issued: now,
            expires: now + .seconds(60)
        )
    }

    @Test(arguments: [
        TokenClaims.Scope.none, .system, .project("p1"), .domain("d1"),
    ])
    func `a token that was signed is read`(scope: TokenClaims.Scope) throws {
        let token = try signer.sign(claims(scope))
        #expect(signer.read(token, at: now) == claims(scope))
    }

    @Test func `a token ends`() throws {
        let token = try signer.sign(claims())
        #expect(signer.read(token, at: now + .seconds(59)) != nil)
        #expect(signer.read(token, at: now + .seconds(60)) == nil)
    }

    @Test func `a token of another key is refused`() throws {
        let other = try TokenSigner(key: TokenSigner.makeKey())
        #expect(signer.read(try other.sign(claims()), at: now) == nil)
    }

    @Test func `a token with one changed character is refused`() throws {
        let text = Array(try signer.sign(claims()).reveal())
        for index in text.indices {
            var changed = text
            changed[index] = changed[index] == "A" ? "B" : "A"
            // The last character of each part has bits that say nothing; decoders may differ there.
            let isLast = index + 1 == text.count || text[index + 1] == "."
            if isLast { continue }
            #expect(signer.read(Secret(String(changed)), at: now) == nil)
        }
    }

    @Test func `a token without a signature, or with another algorithm, is refused`() throws {
        let parts = try signer.sign(claims()).reveal().split(separator: ".").map(String.init)
        let none = Base64URL.encode(Array(#"{"alg":"none","typ":"JWT"}"#.utf8))
        let symmetric = Base64URL.encode(Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8))
        for text in [
            "", ".", "..", "...", "\(none).\(parts[1]).", "\(none).\(parts[1]).\(parts[2])",
            "\(symmetric).\(parts[1]).\(parts[2])", "\(parts[0]).\(parts[1])",
            "\(parts[0]).\(parts[1]).", "\(parts[0]).\(parts[1]).\(parts[2]).x",
            String(repeating: "a", count: 5000),
        ] {
            #expect(signer.read(Secret(text), at: now) == nil)
        }
    }

    @Test(arguments: ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
    func `a file that holds no key is refused`(text: String) {
        #expect(throws: Fault.self) { try TokenSigner(key: Secret(text)) }
    }
}

@Suite struct IdentityServiceTests {
    @Test func `the administrator signs in and speaks for the installation`() async throws {
        let world = try await World()
        let issued = try await world.signIn()
        let principal = try await world.service.principal(token: issued.token)
        #expect(principal.userName == "admin")
        #expect(principal.has(.admin))
        #expect(principal.isSystem)
        let system = try await world.signIn(scope: .system)
        #expect(try await world.service.principal(token: system.token).scope == .system)
        let plain = try await world.signIn(scope: .none)
        #expect(try await world.service.principal(token: plain.token).role == nil)
    }

    @Test(arguments: [
        ("admin", "wrong"), ("admin", ""), ("nobody", "correct horse"), ("", "correct horse"),
        ("ADMIN' OR 1=1 --", "x"),
    ])
    func `a wrong name or password is refused, without telling which`(
        user: String,
        password: String
    ) async throws {
        let world = try await World()
        let fault = await #expect(throws: Fault.self) {
            try await world.signIn(Secret(password), user: user)
        }
        #expect(fault?.kind == .unauthenticated)
        #expect(fault?.message.contains("user name, password or scope is wrong") == true)
    }

    @Test func `guessing is slowed down, and the right password then waits as well`() async throws {
        let world = try await World()
        for _ in 0..<LoginGuard.freeFailures {
            await #expect(throws: Fault.self) { try await world.signIn(Secret("wrong")) }
        }
        let fault = await #expect(throws: Fault.self) { try await world.signIn() }
        #expect(fault?.kind == .tooMany)
        _ = try await world.signIn(from: "192.0.2.10")
        world.time.advance(.seconds(3))
        _ = try await world.signIn()
    }

    @Test func `naming the account in another way wins no more guesses`() async throws {
        let world = try await World()
        let id = try await world.signIn().principal.userID
        let names: [(String?, String?, DomainReference)] = [
            (nil, "admin", .standard), (nil, "admin", .name("Default")), (id, nil, .standard),
            (nil, "admin", .name("default")), (id, "x", .name("y")), (nil, "admin", .standard),
        ]
        var kinds: [Fault.Kind?] = []
        for (userID, name, domain) in names {
            let fault = await #expect(throws: Fault.self) {
                try await world.service.signIn(
                    SignIn(
                        proof: .password(
                            userID: userID,
                            userName: name,
                            domain: domain,
                            password: Secret("wrong")
                        ),
                        scope: .none
                    ),
                    from: "192.0.2.9"
                )
            }
            kinds.append(fault?.kind)
        }
        #expect(kinds.dropLast().allSatisfy { $0 == .unauthenticated })
        #expect(kinds.last == .tooMany)
    }

    @Test func `a token ends with its time, and when it is revoked`() async throws {
        let world = try await World()
        let first = try await world.signIn().token
        let second = try await world.signIn().token
        try await world.service.revoke(first)
        await #expect(throws: Fault.self) { try await world.service.principal(token: first) }
        _ = try await world.service.principal(token: second)
        world.time.advance(.seconds(3601))
        await #expect(throws: Fault.self) { try await world.service.principal(token: second) }
    }

    @Test func `a new password from the installation ends old tokens`() async throws {
        let world = try await World()
        let token = try await world.signIn().token
        try await world.bootstrap(World.password)
        _ = try await world.service.principal(token: token)
        world.time.advance(.seconds(2))
        try await world.bootstrap(Secret("new one"))
        await #expect(throws: Fault.self) { try await world.service.principal(token: token) }
        await #expect(throws: Fault.self) { try await world.signIn() }
        _ = try await world.signIn(Secret("new one"))
    }

    @Test func `a broken installed hash stops the start`() async throws {
        let world = try await World()
        await #expect(throws: Fault.self) {
            try await world.service.bootstrap(
                hash: Secret("plain text"),
                catalog: Catalog(publicURL: World.url)
            )
        }
    }

    @Test func `changing the scope does not lengthen a token's life`() async throws {
        let world = try await World()
        let first = try await world.signIn(scope: .none)
        world.time.advance(.seconds(1800))
        let second = try await world.service.signIn(
            SignIn(proof: .token(first.token), scope: .system),
            from: "192.0.2.9"
        )
        #expect(second.expires == first.expires)
        #expect(second.principal.scope == .system)
    }

    @Test func `a scope without a role is refused`() async throws {
        let world = try await World()
        for scope in [SignIn.Scope.project(id: nil, name: "other"), .project(id: "x", name: nil)] {
            let fault = await #expect(throws: Fault.self) { try await world.signIn(scope: scope) }
            #expect(fault?.kind == .unauthenticated)
        }
    }

    @Test func `a read-only credential works until it is revoked, and is stored as a hash`()
        async throws
    {
        let world = try await World()
        let credential = try await world.service.createReader("prometheus")
        #expect(try await world.service.isReader(credential: credential))
        #expect(try await !world.service.isReader(credential: Secret("rdo_reader_x")))
        #expect(try await !world.service.isReader(credential: Secret("")))
        let again = await #expect(throws: Fault.self) {
            try await world.service.createReader("prometheus")
        }
        #expect(again?.kind == .conflict)
        let changes = try await world.database.read { try $0.changes(after: 0) }
        #expect(!changes.contains { "\($0)".contains(credential.reveal()) })
        try await world.service.revokeReader("prometheus")
        #expect(try await !world.service.isReader(credential: credential))
        await #expect(throws: Fault.self) {
            try await world.service.revokeReader("prometheus")
        }
    }

    @Test(arguments: ["", "a b", "../x", "a\nb", String(repeating: "a", count: 65)])
    func `a read-only credential has a plain name`(name: String) async throws {
        let world = try await World()
        await #expect(throws: Fault.self) { try await world.service.createReader(name) }
    }
}

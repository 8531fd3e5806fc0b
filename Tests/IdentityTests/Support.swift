import Basics
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
@testable import Identity
import Logging
import Protocol
import Store
import Synchronization

/// A clock that a test moves.
final class ManualTime: TimeSource {
    private let state = Mutex(Timestamp(seconds: 1_800_000_000))

    var now: Timestamp { state.withLock { $0 } }
    var elapsed: Duration { now - Timestamp(nanoseconds: 0) }
    func advance(_ span: Duration) { state.withLock { $0 = $0 + span } }
    func sleep(for span: Duration) async throws {
        // Nothing in these tests may run out of its budget: wait until cancelled.
        let (stream, _) = AsyncStream.makeStream(of: Void.self)
        for await _ in stream {}
        throw CancellationError()
    }
}

/// An identity area on a database in memory, with its administrator.
struct World {
    static let password = Secret("correct horse")
    let time = ManualTime()
    let database: Database
    let service: IdentityService
    let key = TokenSigner.makeKey()

    init() async throws {
        database = try Database(
            path: nil,
            migrations: IdentityStore.migrations,
            feed: ChangeFeed()
        )
        service = try IdentityService(
            database: database,
            signer: TokenSigner(key: key),
            passwordCost: Self.cheap,
            time: time,
            random: SeededRandom(seed: 1),
            logger: Logger(label: "test")
        )
        try await bootstrap(Self.password)
    }

    /// Starts again, with this password in the installation's file.
    func bootstrap(_ password: Secret) async throws {
        try await service.bootstrap(
            hash: Self.hash(password),
            catalog: Catalog(publicURL: Self.url)
        )
    }

    static let url = "https://192.0.2.1:6385"

    static let cheap = PasswordHash.Cost(logRounds: 10)

    /// Cheap to check, so that tests are quick.
    static func hash(_ password: Secret) throws -> Secret {
        try PasswordHash(
            of: password,
            salt: Array(0..<16),
            cost: cheap
        ).text
    }

    func signIn(
        _ password: Secret = World.password,
        user: String = "admin",
        scope: SignIn.Scope = .project(id: nil, name: "admin"),
        from address: String = "192.0.2.9"
    ) async throws -> IssuedToken {
        try await service.signIn(
            SignIn(
                proof: .password(userID: nil, userName: user, password: password),
                scope: scope
            ),
            from: address
        )
    }

    /// The areas' routes and those that `add` puts below `/test`.
    func surface(_ add: (Routes) -> Void) -> Surface {
        let surface = Surface(
            authenticator: service,
            audit: service,
            logger: Logger(label: "test"),
            time: time,
            random: SeededRandom(seed: 2)
        )
        IdentityAPI(service: service, publicURL: Self.url).addRoutes(to: surface)
        AuditAPI(service: service).addRoutes(to: surface)
        // Something of another area, which knows nothing of domains.
        surface.area("/v1/nodes", dialect: .ironic).get(
            "",
            .role(.reader),
            Operation("Do nothing", answers: .empty(.ok))
        ) { _, _ in .empty(.ok) }
        add(surface.area("/test", dialect: .plain))
        return surface
    }

    func withClient(
        _ body: @escaping @Sendable (any TestClientProtocol) async throws -> Void
    ) async throws {
        let router = surface { _ in }.makeRouter()
        try await Application(router: router).test(.router) { try await body($0) }
    }
}

/// What a call answered.
struct Answer: Sendable {
    let status: Int
    let headers: HTTPFields
    let body: JSONValue
}

extension TestClientProtocol {
    /// Calls the API with a token and, for `body`, a JSON text.
    func call(
        _ method: String,
        _ path: String,
        token: Secret? = nil,
        body: String? = nil,
        headers: HTTPFields = [:]
    ) async throws -> Answer {
        var headers = headers
        headers[.authToken] = token?.reveal()
        let response = try await execute(
            uri: path,
            method: HTTPRequest.Method(rawValue: method) ?? .get,
            headers: headers,
            body: body.map { ByteBuffer(string: $0) }
        )
        let bytes = Array(response.body.readableBytesView)
        return Answer(
            status: response.status.code,
            headers: response.headers,
            body: bytes.isEmpty ? .null : (try? JSONValue(parsing: bytes)) ?? .null
        )
    }
}

extension World {
    /// Stores a user that signs in with the world's password.
    @discardableResult
    func addUser(_ name: String, domain: String = Domain.id) async throws -> User {
        let user = User(
            id: name,
            domainID: domain,
            name: name,
            passwordHash: try Self.hash(Self.password)
        )
        try await service.change { try $0.saveUser(user) }
        return user
    }

    func addDomain(_ id: String) async throws {
        try await service.change { try $0.saveDomain(Domain(id: id, name: id)) }
    }

    func addProject(_ id: String, domain: String = Domain.id, parent: String? = nil) async throws {
        try await service.change { transaction in
            try transaction.saveProject(
                Project(id: id, domainID: domain, parentID: parent, name: id)
            )
        }
    }

    func grant(
        _ role: String,
        to actor: Actor,
        in scope: GrantScope,
        inherited: Bool = false
    ) async throws {
        try await service.change { transaction in
            try transaction.add(
                Grant(roleID: role, actor: actor, scope: scope, isInherited: inherited)
            )
        }
    }

    /// Signs a token without the work of a password: for tables of many calls.
    func mint(_ user: String, _ scope: TokenClaims.Scope) async throws -> Secret {
        var claims = TokenClaims(
            id: service.identifier(),
            userID: user,
            scope: scope,
            methods: ["password"],
            issued: time.now,
            expires: time.now + .seconds(3600)
        )
        claims.generation = try await database.read { [claims] in
            try $0.generation(of: claims)
        }
        return try service.signer.sign(claims)
    }

    /// The administrator, who may everything.
    func administrator() async throws -> Principal {
        try await signIn(scope: .system).principal
    }

    func token(of user: String, _ scope: SignIn.Scope) async throws -> Secret {
        try await service.signIn(
            SignIn(
                proof: .password(userID: user, userName: nil, password: Self.password),
                scope: scope
            ),
            from: "192.0.2.9"
        ).token
    }
}

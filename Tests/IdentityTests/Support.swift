import Basics
import HTTP
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
            time: time,
            random: SeededRandom(seed: 1),
            logger: Logger(label: "test")
        )
        try await service.bootstrap(hash: Self.hash(Self.password))
    }

    /// Cheap to check, so that tests are quick.
    static func hash(_ password: Secret) throws -> Secret {
        try PasswordHash(
            of: password,
            salt: Array(0..<16),
            cost: PasswordHash.Cost(logRounds: 10, blockSize: 8, parallelism: 1)
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

    func withClient(
        _ body: @escaping @Sendable (any TestClientProtocol) async throws -> Void
    ) async throws {
        let surface = Surface(
            authenticator: service,
            audit: service,
            logger: Logger(label: "test"),
            time: time,
            random: SeededRandom(seed: 2)
        )
        let url = "https://192.0.2.1:6385"
        IdentityAPI(service: service, catalog: Catalog(publicURL: url), publicURL: url)
            .addRoutes(to: surface)
        try await Application(router: surface.makeRouter()).test(.router) { try await body($0) }
    }
}

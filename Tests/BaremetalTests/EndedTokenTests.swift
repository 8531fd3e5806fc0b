import Basics
import HTTP
import HTTPTypes
import Identity
import Logging
import Protocol
import Store
import Testing

@testable import Baremetal

/// A token that ends while what it asked for goes on, with the real Identity service.
@Suite struct EndedTokenTests {
    private static let password = Secret("a password of the tests")

    private func identity(_ bench: Bench) async throws -> IdentityService {
        let identity = IdentityService(
            database: bench.database,
            signer: try TokenSigner(key: TokenSigner.makeKey()),
            tokenValidity: .seconds(30),
            time: bench.world.time,
            random: SeededRandom(seed: 11),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        try await identity.bootstrap(
            hash: try PasswordHash(of: Self.password, random: SeededRandom(seed: 12)).text,
            catalog: Catalog(publicURL: "https://192.0.2.1:6385")
        )
        return identity
    }

    private func signIn(_ identity: IdentityService) async throws -> String {
        let request = SignIn(
            proof: .password(userID: nil, userName: "admin", password: Self.password),
            scope: .system
        )
        return try await identity.signIn(request, from: "").token.reveal()
    }

    @Test func `what was asked for is finished, and the next call is told why it is refused`()
        async throws
    {
        let database = try Database(
            path: nil,
            migrations: IdentityStore.migrations + baremetalMigrations,
            feed: ChangeFeed()
        )
        let bench = try Bench(database: database)
        let identity = try await identity(bench)
        let id = try await bench.register()
        let token = try await signIn(identity)
        try await bench.withClient(identity) { client async throws in
            let path = "/v1/nodes/c0/states/provision"
            func ask(_ target: String, as token: String) async throws -> Answer {
                try await client.ask(.put, path, ["target": .string(target)], as: token)
            }
            #expect(try await ask("manage", as: token).status == 202)
            bench.world.time.advance(.seconds(31))
            let refused = try await ask("inspect", as: token)
            #expect(refused.status == 401)
            #expect(refused.fault.contains("the token has ended"), "\(refused.fault)")
            try await bench.settle(id)
            #expect(try await bench.service.node("c0").state == .manageable)
            let fresh = try await signIn(identity)
            #expect(try await ask("inspect", as: fresh).status == 202)
            try await identity.revoke(Secret(fresh))
            #expect(try await ask("abort", as: fresh).status == 401)
            try await bench.settle(id)
            #expect(try await bench.service.node("c0").state == .manageable)
            #expect(try await bench.service.node("c0").inspectionFinishedAt != nil)
        }
    }
}

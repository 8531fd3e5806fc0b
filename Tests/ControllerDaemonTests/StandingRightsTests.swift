import Basics
import HTTP
import Identity
import Protocol
import Rights
import Store
import Testing

@testable import Baremetal
@testable import ControllerDaemon

/// Work that goes on in somebody's name, beside the real Identity service.
@Suite struct StandingRightsTests {
    /// Fifty nodes, and a job over all of them of which one batch was asked.
    private func begun(
        _ controller: WholeController
    ) async throws -> (bulk: BulkService, job: BulkID, token: Secret) {
        let (core, bulk) = (controller.core, controller.areas.bulk)
        for number in 0..<50 {
            _ = try await bulk.nodes.create(id: nil, driver: "fake-hardware", by: nil) {
                $0.name = "n\(number)"
            }
        }
        let issued = try await core.identity.signIn(
            SignIn(
                proof: .password(
                    userID: nil,
                    userName: "admin",
                    domain: .standard,
                    password: WholeController.password
                ),
                scope: .system
            ),
            from: ""
        )
        let principal = try await core.identity.principal(token: issued.token)
        let request: JSONValue = ["maintenance": true]
        let job = try await bulk.create(
            try BulkOrder("maintenance", request, .maximum),
            request: request,
            version: .maximum,
            references: nil,
            filter: NodeQuery(),
            by: principal,
            requestID: "req-1",
            address: ""
        )
        #expect(await bulk.workOnce())
        return (bulk, job.id, issued.token)
    }

    private func ended(_ bulk: BulkService, _ id: BulkID) async throws -> (
        BulkJob.State, BulkProgress
    ) {
        while await bulk.workOnce() {}
        let system = try await Tokens().principal(token: Secret("admin"))
        let (job, progress, _, _) = try await bulk.job(id.text, after: -1, limit: 1, by: system)
        return (job.state, progress)
    }

    @Test func `a job goes on as long as whoever made it may`() async throws {
        let controller = try await WholeController()
        let (bulk, job, _) = try await begun(controller)
        let (state, progress) = try await ended(bulk, job)
        #expect(state == .done && progress.accepted == 50)
        await controller.close()
    }

    @Test func `a token that is revoked ends the rest of its job`() async throws {
        let controller = try await WholeController()
        let (bulk, job, token) = try await begun(controller)
        try await controller.core.identity.revoke(token)
        let (state, progress) = try await ended(bulk, job)
        #expect(state == .revoked)
        #expect(progress.accepted == 16 && progress.cancelled == 34 && progress.waiting == 0)
        await controller.close()
    }
}

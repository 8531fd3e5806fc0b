import Basics
import HTTP
import Store
import Testing

@testable import Identity

/// Whoever manages a domain cannot come to power over the installation by it.
@Suite struct EscalationTests {
    private func world(_ role: String) async throws -> (World, Principal) {
        let world = try await World()
        try await world.addUser("boss")
        try await world.addUser("friend")
        try await world.addProject("p")
        try await world.grant(role, to: .user("boss"), in: .domain(Domain.id))
        let token = try await world.token(of: "boss", .domain(.id(Domain.id)))
        return (world, try await world.service.principal(token: token))
    }

    private func refuse(_ body: () async throws -> Void) async {
        do {
            try await body()
            Issue.record("it was let through")
        } catch {
            #expect(Fault(error).kind == .forbidden, "\(error)")
        }
    }

    @Test func `the default domain's admin cannot touch the administrator`() async throws {
        let (world, boss) = try await world("admin")
        let admin = try await world.administrator().userID
        let service = world.service
        var edit = DirectoryEdit()
        edit.password = Secret("taken over")
        await refuse { _ = try await service.updateUser(admin, edit, as: boss) }
        await refuse { try await service.deleteUser(admin, as: boss) }
    }

    @Test func `nor give itself a role that counts over the installation`() async throws {
        let (world, boss) = try await world("admin")
        let project = try await world.database.read { try $0.adminProjectID() ?? "" }
        let service = world.service
        for grant in [
            Grant(roleID: "reader", actor: .user("boss"), scope: .system),
            Grant(roleID: "reader", actor: .user("boss"), scope: .project(project)),
            Grant(
                roleID: "admin",
                actor: .user("boss"),
                scope: .domain(Domain.id),
                isInherited: true
            ),
        ] {
            await refuse { try await service.add(grant, as: boss) }
        }
        await refuse { try await service.deleteProject(project, as: boss) }
    }

    @Test func `nor join a group that has such a role`() async throws {
        let (world, boss) = try await world("admin")
        try await world.service.change {
            try $0.saveGroup(Group(id: "rulers", domainID: Domain.id, name: "rulers"))
        }
        try await world.grant("reader", to: .group("rulers"), in: .system)
        let service = world.service
        await refuse { try await service.addMember("boss", toGroup: "rulers", as: boss) }
        await refuse { try await service.deleteGroup("rulers", as: boss) }
    }

    @Test func `a project called admin in another domain owns nothing`() async throws {
        let world = try await World()
        try await world.addDomain("d")
        try await world.addUser("u", domain: "d")
        try await world.service.change {
            try $0.saveProject(Project(id: "x", domainID: "d", name: "admin"))
        }
        try await world.grant("admin", to: .user("u"), in: .project("x"))
        let token = try await world.token(
            of: "u",
            .project(id: nil, name: "admin", domain: .id("d"))
        )
        #expect(try await !world.service.principal(token: token).isSystem)
    }

    @Test func `a manager makes no admin, and touches none`() async throws {
        let (world, boss) = try await world("manager")
        let service = world.service
        let scope = GrantScope.project("p")
        await refuse {
            try await service.add(
                Grant(roleID: "admin", actor: .user("friend"), scope: scope),
                as: boss
            )
        }
        try await service.add(
            Grant(roleID: "manager", actor: .user("friend"), scope: scope),
            as: boss
        )
        try await world.grant("admin", to: .user("friend"), in: scope)
        await refuse { _ = try await service.updateUser("friend", DirectoryEdit(), as: boss) }
    }

    @Test func `a token for a domain opens nothing beside identity`() async throws {
        let (world, _) = try await world("admin")
        let token = try await world.token(of: "boss", .domain(.id(Domain.id)))
        try await world.withClient { client in
            for path in ["/v1/nodes", "/v1/audit"] {
                let answer = try await client.call("GET", path, token: token)
                #expect(answer.status == 403, "\(path)")
            }
        }
    }
}

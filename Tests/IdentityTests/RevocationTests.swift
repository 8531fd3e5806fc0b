import Basics
import HTTP
import Testing

@testable import Identity

/// Tokens end at once with what they speak of, and roles count as they are today.
@Suite struct RevocationTests {
    /// Somebody with a role in a project of a domain of its own, directly or by a group.
    private func world(byGroup: Bool = false) async throws -> (World, Secret) {
        let world = try await World()
        try await world.addDomain("d")
        try await world.addUser("u", domain: "d")
        try await world.addProject("p", domain: "d")
        try await world.service.change { transaction in
            try transaction.saveGroup(Group(id: "g", domainID: "d", name: "g"))
            try transaction.addMember("u", toGroup: "g")
        }
        try await world.grant("member", to: byGroup ? .group("g") : .user("u"), in: .project("p"))
        return (world, try await world.token(of: "u", .project(id: "p", name: nil)))
    }

    private static let disable = {
        var edit = DirectoryEdit()
        edit.isEnabled = false
        return edit
    }()

    private static let enable = {
        var edit = DirectoryEdit()
        edit.isEnabled = true
        return edit
    }()

    private static let changes:
        [(String, @Sendable (IdentityService, Principal) async throws -> Void)] = [
            ("disable the user", { _ = try await $0.updateUser("u", disable, as: $1) }),
            ("delete the user", { try await $0.deleteUser("u", as: $1) }),
            ("disable the project", { _ = try await $0.updateProject("p", disable, as: $1) }),
            ("delete the project", { try await $0.deleteProject("p", as: $1) }),
            ("disable the domain", { _ = try await $0.updateDomain("d", disable, as: $1) }),
            (
                "delete the domain",
                {
                    _ = try await $0.updateDomain("d", disable, as: $1)
                    try await $0.deleteDomain("d", as: $1)
                }
            ),
            (
                "set a password",
                {
                    var edit = DirectoryEdit()
                    edit.password = World.password
                    _ = try await $0.updateUser("u", edit, as: $1)
                }
            ),
            (
                "take the role",
                {
                    let grant = Grant(roleID: "member", actor: .user("u"), scope: .project("p"))
                    try await $0.remove(grant, as: $1)
                }
            ),
        ]

    @Test(arguments: changes.indices)
    func `a token ends at once`(index: Int) async throws {
        let (world, token) = try await world()
        let principal = try await world.service.principal(token: token)
        #expect(try await world.service.present(principal) == principal)
        let admin = try await world.administrator()
        try await Self.changes[index].1(world.service, admin)
        let fault = await #expect(throws: Fault.self, "\(Self.changes[index].0)") {
            try await world.service.principal(token: token)
        }
        #expect(fault?.kind == .unauthenticated)
        // So do the rights of work that goes on in its owner's name.
        let standing = await #expect(throws: Fault.self, "\(Self.changes[index].0)") {
            try await world.service.present(principal)
        }
        #expect(standing?.kind == .unauthenticated)
    }

    @Test func `a token that ran out leaves what it began its rights, a revoked one does not`()
        async throws
    {
        let (world, token) = try await world()
        let principal = try await world.service.principal(token: token)
        world.time.advance(.seconds(86_400))
        await #expect(throws: Fault.self) { try await world.service.principal(token: token) }
        #expect(try await world.service.present(principal) == principal)
        try await world.grant("manager", to: .user("u"), in: .project("p"))
        #expect(try await world.service.present(principal).role == .manager)
        let fresh = try await world.token(of: "u", .project(id: "p", name: nil))
        let other = try await world.service.principal(token: fresh)
        try await world.service.revoke(fresh)
        await #expect(throws: Fault.self) { try await world.service.present(other) }
    }

    @Test func `a token stays ended when what was disabled is enabled again`() async throws {
        for index in 0..<3 {
            let (world, token) = try await world()
            let admin = try await world.administrator()
            let service = world.service
            switch index {
            case 0:
                _ = try await service.updateUser("u", Self.disable, as: admin)
                _ = try await service.updateUser("u", Self.enable, as: admin)
            case 1:
                _ = try await service.updateProject("p", Self.disable, as: admin)
                _ = try await service.updateProject("p", Self.enable, as: admin)
            default:
                _ = try await service.updateDomain("d", Self.disable, as: admin)
                _ = try await service.updateDomain("d", Self.enable, as: admin)
            }
            await #expect(throws: Fault.self) { try await service.principal(token: token) }
            let fresh = try await world.token(of: "u", .project(id: "p", name: nil))
            _ = try await service.principal(token: fresh)
        }
    }

    @Test func `a clock that was moved back neither revives nor kills tokens`() async throws {
        let (world, token) = try await world()
        let admin = try await world.administrator()
        var edit = DirectoryEdit()
        edit.password = World.password
        _ = try await world.service.updateUser("u", edit, as: admin)
        world.time.advance(.seconds(-3600))
        await #expect(throws: Fault.self) { try await world.service.principal(token: token) }
        let fresh = try await world.token(of: "u", .project(id: "p", name: nil))
        _ = try await world.service.principal(token: fresh)
    }

    @Test func `a group's roles go with the group, and with the membership`() async throws {
        let (world, token) = try await world(byGroup: true)
        let admin = try await world.administrator()
        #expect(try await world.service.principal(token: token).role == .member)
        try await world.service.removeMember("u", fromGroup: "g", as: admin)
        await #expect(throws: Fault.self) { try await world.service.principal(token: token) }
        try await world.service.addMember("u", toGroup: "g", as: admin)
        let fresh = try await world.token(of: "u", .project(id: "p", name: nil))
        try await world.service.deleteGroup("g", as: admin)
        await #expect(throws: Fault.self) { try await world.service.principal(token: fresh) }
    }

    @Test func `inherited roles count below, and not where they were given`() async throws {
        let (world, _) = try await world()
        try await world.addProject("below", domain: "d", parent: "p")
        try await world.addProject("beside", domain: "d")
        try await world.grant("manager", to: .user("u"), in: .project("p"), inherited: true)
        func role(_ project: String) async throws -> Role? {
            let token = try await world.token(of: "u", .project(id: project, name: nil))
            return try await world.service.principal(token: token).role
        }
        #expect(try await role("p") == .member)
        #expect(try await role("below") == .manager)
        await #expect(throws: Fault.self) { try await role("beside") }
        try await world.grant("reader", to: .group("g"), in: .domain("d"), inherited: true)
        #expect(try await role("beside") == .reader)
        await #expect(throws: Fault.self) { try await world.token(of: "u", .domain(.id("d"))) }
        let own = try await world.service.ownProjects(
            as: world.service.principal(token: world.token(of: "u", .none))
        )
        #expect(Set(own.map(\.id)) == ["p", "below", "beside"])
    }

    @Test func `what somebody has in effect is what its tokens say`() async throws {
        let (world, _) = try await world()
        try await world.addProject("below", domain: "d", parent: "p")
        try await world.grant("manager", to: .group("g"), in: .project("p"), inherited: true)
        let admin = try await world.administrator()
        var filter = GrantFilter()
        filter.userID = "u"
        filter.isEffective = true
        let found = try await world.service.grants(filter, as: admin)
        for project in ["p", "below"] {
            let listed = found.filter { $0.grant.scope == .project(project) }.map(\.role.name)
            let issued = try await world.service.signIn(
                SignIn(
                    proof: .password(userID: "u", userName: nil, password: World.password),
                    scope: .project(id: project, name: nil)
                ),
                from: ""
            )
            #expect(listed.sorted() == issued.session.roles.map(\.name).sorted())
        }
        filter.isEffective = false
        #expect(try await world.service.grants(filter, as: admin).count == 1)
    }

    @Test func `a user changes its own password, and only with the old one`() async throws {
        let (world, token) = try await world()
        let principal = try await world.service.principal(token: token)
        func change(_ old: Secret, _ new: Secret) async throws {
            try await world.service.changePassword(
                of: "u",
                from: old,
                to: new,
                address: "192.0.2.1",
                as: principal
            )
        }
        await #expect(throws: Fault.self) { try await change(Secret("wrong"), Secret("new")) }
        await #expect(throws: Fault.self) { try await change(World.password, World.password) }
        try await change(World.password, Secret("new"))
        await #expect(throws: Fault.self) { try await world.service.principal(token: token) }
        await #expect(throws: Fault.self) { try await world.token(of: "u", .none) }
    }

    @Test func `an API password outlives a restart, until root installs another`() async throws {
        let world = try await World()
        let admin = try await world.administrator()
        var edit = DirectoryEdit()
        edit.password = Secret("mine")
        _ = try await world.service.updateUser(admin.userID, edit, as: admin)
        try await world.bootstrap(World.password)
        _ = try await world.signIn(Secret("mine"))
        try await world.bootstrap(Secret("reset by root"))
        _ = try await world.signIn(Secret("reset by root"))
        try await world.service.deleteUser(admin.userID, as: admin)
        try await world.bootstrap(Secret("reset by root"))
        _ = try await world.signIn(Secret("reset by root"), scope: .system)
    }
}

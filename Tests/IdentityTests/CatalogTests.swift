import Basics
import HTTP
import Store
import Testing

@testable import Identity

/// The stored catalog, and how it follows the configuration.
@Suite struct CatalogTests {
    @Test func `the controller's own services follow its public address`() async throws {
        let world = try await World()
        let hash = try World.hash(World.password)
        try await world.service.bootstrap(
            hash: hash,
            catalog: Catalog(publicURL: "https://new.example/")
        )
        let endpoints = try await world.database.read { try $0.endpoints(CatalogFilter()) }
        #expect(endpoints.count == 9)
        #expect(endpoints.allSatisfy { $0.url.hasPrefix("https://new.example") })
    }

    @Test func `a service without a type is refused, not stored`() async throws {
        // Found by schemathesis as a 500.
        #expect(throws: Fault.self) {
            try CatalogEdit(["service": ["type": "", "name": ""]], "service")
        }
    }

    @Test func `other services stay, and what an operator disabled stays disabled`() async throws {
        let world = try await World()
        let admin = try await world.administrator()
        var edit = CatalogEdit()
        edit.type = "compute"
        let compute = try await world.service.createService(edit, as: admin)
        edit = CatalogEdit()
        edit.isEnabled = false
        _ = try await world.service.updateEndpoint("glance-admin", edit, as: admin)
        try await world.bootstrap(World.password)
        _ = try await world.service.service(compute.id, as: admin)
        let endpoint = try await world.service.endpoint("glance-admin", as: admin)
        #expect(!endpoint.isEnabled)
        let issued = try await world.signIn()
        #expect(!issued.catalog.flatMap(\.endpoints).contains { $0.id == "glance-admin" })
    }

    @Test(arguments: [
        ("http://x/v1/$(project_id)s", "http://x/v1/p"), ("http://x/%(tenant_id)s", "http://x/p"),
        ("http://x/$(user_id)s", "http://x/u"), ("http://x", "http://x"),
    ])
    func `templates in addresses are filled in`(template: String, url: String) {
        let endpoint = EndpointRecord(
            id: "e",
            serviceID: "s",
            interface: .public,
            url: template
        )
        #expect(endpoint.url(projectID: "p", userID: "u") == url)
        let isIncomplete = template.contains("project") || template.contains("tenant")
        #expect((endpoint.url(projectID: nil, userID: "u") == nil) == isIncomplete)
    }

    @Test func `a project that is given endpoints sees only these`() async throws {
        let world = try await World()
        let admin = try await world.administrator()
        try await world.addUser("u")
        try await world.addProject("p")
        try await world.grant("reader", to: .user("u"), in: .project("p"))
        let service = world.service
        try await service.gift(.give, endpoint: "glance-public", project: "p", as: admin)
        let issued = try await service.signIn(
            SignIn(
                proof: .password(userID: "u", userName: nil, password: World.password),
                scope: .project(id: "p", name: nil)
            ),
            from: ""
        )
        #expect(issued.catalog.flatMap(\.endpoints).map(\.id) == ["glance-public"])
        #expect(try await service.projects(withEndpoint: "glance-public", as: admin).count == 1)
        try await service.gift(.take, endpoint: "glance-public", project: "p", as: admin)
        await #expect(throws: Fault.self) {
            try await service.gift(.check, endpoint: "glance-public", project: "p", as: admin)
        }
    }

    @Test func `regions form no circle and are not deleted while they are used`() async throws {
        let world = try await World()
        let admin = try await world.administrator()
        func edit(_ id: String?, _ parent: String?) -> CatalogEdit {
            var edit = CatalogEdit()
            edit.id = id
            edit.parentID = parent
            return edit
        }
        let service = world.service
        _ = try await service.createRegion(edit("a", nil), as: admin)
        _ = try await service.createRegion(edit("b", "a"), as: admin)
        for (id, parent) in [("a", "b"), ("a", "a"), ("b", "nothing")] {
            await #expect(throws: Fault.self) {
                try await service.updateRegion(id, edit(nil, parent), as: admin)
            }
        }
        await #expect(throws: Fault.self) { try await service.deleteRegion("a", as: admin) }
        _ = try await service.updateRegion("b", edit(nil, ""), as: admin)
        try await service.deleteRegion("a", as: admin)
        for wrong in ["a/b", "a b", ""] {
            await #expect(throws: Fault.self) {
                try await service.createRegion(edit(wrong, nil), as: admin)
            }
        }
    }
}

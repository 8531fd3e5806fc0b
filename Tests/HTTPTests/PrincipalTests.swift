import Basics
import HTTP
import Testing

@Suite struct PrincipalTests {
    private func principal(
        _ role: Role?,
        _ scope: Principal.Scope,
        admin: Bool = false
    ) -> Principal {
        Principal(
            userID: "u",
            userName: "n",
            scope: scope,
            role: role,
            isAdminProject: admin,
            tokenID: "t"
        )
    }

    @Test func `each role includes the weaker ones`() {
        for held in Role.allCases {
            for wanted in Role.allCases {
                #expect(principal(held, .system).has(wanted) == (held >= wanted))
            }
        }
        #expect(Role.allCases == [.reader, .member, .manager, .admin])
    }

    @Test func `without a role nothing is allowed`() {
        #expect(throws: Fault.self) {
            try principal(nil, .none).require(.reader, to: "look")
        }
    }

    @Test func `a project's admin does not speak for the installation`() throws {
        let other = principal(.admin, .project(id: "p", name: "tenant"))
        #expect(throws: Fault.self) { try other.requireSystem(.reader, to: "list nodes") }
        try principal(.admin, .project(id: "p", name: "admin"), admin: true)
            .requireSystem(.admin, to: "list nodes")
        try principal(.reader, .system).requireSystem(.reader, to: "list nodes")
    }

    @Test func `a token for a domain is refused by areas that know no domains`() {
        let manager = principal(.admin, .domain(id: "d", name: "domain"))
        #expect(!manager.has(.reader))
        #expect(manager.projectID == nil)
        #expect(!manager.isSystem)
        #expect(throws: Fault.self) { try manager.require(.reader, to: "look") }
        #expect(throws: Fault.self) { try manager.requireSystem(.reader, to: "look") }
    }
}

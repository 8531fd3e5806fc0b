import Basics
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import Protocol
import Rights
import Store
import Testing

@testable import Identity

typealias Persona = IdentityPersona
typealias Place = IdentityPlace
typealias Call = AccessCall<IdentityNeed>

extension AccessCall {
    fileprivate var isAboutSystem: Bool { path.hasPrefix("v3/system") }
}

/// Every identity route × persona × place of the object: who may, who must not, and that nothing leaks.
@Suite struct AccessTests {
    /// What the placeholders of a call stand for; all of it is made afresh for every call.
    private func objects(_ place: Place, _ persona: Persona) -> [String: String] {
        let owner = place == .home ? persona.userID : "away-user"
        var names: [String: String] = [
            "domain": place.rawValue, "self": owner, "given": "reader", "fresh": "member",
            "new": "\(place.rawValue)-new", "newer": "\(place.rawValue)-newer", "tag": "green",
            "implied": "reader",
            "other": "member", "password": World.password.reveal(),
        ]
        for kind in [
            "user", "member", "group", "project", "role", "dead", "credential", "rule", "region",
            "empty", "service", "endpoint",
        ] {
            names[kind] = "\(place.rawValue)-\(kind)"
        }
        return names
    }

    /// Makes the objects of a place, as they are before every call.
    private static func lay(_ place: Place, owner: String, _ transaction: Transaction) throws {
        let place = place.rawValue
        try transaction.remove(.domain, id: "\(place)-dead")
        for kind in [DirectoryKind.user, .group, .project, .role] {
            try transaction.remove(kind, id: "\(place)-\(kind.rawValue)")
        }
        try transaction.remove(.user, id: "\(place)-member")
        try transaction.saveDomain(
            Domain(id: "\(place)-dead", name: "\(place)-dead", isEnabled: false)
        )
        for name in ["\(place)-user", "\(place)-member"] {
            try transaction.saveUser(User(id: name, domainID: place, name: name))
        }
        try transaction.saveGroup(
            Group(id: "\(place)-group", domainID: place, name: "\(place)-group")
        )
        try transaction.addMember("\(place)-member", toGroup: "\(place)-group")
        try transaction.saveProject(
            Project(
                id: "\(place)-project",
                domainID: place,
                name: "\(place)-project",
                tags: ["green"]
            )
        )
        try transaction.saveRole(
            RoleRecord(id: "\(place)-role", domainID: place, name: "\(place)-role")
        )
        try transaction.addInference("\(place)-role", "reader")
        try layGrants(place, transaction)
        try layCatalog(place, transaction)
        let rule = OwnedRule(
            id: "\(place)-rule",
            rule: AccessRule(service: "baremetal", method: "GET", path: "/\(place)")
        )
        try transaction.removeRule(id: rule.id)
        try transaction.add(rule, ofUser: owner)
        try transaction.removeCredential(id: "\(place)-credential")
        try transaction.add(
            ApplicationCredential(
                id: "\(place)-credential",
                userID: owner,
                projectID: "\(place)-project",
                name: "\(place)-credential",
                description: "",
                secretHash: Secret("x"),
                expires: nil,
                isUnrestricted: false
            )
        )
    }

    private static func layGrants(_ place: String, _ transaction: Transaction) throws {
        for actor in [Actor.user("\(place)-user"), .group("\(place)-group")] {
            for inherited in [false, true] {
                for scope in [GrantScope.project("\(place)-project"), .domain(place)] {
                    for role in ["member", "reader"] {
                        let grant = Grant(
                            roleID: role,
                            actor: actor,
                            scope: scope,
                            isInherited: inherited
                        )
                        try role == "reader" ? transaction.add(grant) : transaction.remove(grant)
                    }
                }
            }
        }
    }

    private static func layCatalog(_ place: String, _ transaction: Transaction) throws {
        for region in ["\(place)-region", "\(place)-empty"] {
            try transaction.saveRegion(Region(id: region))
        }
        try transaction.saveService(ServiceRecord(id: "\(place)-service", type: "t"))
        try transaction.saveEndpoint(
            EndpointRecord(
                id: "\(place)-endpoint",
                serviceID: "\(place)-service",
                regionID: "\(place)-region",
                interface: .public,
                url: "http://x.example"
            )
        )
        try transaction.give(endpoint: "\(place)-endpoint", toProject: "\(place)-project")
    }

    /// Both domains, and the persona with its role where it belongs.
    private static func world(for persona: Persona) async throws -> (World, TokenClaims.Scope) {
        let world = try await World()
        for place in Place.allCases { try await world.addDomain(place.rawValue) }
        try await world.addUser(persona.userID, domain: "home")
        try await world.addProject("home-own", domain: "home")
        let admin = try await world.database.read { try $0.adminProjectID() ?? "" }
        let (scope, claimed): (GrantScope?, TokenClaims.Scope) =
            switch persona.kind {
            case .nobody, .unscoped: (nil, .none)
            case .project: (.project("home-own"), .project("home-own"))
            case .domain: (.domain("home"), .domain("home"))
            case .adminProject: (.project(admin), .project(admin))
            case .system: (.system, .system)
            }
        if let scope, let role = persona.role {
            try await world.grant(role.rawValue, to: .user(persona.userID), in: scope)
        }
        return (world, claimed)
    }

    /// Makes the objects of both places as a call wants to find them.
    private static func lay(
        for call: Call,
        by persona: Persona,
        _ world: World
    ) async throws {
        try await world.service.change { transaction in
            for place in Place.allCases {
                let owner = place == .home ? persona.userID : "away-user"
                try lay(place, owner: owner, transaction)
                if call.isAboutSystem {
                    for actor in [Actor.user("\(place)-user"), .group("\(place)-group")] {
                        try transaction.add(
                            Grant(roleID: "reader", actor: actor, scope: .system)
                        )
                    }
                }
                guard call.path.hasSuffix("password"), var user = try transaction.user(id: owner)
                else { continue }
                user.passwordHash = try World.hash(World.password)
                try transaction.saveUser(user)
            }
        }
    }

    @Test(arguments: Persona.all)
    func `everybody may what the table says, and nothing else`(persona: Persona) async throws {
        let (world, scope) = try await Self.world(for: persona)
        try await world.withClient { client in
            var (isChanged, token) = (true, Secret?.none)
            for place in Place.allCases {
                for call in IdentityAccess.calls {
                    let isAllowed = call.need.allows(persona, place)
                    // What the last call changed is as it was.
                    if isChanged || call.isAboutSystem || call.path.hasSuffix("password") {
                        try await Self.lay(for: call, by: persona, world)
                        token =
                            persona.kind == .nobody
                            ? nil : try await world.mint(persona.userID, scope)
                    }
                    isChanged = isAllowed && call.method != "GET" || call.isAboutSystem
                    let names = objects(place, persona)
                    var headers: HTTPFields = [:]
                    if call.path.contains("auth/tokens") {
                        headers[.known("X-Subject-Token")] =
                            try await world.mint(names["self"] ?? "", .none).reveal()
                    }
                    let answer = try await client.call(
                        call.method,
                        "/identity/" + call.path(with: names),
                        token: token,
                        body: call.body(with: names),
                        headers: headers
                    )
                    let expected = isAllowed ? 200..<301 : 401..<405
                    #expect(
                        expected.contains(answer.status),
                        "\(call) \(place) \(answer.status) \(answer.body.canonicalText)"
                    )
                }
            }
        }
    }

    @Test(arguments: Persona.all.filter { !$0.isSystem || $0.role == .reader })
    func `no list shows anything of a foreign domain`(persona: Persona) async throws {
        let (world, scope) = try await Self.world(for: persona)
        try await world.service.change { transaction in
            for place in Place.allCases {
                try Self.lay(place, owner: "\(place)-user", transaction)
            }
            try transaction.add(
                Grant(roleID: "member", actor: .user("away-user"), scope: .domain("away"))
            )
        }
        let token =
            persona.kind == .nobody ? nil : try await world.mint(persona.userID, scope)
        try await world.withClient { client in
            let lists = IdentityAccess.calls.filter { call in
                call.method == "GET" && !call.path.contains("{")
                    // The catalog belongs to everybody.
                    && !["endpoints", "services", "regions", "catalog"].contains {
                        call.path.hasSuffix($0)
                    }
            }
            #expect(lists.count > 10)
            var found = 0
            for call in lists {
                for query in [
                    "", "?domain_id=away", "?name=away-user", "?name=away-project",
                    "?scope.domain.id=away&effective", "?scope.project.id=away-project",
                    "?user.id=away-user&include_names=true", "?parent_id=away&limit=1",
                    "?marker=a", "?include_names&effective=true",
                ] {
                    let answer = try await client.call(
                        "GET",
                        "/identity/\(call.path)\(query)",
                        token: token
                    )
                    guard answer.body.canonicalText.contains("away-") else { continue }
                    found += 1
                    if !persona.isSystem { Issue.record("\(call)\(query)") }
                }
            }
            // Those who may see everything prove that there was something to see.
            #expect((found > 20) == persona.isSystem)
        }
    }

    @Test func `the table covers every route of the area`() async throws {
        let world = try await World()
        let surface = Surface(
            authenticator: world.service,
            logger: Logger(label: "test"),
            time: world.time,
            random: SeededRandom(seed: 2)
        )
        IdentityAPI(service: world.service, publicURL: World.url).addRoutes(to: surface)
        let routes = Set(surface.table.map { routeName($0.method, $0.path) })
        let covered = Set(IdentityAccess.calls.map { $0.route(below: IdentityAccess.root) })
        let missing = routes.subtracting(covered).subtracting(IdentityAccess.others.keys)
        #expect(missing.sorted() == [])
        #expect(covered.subtracting(routes).sorted() == [])
    }
}

import Basics
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Protocol
import Testing

@testable import Identity

@Suite struct AuditTests {
    @Test func `the trail says who did what to which object, and how it ended`() async throws {
        let world = try await World()
        try await world.addUser("u")
        try await world.addProject("p")
        try await world.grant("reader", to: .user("u"), in: .project("p"))
        let admin = try await world.signIn(scope: .system).token
        let reader = try await world.token(of: "u", .project(id: "p", name: nil))
        try await world.withClient { client in
            let made = try await client.call(
                "POST",
                "/identity/v3/groups",
                token: admin,
                body: #"{"group":{"name":"g"}}"#
            )
            let group = made.body["group"]?["id"]?.text ?? ""
            _ = try await client.call("DELETE", "/identity/v3/groups/\(group)", token: reader)
            _ = try await client.call("GET", "/identity/v3/users", token: reader)
            _ = try await client.call("GET", "/identity/v3/users", token: admin)
            _ = try await client.call("GET", "/identity/v3/users")
            let wrong = """
                {"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"u",
                "domain":{"id":"default"},"password":"wrong"}}}}}
                """
            _ = try await client.call("POST", "/identity/v3/auth/tokens", body: wrong)
            let answer = try await client.call("GET", "/v1/audit", token: admin)
            #expect(answer.status == 200)
            let lines = (answer.body["audit"]?.elements ?? []).reversed().map { event in
                [
                    event["action"]?.text, event["target"]?["typeURI"]?.text,
                    event["target"]?["id"]?.text, event["outcome"]?.text,
                    event["initiator"]?["name"]?.text, event["initiator"]?["scope"]?.text,
                    event["reason"]?["reasonCode"]?.text,
                ].map { $0 ?? "-" }.joined(separator: " ")
            }
            #expect(
                lines == [
                    "create identity/groups \(group) success admin system 201",
                    "delete identity/groups \(group) failure u project:p 403",
                    "read identity/users  failure u project:p 403",
                    "read identity/users  failure   401",
                    "authenticate identity/tokens u failure   401",
                ]
            )
            #expect(!answer.body.canonicalText.contains("wrong"))
            #expect(try await client.call("GET", "/v1/audit", token: reader).status == 403)
        }
    }

    @Test func `a change has its record from the moment when it is stored`() async throws {
        let world = try await World()
        let admin = try await world.signIn(scope: .system).token
        let (stored, storedNow) = AsyncStream.makeStream(of: Void.self)
        let (answered, answerNow) = AsyncStream.makeStream(of: Void.self)
        let router = world.surface { routes in
            routes.post("/slow", .role(.admin), .nothing) { _, context in
                try await world.service.change { try $0.saveDomain(Domain(id: "d", name: "d")) }
                storedNow.finish()
                for await _ in answered {}
                context.note(target: "d")
                return .empty(.ok)
            }
        }.makeRouter()
        try await Application(router: router).test(.router) { client in
            async let answer = client.call("POST", "/test/slow", token: admin)
            for await _ in stored {}
            let during = try await world.trail()
            // What a killed controller leaves.
            #expect(during == ["create baremetal/test slow pending admin"])
            answerNow.finish()
            #expect(try await answer.status == 200)
            #expect(try await world.trail() == ["create baremetal/test d success admin"])
            let shown = try await client.call("GET", "/v1/audit?outcome=pending", token: admin)
            #expect(shown.body["audit"]?.elements?.count == 0)
        }
    }

    @Test func `a call has one record, however its transactions ended`() async throws {
        let world = try await World()
        let admin = try await world.signIn(scope: .system).token
        let router = world.surface { routes in
            routes.post("/twice", .role(.admin), .nothing) { _, _ in
                for name in ["a", "b"] {
                    try await world.service.change {
                        try $0.saveDomain(Domain(id: name, name: name))
                    }
                }
                throw Fault(.conflict, "cannot do more")
            }
            routes.post("/failed", .role(.admin), .nothing) { _, _ in
                try await world.service.change { _ in throw Fault(.conflict, "cannot store this") }
                return .empty(.ok)
            }
            routes.post("/late", .role(.admin), .nothing) { _, _ in
                // A refusal that the handler overcomes, and then a change.
                try? await world.service.change { _ in throw Fault(.conflict, "not like this") }
                try await world.service.change { try $0.saveDomain(Domain(id: "c", name: "c")) }
                return .empty(.ok)
            }
            routes.post("/idle", .role(.admin), .nothing) { _, _ in .empty(.ok) }
        }.makeRouter()
        try await Application(router: router).test(.router) { client in
            for name in ["twice", "failed", "late", "idle"] {
                _ = try await client.call("POST", "/test/\(name)", token: admin)
            }
            #expect(
                try await world.trail() == [
                    "create baremetal/test twice failure admin",
                    "create baremetal/test failed failure admin",
                    "create baremetal/test late success admin",
                    "create baremetal/test idle success admin",
                ]
            )
        }
    }

    @Test func `it is read page by page and by what one looks for`() async throws {
        let world = try await World()
        let admin = try await world.signIn(scope: .system).token
        try await world.withClient { client in
            for index in 0..<5 {
                _ = try await client.call(
                    "POST",
                    "/identity/v3/groups",
                    token: admin,
                    body: "{\"group\":{\"name\":\"\(index % 2)\"}}"
                )
            }
            var (pages, path) = ([Int](), Optional("/v1/audit?limit=2"))
            while let page = path {
                let answer = try await client.call("GET", page, token: admin)
                pages.append(answer.body["audit"]?.elements?.count ?? -1)
                path = answer.body["next"]?.text
            }
            #expect(pages == [2, 2, 1])
            for (query, count) in [
                ("outcome=failure", 3), ("outcome=success&limit=1", 1), ("action=create", 5),
                ("action=delete", 0), ("target_type=identity/groups", 5), ("target=x", 0),
                ("since=2027-01-15T08:00:00", 5), ("until=2027-01-15T08:00:00Z", 0), ("user=x", 0),
            ] {
                let answer = try await client.call("GET", "/v1/audit?\(query)", token: admin)
                #expect(answer.body["audit"]?.elements?.count == count, "\(query)")
            }
            for query in ["limit=0", "limit=x", "before=x", "outcome=maybe", "since=now"] {
                let answer = try await client.call("GET", "/v1/audit?\(query)", token: admin)
                #expect(answer.status == 400, "\(query)")
            }
        }
    }

    @Test func `strangers cannot fill the trail, and what was left out is counted`() {
        var flood = RefusalFlood()
        func record(
            _ second: Double,
            user: String = "",
            from address: String = "a",
            path: String = "/",
            status: Int = 401
        ) -> AuditRecord {
            AuditRecord(
                time: Timestamp(seconds: 1_800_000_000 + second),
                requestID: "r",
                userID: user,
                userName: user,
                scope: "",
                address: address,
                method: "GET",
                path: path,
                subject: AuditSubject(action: "read", targetType: "x", targetID: ""),
                status: status
            )
        }
        let kept = (0..<100).filter { _ in flood.admit(record(0)) != nil }
        #expect(kept.count == RefusalFlood.keptMax)
        #expect(flood.admit(record(1, from: "b")) != nil)
        #expect(flood.admit(record(1, user: "known")) != nil)
        let later = flood.admit(record(61))
        #expect(later?.omitted == 100 - RefusalFlood.keptMax)
        #expect(flood.admit(record(62))?.omitted == 0)
        let told = (0..<100).filter { _ in
            flood.admit(record(0, from: "bmc", path: "/v1/redfish_events/n/***", status: 204))
                != nil
        }
        #expect(told.count == RefusalFlood.keptMax)
        let others = (0..<100).filter { _ in flood.admit(record(0, from: "c", status: 201)) != nil }
        #expect(others.count == 100)
    }
}

extension World {
    /// The trail's records in the order of their calls: action, target, outcome and user.
    fileprivate func trail() async throws -> [String] {
        try await service.auditRecords(AuditFilter(), as: administrator()).reversed().map {
            "\($0.subject.action) \($0.subject.targetType) \($0.subject.targetID) \($0.outcome) \($0.userName)"
        }
    }
}

extension Operation {
    fileprivate static let nothing = Operation("Do nothing", answers: .empty(.ok))
}

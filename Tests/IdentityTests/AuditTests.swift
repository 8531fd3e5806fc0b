import Basics
import HTTP
import HTTPTypes
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
        func record(_ second: Double, user: String = "", from address: String = "a") -> AuditRecord
        {
            AuditRecord(
                time: Timestamp(seconds: 1_800_000_000 + second),
                requestID: "r",
                userID: user,
                userName: user,
                scope: "",
                address: address,
                method: "GET",
                path: "/",
                subject: AuditSubject(action: "read", targetType: "x", targetID: ""),
                status: 401
            )
        }
        let kept = (0..<100).filter { _ in flood.admit(record(0)) != nil }
        #expect(kept.count == RefusalFlood.keptMax)
        #expect(flood.admit(record(1, from: "b")) != nil)
        #expect(flood.admit(record(1, user: "known")) != nil)
        let later = flood.admit(record(61))
        #expect(later?.omitted == 100 - RefusalFlood.keptMax)
        #expect(flood.admit(record(62))?.omitted == 0)
    }
}

import Basics
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Rights
import Testing

@testable import ControllerDaemon

/// What the whole controller answers, its document, and who may ask.
@Suite struct SurfaceTests {
    /// What the document names, as `routeName` writes it.
    private func documented(_ controller: WholeController) throws -> [String] {
        let paths = try #require(controller.surface.makeDocument()?["paths"]?.members)
        return paths.flatMap { path, item in
            (item.members ?? [:]).keys.filter { $0 != "parameters" }
                .map { routeName($0.uppercased(), path) }
        }
    }

    @Test func `the router answers what the document names, and nothing else`() async throws {
        let controller = try await WholeController()
        // The router is asked itself: routes of one method and path would be one there, and two in the list.
        let routes = controller.surface.makeRouter().routes.filter { $0.method != .head }
            .map { routeName($0.method.rawValue, $0.path.description) }
        let documented = try documented(controller)
        #expect(routes.count > 250)
        #expect(Set(routes).symmetricDifference(documented).sorted() == [])
        #expect(routes.count == Set(routes).count)
        #expect(documented.count == Set(documented).count)
        #expect(controller.surface.table.count == routes.count)
        try controller.surface.makeRouter().validate()
        await controller.close()
    }

    @Test func `every route stands in a table of rights, or in a list with a reason`() async throws
    {
        let controller = try await WholeController()
        let routes = Set(try documented(controller))
        let covered = Set(
            BaremetalAccess.calls.map { $0.route() } + ControllerAccess.calls.map { $0.route() }
                + IdentityAccess.calls.map { $0.route(below: IdentityAccess.root) }
        )
        let excused = [BaremetalAccess.others, ControllerAccess.others, IdentityAccess.others]
            .flatMap(\.keys)
        #expect(excused.count < 12)
        #expect(routes.subtracting(covered).symmetricDifference(excused).sorted() == [])
        #expect(covered.subtracting(routes).sorted() == [])
        await controller.close()
    }
}

/// The controller's other routes by every persona; the suites of Bare Metal and Identity try theirs.
@Suite struct ControllerAccessTests {
    /// What stands for the objects of a call, made afresh by their owner.
    private func lay(_ http: any TestClientProtocol) async throws -> [String: String] {
        var names = [
            "none": "aaaaaaaa-0000-4000-8000-000000000009", "nobody": "nobody", "tag": "old",
        ]
        for (name, path, body) in [
            ("image", "/image/v2/images", #"{"name":"leaky","tags":["old"]}"#),
            (
                "webhook", "/v1/webhooks",
                #"{"url":"https://hooks.example/leaky","secret":"a secret of sixteen"}"#
            ),
        ] {
            let made = try await http.execute(
                uri: path,
                method: .post,
                headers: [.authToken: "manager@owner", .contentType: "application/json"],
                body: ByteBuffer(string: body)
            )
            #expect(made.status == .created, "\(String(buffer: made.body))")
            let document = try JSONValue(parsing: String(buffer: made.body).utf8)
            names[name] = (document["id"] ?? document["uuid"])?.text
        }
        return names
    }

    private func type(of call: AccessCall<Need>) -> String {
        if call.path.hasSuffix("/file") { return "application/octet-stream" }
        return call.method == "PATCH" && call.path.hasPrefix("/image")
            ? "application/openstack-images-v2.1-json-patch" : "application/json"
    }

    @Test(arguments: Persona.all)
    func `everybody may what the table says, and nothing else`(persona: Persona) async throws {
        let controller = try await WholeController()
        let router = controller.surface.makeRouter()
        try await Application(router: router).test(.router) { http in
            for call in ControllerAccess.calls {
                let names = try await lay(http)
                var headers: HTTPFields = [.contentType: type(of: call)]
                if let token = persona.token { headers[.authToken] = token }
                let answer = try await http.execute(
                    uri: call.path(with: names),
                    method: try #require(HTTPRequest.Method(call.method)),
                    headers: headers,
                    body: call.body(with: names).map { ByteBuffer(string: $0) }
                )
                let text = String(buffer: answer.body)
                let isRefused = [401, 403, 404].contains(answer.status.code)
                let isTold =
                    answer.status == .notFound
                    && (call.missing.map { text.contains($0) } ?? false)
                if call.need.allows(persona) {
                    #expect(!isRefused || isTold, "\(persona) \(call): \(answer.status) \(text)")
                    #expect(answer.status.code < 500, "\(persona) \(call): \(text)")
                } else {
                    #expect(isRefused && !isTold, "\(persona) \(call): \(answer.status) \(text)")
                }
                for (path, name) in [
                    ("/image/v2/images/", names["image"]), ("/v1/webhooks/", names["webhook"]),
                ] {
                    // Forgotten, unless the call did that: both are bounded in number.
                    _ = try await http.execute(
                        uri: path + (name ?? ""),
                        method: .delete,
                        headers: [.authToken: "manager@owner"]
                    )
                }
            }
        }
        await controller.close()
    }

    @Test(arguments: Persona.all.filter { $0.place != .owner && $0.place != .system })
    func `no list shows what belongs to others`(persona: Persona) async throws {
        let controller = try await WholeController()
        let router = controller.surface.makeRouter()
        try await Application(router: router).test(.router) { http in
            let names = try await lay(http)
            for (who, mayLook) in [(persona.token, false), ("manager@owner", true)] {
                var found = 0
                for call in ControllerAccess.calls
                where call.method == "GET" && !call.path.contains("{") {
                    for query in ["", "?owner=owner", "?visibility=private", "?name=leaky"] {
                        let answer = try await http.execute(
                            uri: call.path + query,
                            method: .get,
                            headers: who.map { [.authToken: $0] } ?? [:]
                        )
                        let text = String(buffer: answer.body)
                        let secrets =
                            ["leaky"] + [names["image"], names["webhook"]].compactMap(\.self)
                        guard answer.status == .ok, secrets.contains(where: text.contains) else {
                            continue
                        }
                        found += 1
                        if !mayLook { Issue.record("\(persona) \(call)\(query): \(text)") }
                    }
                }
                // The owner proves that there was something to see.
                #expect((found > 3) == mayLook)
            }
        }
        await controller.close()
    }
}

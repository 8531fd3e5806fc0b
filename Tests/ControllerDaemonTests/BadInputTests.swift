import Basics
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Rights
import Testing

@testable import Baremetal
@testable import ControllerDaemon

/// Bodies that nobody should send, to every route of the controller that takes one.
@Suite struct BadInputTests {
    private static let bodies: [(name: String, text: String, status: Int)] = [
        ("10 MB of JSON", "[\"" + String(repeating: "x", count: 10 << 20) + "\"]", 413),
        ("deep JSON", String(repeating: "[", count: 200_000), 400),
        ("deep objects", String(repeating: #"{"a":"#, count: 100_000), 400),
        ("half a text", #"{"name": "c0"#, 400), ("a comma too many", #"{"name": "c0",}"#, 400),
    ]

    /// Every route that takes a JSON body, with `x` for what its path names.
    private func routes(_ controller: WholeController) throws -> [(HTTPRequest.Method, String)] {
        let paths = try #require(controller.surface.makeDocument()?["paths"]?.members)
        return paths.sorted { $0.key < $1.key }.flatMap { path, item in
            (item.members ?? [:]).sorted { $0.key < $1.key }.compactMap { method, operation in
                // Ironic's takes an empty object, which nobody looks at.
                guard !path.hasSuffix("/inject_nmi"),
                    let content = operation["requestBody"]?["content"]?.members,
                    content.keys.contains(where: { $0.contains("json") }),
                    let method = HTTPRequest.Method(method.uppercased())
                else { return nil }
                let parts = path.split(separator: "/").map { $0.hasPrefix("{") ? "c0" : $0 }
                return (method, "/" + parts.joined(separator: "/"))
            }
        }
    }

    @Test(arguments: bodies.indices)
    func `a body that is too long, too deep or broken is refused and changes nothing`(
        index: Int
    ) async throws {
        let (name, text, status) = Self.bodies[index]
        let controller = try await WholeController()
        let nodes = controller.areas.bulk.nodes
        let node = try await nodes.create(id: nil, driver: "fake-hardware", by: nil) {
            $0.name = "c0"
        }
        let routes = try routes(controller)
        #expect(routes.count > 60)
        let body = ByteBuffer(string: text)
        let router = controller.surface.makeRouter()
        try await Application(router: router).test(.router) { http in
            var exact = 0
            for (method, path) in routes {
                let answer = try await http.execute(
                    uri: path,
                    method: method,
                    headers: [
                        .authToken: "admin", .contentType: "application/json",
                        .known("X-OpenStack-Ironic-API-Version"): "latest",
                    ],
                    body: body
                )
                let code = answer.status.code
                // What a path names may be missed or refused first, and images want another type.
                #expect(
                    [status, 400, 401, 404, 415].contains(code),
                    "\(name): \(method) \(path): \(code) \(String(buffer: answer.body).prefix(200))"
                )
                if code == status { exact += 1 }
            }
            #expect(exact > 30, "\(name): \(exact) of \(routes.count)")
        }
        #expect(try await nodes.node("c0") == node)
        await controller.close()
    }
}

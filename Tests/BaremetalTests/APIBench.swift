import Basics
import Foundation
import HTTP
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import Power
import Protocol
import Rights
import Store
import Testing

@testable import Baremetal

/// A clock of which no budget runs out.
struct PatientTime: TimeSource {
    var now: Timestamp { Timestamp(seconds: 1_800_000_000) }
    var elapsed: Duration { .zero }
    func sleep(for span: Duration) async throws {
        let (stream, _) = AsyncStream.makeStream(of: Void.self)
        for await _ in stream {}
        throw CancellationError()
    }
}

struct Answer {
    let status: Int
    let body: JSONValue
    let headers: HTTPFields
    /// The text of an error in Ironic's dialect.
    var fault: String {
        let text = body["error_message"]?.text ?? ""
        // A body that is no error has no such text.
        return (try? JSONValue(parsing: text.utf8))?["faultstring"]?.text ?? ""
    }
}

struct Client {
    let http: any TestClientProtocol

    func call(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ body: JSONValue? = nil,
        as token: String? = "admin",
        version: String? = "1.95"
    ) async throws -> Answer {
        var headers: HTTPFields = [:]
        if let token { headers[.authToken] = token }
        if let version { headers[.ironicVersion] = version }
        let bytes = body.map { ByteBuffer(string: $0.canonicalText) }
        let response = try await http.execute(
            uri: path,
            method: method,
            headers: headers,
            body: bytes
        )
        let text = String(buffer: response.body)
        return Answer(
            status: response.status.code,
            body: text.isEmpty ? .null : try JSONValue(parsing: text.utf8),
            headers: response.headers
        )
    }
}

extension Bench {
    func withClient(
        _ authenticator: any RequestAuthenticator = Tokens(),
        _ body: @escaping @Sendable (Client) async throws -> Void
    ) async throws {
        let surface = Surface(
            authenticator: authenticator,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            time: PatientTime(),
            random: SeededRandom(seed: 3)
        )
        let root = "https://192.0.2.1:6385"
        let areas: [any RouteArea] = [
            NodesAPI(service: service, publicURL: root),
            ResourcesAPI(service: service, publicURL: root),
            DriversAPI(service: service, publicURL: root),
            BulkAPI(service: bulk, publicURL: root), RamdiskAPI(),
            BMCEventsAPI(service: service),
        ]
        for area in areas { area.addRoutes(to: surface) }
        try await Application(router: surface.makeRouter()).test(.router) {
            try await body(Client(http: $0))
        }
    }
}

let registration: JSONValue = [
    "name": "c0", "driver": "ipmi",
    "driver_info": [
        "ipmi_address": "192.0.2.201", "ipmi_username": "bmc1", "ipmi_password": "hunter2",
    ],
    "properties": ["memory_mb": 2048], "extra": ["rack": "r1"],
]

/// A wrong request, its code and what the error says.
struct WrongRequest: Sendable, CustomTestStringConvertible {
    let method: String
    let path: String
    let body: JSONValue
    let status: Int
    let words: String

    init(_ method: String, _ path: String, _ body: JSONValue, _ status: Int, _ words: String) {
        self.method = method
        self.path = path
        self.body = body
        self.status = status
        self.words = words
    }

    var testDescription: String { "\(method) \(path) \(body.canonicalText)" }
}

let wrongRequests: [WrongRequest] = [
    WrongRequest("POST", "/v1/nodes", ["name": "x"], 400, "driver"),
    WrongRequest("POST", "/v1/nodes", ["driver": "ilo"], 400, "enabled drivers"),
    WrongRequest("POST", "/v1/nodes", ["driver": "ipmi", "colour": "red"], 400, "colour"),
    WrongRequest("POST", "/v1/nodes", ["driver": "ipmi", "name": "a b"], 400, "name"),
    WrongRequest("POST", "/v1/nodes", ["driver": "ipmi", "name": "c0"], 409, "taken"),
    WrongRequest(
        "POST",
        "/v1/nodes",
        ["driver": "ipmi", "deploy_interface": "iscsi"],
        400,
        "direct"
    ),
    WrongRequest("GET", "/v1/nodes/nobody", .null, 404, "nobody"),
    WrongRequest("GET", "/v1/nodes?provision_state=dreaming", .null, 400, "dreaming"),
    WrongRequest("GET", "/v1/nodes?fields=uuid,colour", .null, 400, "colour"),
    WrongRequest("GET", "/v1/nodes?sort_key=driver_info", .null, 400, "driver_info"),
    WrongRequest("GET", "/v1/nodes?limit=many", .null, 400, "many"),
    WrongRequest("GET", "/v1/nodes/c0/inventory", .null, 404, "not inspected"),
    WrongRequest("PUT", "/v1/nodes/c0/states/provision", ["target": "active"], 400, "enroll"),
    WrongRequest("PUT", "/v1/nodes/c0/states/provision", ["target": "dance"], 400, "dance"),
    WrongRequest("PUT", "/v1/nodes/c0/states/provision", [:], 400, "target"),
    WrongRequest("PUT", "/v1/nodes/c0/states/power", ["target": "explode"], 400, "power on"),
    WrongRequest(
        "PUT",
        "/v1/nodes/c0/states/provision",
        ["target": "manage", "clean_steps": []],
        400,
        "clean_steps"
    ),
    WrongRequest(
        "PATCH",
        "/v1/nodes/c0",
        [["op": "add", "path": "/uuid", "value": "x"]],
        400,
        "/uuid"
    ),
    WrongRequest("PATCH", "/v1/nodes/c0", ["op": "add"], 400, "list"),
    WrongRequest("POST", "/v1/ports", ["address": "no", "node_uuid": "c0"], 400, "MAC"),
    WrongRequest("POST", "/v1/ports", ["address": "52:54:00:c0:00:01"], 400, "node_uuid"),
    WrongRequest(
        "POST",
        "/v1/ports",
        ["address": "52:54:00:c0:00:01", "node_uuid": "x"],
        404,
        "x"
    ),
]

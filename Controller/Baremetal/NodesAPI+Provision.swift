import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Protocol

// The provision verbs.
extension NodesAPI {
    func addProvisionRoutes(to routes: Routes) {
        routes.ironic(.put, "/v1/nodes/:node/states/provision", .member, .provision) { call in
            let reference = try call.parameter("node")
            var body = try await call.object()
            try await service.expandRunbook(&body, reference, call.version, by: call.principal)
            let wish = try ProvisionWish(body, call.version)
            let node = try await service.request(wish, for: reference, by: call.principal)
            var response = Response.empty(.accepted)
            response.headers[.location] = "\(root)/v1/nodes/\(node.id)/states"
            return response
        }
    }
}

extension NodesService {
    /// Puts a runbook's steps in the place of its name.
    /// - Throws: `Fault` of kind `invalid` when the runbook is not approved for the node.
    func expandRunbook(
        _ body: inout [String: JSONValue],
        _ reference: String,
        _ version: Microversion,
        by principal: Principal
    ) async throws {
        guard let name = body.removeValue(forKey: "runbook"), name != .null else { return }
        let target = body["target"]?.text ?? ""
        guard version.minor >= 92, let name = name.text else {
            throw Fault(
                .notAcceptable,
                "cannot take a runbook in API version \(version.text): it exists since 1.92"
            )
        }
        guard let key = ["clean": "clean_steps", "service": "service_steps"][target] else {
            throw Fault(.invalid, "cannot take a runbook with target \(target.prefix(40))")
        }
        guard body[key] == nil || body[key] == .null else {
            throw Fault(.invalid, "cannot take both \(key) and a runbook: leave one out")
        }
        let runbook = try await resource(.runbook, name, by: principal)
        let node = try await self.node(reference, by: principal)
        let approved =
            version.minor >= 112
            ? Set(runbook.texts("traits")) : [runbook.text("name") ?? ""]
        guard !approved.isDisjoint(with: node.traits) else {
            throw Fault(
                .invalid,
                "cannot use runbook \(name.prefix(80)) on node \(node.label): the node has none of the traits \(approved.sorted().joined(separator: ", ")); ask an administrator to add one"
            )
        }
        func turn(_ step: JSONValue) -> Int64 { step["order"]?.integer ?? 0 }
        let steps = runbook.values["steps"]?.elements ?? []
        body[key] = .array(steps.sorted { turn($0) < turn($1) })
        if runbook.values["disable_ramdisk"] == true { body["disable_ramdisk"] = true }
    }
}

extension ProvisionWish {
    /// The targets, and the minor version that brought each.
    private static let targets: [String: Int] = [
        "active": 1, "rebuild": 1, "deleted": 1, "manage": 4, "provide": 4, "inspect": 6,
        "abort": 13, "clean": 15, "adopt": 17, "rescue": 38, "unrescue": 38, "deploy": 73,
        "undeploy": 73, "unhold": 85, "service": 87,
    ]

    static var targetNames: [String] { targets.keys.sorted() }

    /// What goes with one target only.
    private static let companions: [(name: String, targets: Set<String>, minor: Int)] = [
        ("configdrive", ["active", "deploy", "rebuild"], 1), ("clean_steps", ["clean"], 15),
        ("rescue_password", ["rescue"], 38), ("deploy_steps", ["active", "deploy", "rebuild"], 69),
        ("service_steps", ["service"], 87), ("disable_ramdisk", ["clean", "service"], 70),
    ]

    /// Reads the body of a request.
    /// - Throws: `Fault`: `invalid` that names what is wrong, `notAcceptable` for a newer version's target.
    init(_ body: [String: JSONValue], _ version: Microversion) throws {
        guard let target = body["target"]?.text else {
            throw Fault(.invalid, "cannot change the provision state: the request has no target")
        }
        guard let since = Self.targets[target] else {
            throw Fault(
                .invalid,
                "cannot take target “\(target.prefix(40))”: it must be one of \(Self.targets.keys.sorted().joined(separator: ", "))"
            )
        }
        try Self.require(since, "target \(target)", version)
        for (name, targets, minor) in Self.companions
        where body[name] != nil && body[name] != .null {
            guard targets.contains(target) else {
                throw Fault(.invalid, "cannot take \(name) with target \(target): leave it out")
            }
            try Self.require(minor, name, version)
        }
        let deploySteps = try Self.steps(body, "deploy_steps", .deploy)
        let drive = try body["configdrive"].flatMap {
            $0 == .null ? nil : try ConfigDrive($0)
        }
        switch target {
        case "manage": self = .manage
        case "inspect": self = .inspect
        case "provide": self = .provide
        case "active", "deploy": self = .deploy(configDrive: drive, steps: deploySteps)
        case "rebuild": self = .rebuild(configDrive: drive, steps: deploySteps)
        case "deleted", "undeploy": self = .delete
        case "abort": self = .abort
        case "adopt": self = .adopt
        case "unhold": self = .unhold
        case "unrescue": self = .unrescue
        case "clean":
            self = .clean(
                try Self.required(body, "clean_steps"),
                ramdisk: body["disable_ramdisk"]?.truth.map { !$0 }
            )
        case "service": self = .service(try Self.required(body, "service_steps"))
        default:
            self = .rescue(password: try Self.rescuePassword(body["rescue_password"]?.text))
        }
    }

    private static func rescuePassword(_ text: String?) throws -> Secret {
        guard let text, text.contains(where: { !$0.isWhitespace }) else {
            throw Fault(.invalid, "cannot rescue a node: rescue_password is missing or empty")
        }
        guard text.utf8.count <= CryptPassword.passwordBytesMax, !text.utf8.contains(0) else {
            throw Fault(
                .invalid,
                "cannot rescue a node: rescue_password is longer than \(CryptPassword.passwordBytesMax) bytes or has a zero byte"
            )
        }
        return Secret(text)
    }

    private static func require(_ minor: Int, _ what: String, _ version: Microversion) throws {
        guard version.minor >= minor else {
            throw Fault(
                .notAcceptable,
                "cannot take \(what) in API version \(version.text): it exists since 1.\(minor)"
            )
        }
    }

    /// - Throws: `Fault` of kind `invalid` when there are none.
    private static func required(
        _ body: [String: JSONValue],
        _ name: String
    ) throws -> [StepRequest] {
        let steps = try steps(body, name, .request)
        guard !steps.isEmpty else {
            throw Fault(
                .invalid,
                "cannot change the provision state: \(name) is required with this target"
            )
        }
        return steps
    }

    private static func steps(
        _ body: [String: JSONValue],
        _ name: String,
        _ rules: StepRules
    ) throws -> [StepRequest] {
        guard let list = body[name], list != .null, list != [] else { return [] }
        return (try rules.checked(list).elements ?? []).map(StepRequest.init)
    }
}

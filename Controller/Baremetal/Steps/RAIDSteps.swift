import Basics
import HTTP
import Power
import Protocol
import Store

// The steps of the interface `raid`, which the ramdisk's agent takes; as Ironic's `AgentRAID` has them.
enum RAIDSteps {
    private static let deletes = StepArgument(
        "delete_existing",
        "Whether the disks to be used, and every disk that holds a member of any array, also outside physical_disks, are wiped before."
    )

    static let all = [
        StepDescription(
            "raid",
            "create_configuration",
            clean: 0,
            isAbortable: false,
            arguments: [
                StepArgument(
                    "create_root_volume",
                    "Whether the root volume is made; true by default."
                ),
                StepArgument(
                    "create_nonroot_volumes",
                    "Whether the others are made; true by default."
                ),
                deletes,
            ],
            work: .agent(.buildRAID)
        ),
        StepDescription(
            "raid",
            "delete_configuration",
            clean: 0,
            isAbortable: false,
            work: .agent(.deleteRAID)
        ),
        StepDescription(
            "raid",
            "apply_configuration",
            deploy: 0,
            isAbortable: false,
            arguments: [
                StepArgument("raid_config", isRequired: true, "The RAID configuration to build."),
                deletes,
            ],
            work: .agent(.buildRAID)
        ),
    ]

    /// Checks what a request says of a step, before any machine boots for it.
    /// - Throws: `Fault` of kind `invalid`, a clause.
    static func check(_ request: StepRequest, priority: Int, of node: Node) throws {
        for (name, value) in request.args where name != "raid_config" {
            guard value.truth != nil else {
                throw Fault(.invalid, "\(name) must be true or false")
            }
        }
        switch request.step {
        case "create_configuration", "apply_configuration":
            _ = try layout(request.step, request.args, of: node)
        default: break
        }
        let write = StepCatalog.writeImage.deploy ?? 0
        guard request.step != "apply_configuration" || priority == 0 || priority > write else {
            throw Fault(
                .invalid,
                "its priority \(priority) puts it after \(StepCatalog.writeImage.id) with \(write), whose image it would destroy; give it a higher one"
            )
        }
    }

    /// The configuration that a step builds.
    /// - Throws: `Fault` of kind `invalid` when there is none.
    static func config(
        _ step: String,
        _ args: [String: JSONValue],
        of node: Node
    ) throws -> [String: JSONValue] {
        guard step == "apply_configuration" else {
            return try RAIDConfiguration.chosen(node.targetRAIDConfig, args, of: node.label)
        }
        guard let config = args["raid_config"]?.members else {
            throw Fault(.invalid, "raid_config must be an object with logical_disks")
        }
        try RAIDConfiguration.check(config)
        return config
    }

    private static func layout(
        _ step: String,
        _ args: [String: JSONValue],
        of node: Node
    ) throws -> WireRAIDLayout {
        try RAIDConfiguration.layout(
            of: try config(step, args, of: node),
            bootMode: node.bootMode.rawValue
        )
    }

    /// The command that a step comes to.
    /// - Throws: `Fault` of kind `invalid` when the configuration, which may have changed, cannot be built.
    static func command(_ step: NodeStep, of node: Node) throws -> WireBuildRAID {
        var build = WireBuildRAID()
        build.layout = try layout(step.step, step.args, of: node)
        build.deleteExisting =
            step.args["delete_existing"]?.truth ?? (step.step == "apply_configuration")
        return build
    }
}

extension Node {
    /// The arrays that the machine has, as its agent built them.
    var raidLayout: WireRAIDLayout {
        RAIDConfiguration.built(raidConfig, bootMode: bootMode.rawValue)
    }

    /// The root volume that was built; `nil` where an image goes to a disk.
    var rootVolume: JSONValue? {
        raidConfig["logical_disks"]?.elements?.first { $0["is_root_volume"] == true }
    }

    /// Keeps what was built, and what scheduling reads of it, as Ironic does.
    mutating func take(_ built: WireBuiltRAID, of config: [String: JSONValue], at now: Timestamp) {
        guard !built.volumes.isEmpty else {
            raidConfig = [:]
            return
        }
        raidConfig = RAIDConfiguration.document(of: config, built, at: now)
        guard let root = rootVolume else { return }
        if let size = root["size_gb"]?.integer { properties["local_gb"] = .integer(size) }
        guard let level = root["raid_level"]?.text else { return }
        var capabilities = self.capabilities
        capabilities["raid_level"] = level
        properties["capabilities"] = .string(
            capabilities.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }
                .joined(separator: ",")
        )
    }

    /// What a step that an agent took leaves of the RAID configuration.
    mutating func takeRAID(_ built: WireBuiltRAID, by step: NodeStep, at now: Timestamp) {
        guard step.interface == "raid" else { return }
        guard step.work == .agent(.buildRAID) else {
            raidConfig = [:]
            // It may have named an array that is gone.
            properties["root_device"] = nil
            return
        }
        // It was there when the command was made of it, and nobody may change it meanwhile.
        guard let config = try? RAIDSteps.config(step.step, step.args, of: self) else { return }
        take(built, of: config, at: now)
    }
}

extension NodesService {
    /// Stores which RAID a node is to have; nothing is built before a step does.
    /// - Throws: `Fault`: `notFound` in Ironic's words where the node's driver makes no RAID, `invalid` for a
    ///   configuration that Ironic's schema does not take.
    func setTargetRAID(
        _ config: [String: JSONValue],
        of reference: String,
        by principal: Principal?
    ) async throws {
        try await change(reference, by: principal, cause: "target RAID configuration", rule: .own) {
            node in
            try self.requireInterface("raid", of: node, .notFound)
            guard node.plan?.current?.interface != "raid" else {
                throw Fault(
                    .conflict,
                    "cannot set the target RAID configuration of node \(node.label): its RAID is being built; wait for the end of the step"
                )
            }
            // An empty one unsets it.
            if !config.isEmpty { try RAIDConfiguration.check(config) }
            node.targetRAIDConfig = config
        }
    }

    /// Takes what an agent built or took away.
    func take(_ built: WireBuiltRAID, of command: CommandID, on node: Node) async throws {
        let now = time.now
        let cause = built.volumes.isEmpty ? "software RAID is taken away" : "software RAID is built"
        let step = node.plan?.current
        try await apply(.commandDone(command, device: ""), to: node, cause: cause) {
            if let step { $0.takeRAID(built, by: step, at: now) }
        }
    }
}

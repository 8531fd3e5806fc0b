package import Basics
import HTTP
import Protocol

/// What an operator asks of a node's provision state.
package enum ProvisionWish: Sendable, Equatable {
    case manage
    case inspect
    case provide
    case deploy(configDrive: ConfigDrive?, steps: [StepRequest] = [])
    case rebuild(configDrive: ConfigDrive?, steps: [StepRequest] = [])
    case delete
    case abort
    case adopt
    /// - ramdisk: whether the ramdisk is brought up for it; `nil` as its steps need it.
    case clean([StepRequest], ramdisk: Bool?)
    case service([StepRequest])
    case unhold
    /// Starts a rescue system whose account `rescue` has this password.
    case rescue(password: Secret)
    case unrescue

    /// As a clause: `deploy`.
    package var verb: String {
        switch self {
        case .manage: "manage"
        case .inspect: "inspect"
        case .provide: "provide"
        case .deploy: "deploy"
        case .rebuild: "rebuild"
        case .delete: "undeploy"
        case .abort: "abort the work on"
        case .adopt: "adopt"
        case .clean: "clean"
        case .service: "service"
        case .unhold: "end the rest of"
        case .rescue: "rescue"
        case .unrescue: "unrescue"
        }
    }

    var configDrive: ConfigDrive? {
        switch self {
        case .deploy(let drive, _), .rebuild(let drive, _): drive
        case .manage, .inspect, .provide, .delete, .abort, .adopt, .clean, .service, .unhold,
            .rescue, .unrescue:
            nil
        }
    }

    /// Whether it brings a config drive, or takes an older one's place with none.
    var isDeployment: Bool {
        switch self {
        case .deploy, .rebuild: true
        case .manage, .inspect, .provide, .delete, .abort, .adopt, .clean, .service, .unhold,
            .rescue, .unrescue:
            false
        }
    }

    var isDestructive: Bool {
        switch self {
        case .rebuild, .delete: true
        case .manage, .inspect, .provide, .deploy, .abort, .adopt, .clean, .service, .unhold,
            .rescue, .unrescue:
            false
        }
    }

    /// Whether it leads to automatic power actions.
    var needsPower: Bool {
        switch self {
        case .inspect, .provide, .deploy, .rebuild, .delete, .clean, .service, .rescue, .unrescue:
            true
        case .manage, .abort, .adopt, .unhold: false
        }
    }
}

extension NodesService {
    func checkMaintenance(_ node: Node, _ wish: ProvisionWish) throws {
        guard node.maintenance != nil, wish.needsPower else { return }
        throw Fault(
            .invalid,
            "cannot \(wish.verb) node \(node.label): it is in maintenance; end that with openstack baremetal node maintenance unset"
        )
    }

    /// The event of a wish, with what it needs from other areas.
    func event(for wish: ProvisionWish, on node: Node) async throws -> NodeEvent {
        switch wish {
        case .manage: return .wish(.manage)
        case .inspect: return .wish(.inspect)
        case .provide: return .wish(.provide(cleaningPlan(of: node)))
        case .deploy(_, let steps):
            let order = try await order(for: node, "deploy")
            return .wish(.deploy(order, try await deployPlan(of: node, steps)))
        case .rebuild(_, let steps):
            let order = try await order(for: node, "rebuild")
            return .wish(.rebuild(order, try await deployPlan(of: node, steps)))
        case .delete: return .wish(.delete)
        case .abort: return .wish(.abort)
        case .adopt: return .wish(.adopt(try await order(for: node, "adopt")))
        case .clean(let steps, let ramdisk):
            let plan = try cleaningPlan(of: node, steps, ramdisk: ramdisk)
            return .wish(.clean(plan, ramdisk: ramdisk ?? plan.takesRamdisk))
        case .service(let steps): return .wish(.service(try servicePlan(of: node, steps)))
        case .unhold: return .wish(.unhold)
        case .rescue, .unrescue:
            try requireInterface("rescue", of: node)
            return .wish(wish == .unrescue ? .unrescue : .rescue)
        }
    }

    /// Moves a node as a wish asks.
    /// - Throws: `Fault` of kind `conflict` when another one was quicker: the state that the caller's wish was checked
    ///   in allowed it, and this one does not. `InvalidTransition` otherwise.
    func apply(
        _ event: NodeEvent,
        to node: inout Node,
        seen: Node,
        _ wish: ProvisionWish
    ) throws {
        do {
            try node.apply(event, at: time.now)
        } catch {
            var before = seen
            let isOvertaken = seen.attempt != node.attempt || seen.state != node.state
            // Whether it would have been allowed is all that is asked.
            guard isOvertaken, (try? before.apply(event, at: time.now)) != nil else { throw error }
            throw Fault(
                .conflict,
                "cannot \(wish.verb) node \(node.label): somebody else changed it just now, it is \(node.state.ironicName); look at it and ask again"
            )
        }
    }

    /// Lets those nodes pass whose driver can do what `kind` names, such as `rescue` or `raid`.
    ///
    /// `faultKind` is what Ironic answers in that place.
    /// - Throws: `Fault` in the words of Ironic's clients.
    func requireInterface(
        _ kind: String,
        of node: Node,
        _ faultKind: Fault.Kind = .invalid
    ) throws {
        guard !node.has(kind) else { return }
        throw Fault.unsupported(kind, of: node, faultKind)
    }
}

extension Fault {
    /// What none of a node's interfaces can do.
    static func unsupported(
        _ extensionName: String,
        of node: Node,
        _ kind: Fault.Kind = .invalid
    ) -> Fault {
        Fault(
            kind,
            "cannot work on node \(node.label): driver \(node.driver) does not support \(extensionName) (disabled or not implemented)"
        )
    }
}

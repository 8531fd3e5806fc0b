import Basics
import HTTP
import Protocol
import Store

// Which steps a node's work consists of, and in which order.
extension NodesService {
    /// Every step that a node's driver and agent have.
    func steps(of node: Node) -> [StepDescription] {
        (StepCatalog.all + (drivers[node.driver]?.steps?.steps ?? [])).filter {
            !lacksInterface($0.interface, node)
        }
    }

    private func lacksInterface(_ kind: String, _ node: Node) -> Bool {
        let name = "\(kind)_interface"
        let interface = node.interfaces[name] ?? DriverInterfaces.of(node.driver)[name]?.first
        return interface?.hasPrefix("no-") ?? true
    }

    /// What cleans a node's disks before it is free; `nil` when nothing does.
    func cleaningPlan(of node: Node) -> StepPlan? {
        guard node.automatedClean ?? settings.automatedClean else { return nil }
        let steps = steps(of: node).compactMap { step -> NodeStep? in
            guard let own = step.clean else { return nil }
            let priority = settings.cleanPriorities[step.id] ?? own
            return priority > 0 ? step.made(priority: priority) : nil
        }
        guard !steps.isEmpty else { return nil }
        return StepPlan(
            steps: StepCatalog.sorted(steps),
            powerBudget: settings.budgets.power,
            isAutomated: true
        )
    }

    /// The operator's cleaning steps, in their order.
    /// - Throws: `Fault` of kind `invalid` that names a step that cannot be taken.
    func cleaningPlan(
        of node: Node,
        _ requests: [StepRequest],
        ramdisk: Bool?
    ) throws -> StepPlan {
        let steps = try requests.map { request in
            try checked(request, of: node, "clean", known: \.clean)
        }
        if ramdisk == false, let step = steps.first(where: \.work.takesRamdisk) {
            throw Fault(
                .invalid,
                "cannot clean node \(node.label) without the ramdisk: step \(step.id) requires booting a ramdisk; leave disable_ramdisk out"
            )
        }
        return StepPlan(steps: steps, powerBudget: settings.budgets.power)
    }

    /// The operator's service steps, in their order.
    /// - Throws: `Fault` of kind `invalid` that names a step that cannot be taken.
    func servicePlan(of node: Node, _ requests: [StepRequest]) throws -> StepPlan {
        let steps = try requests.map { request in
            try checked(request, of: node, "service", known: { $0.isService ? 0 : nil })
        }
        return StepPlan(steps: steps, powerBudget: settings.budgets.power)
    }

    /// A deployment's steps: what was asked for goes before the steps of templates, these before the
    /// driver's own; then by priority.
    /// - Throws: `Fault` of kind `invalid` that names a step that cannot be taken.
    func deployPlan(of node: Node, _ requests: [StepRequest]) async throws -> StepPlan {
        var wanted = requests
        let asked = Set(requests.map(\.id))
        wanted += try await templateSteps(of: node).filter { !asked.contains($0.id) }
        for request in wanted where StepCatalog.core.contains(where: { $0.id == request.id }) {
            throw Fault(
                .invalid,
                "cannot deploy node \(node.label): deploy step \(request.id) is a core step and cannot be overridden or left out"
            )
        }
        let named = Set(wanted.map(\.id))
        let own = steps(of: node).compactMap { step -> NodeStep? in
            guard let priority = step.deploy, priority > 0, !named.contains(step.id) else {
                return nil
            }
            return step.made(priority: priority)
        }
        let last = StepCatalog.bootInstance.deploy ?? 0
        let extra = try wanted.compactMap { request -> NodeStep? in
            let step = try checked(request, of: node, "deploy", known: \.deploy)
            guard step.priority > 0 else { return nil }
            guard step.priority > last else {
                throw Fault(
                    .invalid,
                    "cannot deploy node \(node.label): step \(step.id) has priority \(step.priority), but \(StepCatalog.bootInstance.id) with \(last) ends the deployment; give it a higher one"
                )
            }
            return step
        }
        return StepPlan(
            steps: StepCatalog.sorted(own + extra),
            powerBudget: settings.budgets.power
        )
    }

    /// The steps of the deploy templates that the instance's traits name.
    private func templateSteps(of node: Node) async throws -> [StepRequest] {
        let traits = node.instanceInfo["traits"]?.elements?.compactMap(\.text) ?? []
        guard !traits.isEmpty else { return [] }
        let templates = try await database.read { transaction in
            try traits.compactMap { try transaction.resource(.deployTemplate, $0) }
        }
        var seen: Set<String> = []
        return try templates.flatMap { template in
            try (template.values["steps"]?.elements ?? []).map { document in
                let step = StepRequest(document)
                guard seen.insert(step.id).inserted else {
                    throw Fault(
                        .invalid,
                        "cannot deploy node \(node.label): the deploy templates of its instance's traits have duplicate deploy steps for \(step.id); leave one of the traits out"
                    )
                }
                return step
            }
        }
    }

    /// One step that was asked for, checked against what there is.
    ///
    /// `known`: the step's own priority in this kind of work; `nil` when it is of no use there.
    private func checked(
        _ request: StepRequest,
        of node: Node,
        _ kind: String,
        known: (StepDescription) -> Int?
    ) throws -> NodeStep {
        func wrong(_ what: String) -> Fault {
            Fault(.invalid, "cannot take \(kind) step \(request.id) on node \(node.label): \(what)")
        }
        let all = steps(of: node)
        let found =
            StepCatalog.flow.first { $0.step == request.step }
            ?? all.first { $0.id == request.id && known($0) != nil }
        guard let found, let own = known(found) else {
            let others = all.filter { known($0) != nil }.map(\.id) + StepCatalog.flow.map(\.step)
            throw wrong(
                "node does not support this \(kind) step; it has \(others.sorted().joined(separator: ", "))"
            )
        }
        let names = Set(found.arguments.map(\.name))
        let unknown = request.args.keys.filter { !names.contains($0) }.sorted()
        guard unknown.isEmpty else {
            throw wrong(
                "it has these unexpected arguments: \(unknown.map { String($0.prefix(40)) }.joined(separator: ", "))"
            )
        }
        let missing = found.arguments.filter { $0.isRequired && request.args[$0.name] == nil }
        guard missing.isEmpty || request.priority == 0 else {
            throw wrong(
                "it is missing these required arguments: \(missing.map { "\($0.name) (\($0.description))" }.joined(separator: ", "))"
            )
        }
        if let settings = request.args["settings"] {
            do {
                if found.id == "bios.apply_configuration" { _ = try BIOSSteps.wanted(settings) }
                if found.id == "firmware.update" { _ = try FirmwareOrder.list(settings) }
            } catch {
                throw wrong(Fault(error).message)
            }
        }
        if found.work == .agent(.burnInMemory) { _ = try BurnIn(node) }
        if found.interface == "raid" {
            do {
                try RAIDSteps.check(request, priority: request.priority ?? own, of: node)
            } catch {
                throw wrong(Fault(error).message)
            }
        }
        if found.work == .wait, let seconds = request.args["seconds"] {
            guard let number = seconds.wholeNumber,
                (0...StepCatalog.waitSecondsMax).contains(number)
            else { throw wrong("seconds must be 0 to \(StepCatalog.waitSecondsMax)") }
        }
        return NodeStep(
            interface: request.interface,
            step: request.step,
            args: request.args,
            priority: request.priority ?? own,
            isAbortable: found.isAbortable,
            work: found.work
        )
    }
}

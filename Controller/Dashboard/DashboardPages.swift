package import Deployment
import Mustache
package import Protocol
package import Store
package import Telemetry

/// Renders the pages from their templates, which escape every value.
package struct DashboardPages: Sendable {
    private let library: MustacheLibrary

    /// Reads the templates, which are part of the program.
    /// - Throws: when a template is malformed, which a test would have shown.
    package init() throws {
        var library = MustacheLibrary()
        let templates: [(String, [UInt8])] = [
            ("layout", PackageResources.layout_mustache),
            ("sign-in", PackageResources.sign_in_mustache),
            ("nodes", PackageResources.nodes_mustache),
            ("live", PackageResources.live_mustache),
        ]
        for (name, bytes) in templates {
            try library.register(String(decoding: bytes, as: UTF8.self), named: name)
        }
        self.library = library
    }

    /// The page that asks for name and password.
    package func signIn(error: String?) -> String {
        var context: [String: Any] = ["title": "Sign in"]
        if let error { context["error"] = error }
        return render(context, "sign-in")
    }

    /// The page of nodes, runs and events.
    package func nodes(_ view: DashboardView, session: DashboardSessions.Session) -> String {
        var context = view.context
        context["title"] = "Nodes"
        context["user"] = ["name": session.userName, "csrf": session.csrf]
        return render(context, "nodes")
    }

    /// The part of the page that changes.
    package func live(_ view: DashboardView) -> String { render(view.context, "live") }

    private func render(_ context: [String: Any], _ template: String) -> String {
        guard let page = library.render(context, withTemplate: template) else {
            preconditionFailure("template \(template) is part of the program")
        }
        return page
    }
}

/// What the page shows, collected at one moment.
package struct DashboardView: Sendable {
    package var now: Timestamp
    package var nodes: [NodeOverview]
    /// Load, busy ratio of the CPUs, free ratio of the memory; by node.
    package var figures: [NodeID: Figures]
    package var deployments: [Deployment]
    package var events: [Change]

    /// The last samples of one node, as far as there are any.
    package struct Figures: Sendable, Equatable {
        package var load: Double?
        package var cpuBusyRatio: Double?
        package var memoryFreeRatio: Double?

        package init(load: Double?, cpuBusyRatio: Double?, memoryFreeRatio: Double?) {
            self.load = load
            self.cpuBusyRatio = cpuBusyRatio
            self.memoryFreeRatio = memoryFreeRatio
        }
    }

    package init(
        now: Timestamp,
        nodes: [NodeOverview],
        figures: [NodeID: Figures],
        deployments: [Deployment],
        events: [Change]
    ) {
        self.now = now
        self.nodes = nodes
        self.figures = figures
        self.deployments = deployments
        self.events = events
    }

    var context: [String: Any] {
        let states = Dictionary(grouping: nodes, by: \.state).sorted { $0.key < $1.key }
        return [
            "total": nodes.count,
            "states": states.map { state, nodes in
                ["name": state, "count": nodes.count, "badge": badge(state)] as [String: Any]
            },
            "nodes": nodes.map(row),
            "deployments": deployments.map(row),
            "events": events.map(row),
        ]
    }

    private func row(_ node: NodeOverview) -> [String: Any] {
        var row: [String: Any] = [
            "id": node.id.text, "name": node.name, "state": node.state,
            "badge": badge(node.state), "power": node.power,
            "inState": shortSpan(now - node.since), "waitingFor": node.waitingFor ?? "",
        ]
        if node.maintenance { row["maintenance"] = true }
        if let until = node.until, until > now { row["until"] = shortSpan(until - now) }
        if let error = node.lastError { row["lastError"] = error }
        if let progress = node.progress, progress.totalBytes > 0 {
            let share = min(100, progress.doneBytes &* 100 / progress.totalBytes)
            row["progress"] = [
                "phase": progress.phase, "percent": Int(share),
                "done": ByteCount(Int64(clamping: progress.doneBytes)).description,
                "total": ByteCount(Int64(clamping: progress.totalBytes)).description,
                "rate": ByteCount(Int64(progress.bytesPerSecond.clamped)).description,
            ]
        }
        let figures = figures[node.id]
        row["load"] = figures?.load.map { decimal($0, 2) } ?? "–"
        row["cpu"] = figures?.cpuBusyRatio.map { decimal($0 * 100, 0) + " %" } ?? "–"
        row["memory"] = figures?.memoryFreeRatio.map { decimal($0 * 100, 0) + " %" } ?? "–"
        return row
    }

    private func row(_ deployment: Deployment) -> [String: Any] {
        var row: [String: Any] = [
            "id": deployment.id.text, "name": deployment.specification.name,
            "state": deployment.state.rawValue, "badge": badge(deployment.state.rawValue),
            "done": min(deployment.stepIndex, deployment.specification.steps.count),
            "total": deployment.specification.steps.count,
            "updated": deployment.updated.description,
        ]
        if let step = deployment.step { row["step"] = "\(step.number) \(step.name)" }
        if let error = deployment.lastError { row["lastError"] = error }
        if let record = deployment.records.last {
            let phases = Dictionary(grouping: record.nodes.values, by: \.phase.rawValue)
            row["phases"] = phases.sorted { $0.key < $1.key }
                .map { "\($0.value.count) \($0.key)" }.joined(separator: ", ")
            if deployment.state == .failed {
                row["lines"] = record.nodes.sorted { $0.key < $1.key }
                    .flatMap { Array($0.value.lines.suffix(5)) }
            }
        }
        return row
    }

    private func row(_ change: Change) -> [String: Any] {
        let name = nodes.first { $0.id.text == change.id }?.name ?? String(change.id.prefix(8))
        return [
            "time": change.time.description, "kind": change.kind, "object": name,
            "before": change.before.isEmpty ? "–" : change.before,
            "after": change.after.isEmpty ? "–" : change.after, "cause": change.cause,
        ]
    }
}

/// Bootstrap's colour for a state: settled and good, failed, or on the way.
private func badge(_ state: String) -> String {
    if state == "active" || state == "complete" { return "text-bg-success" }
    if state.contains("fail") || state == "error" { return "text-bg-danger" }
    if ["available", "manageable", "enroll", "cancelled"].contains(state) {
        return "text-bg-secondary"
    }
    return "text-bg-info"
}

/// `45 s`, `3 min 05 s`, `2 h 10 min`.
func shortSpan(_ span: Duration) -> String {
    let seconds = max(0, Int(span.inSeconds))
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : String(value) }
    if seconds < 60 { return "\(seconds) s" }
    if seconds < 3600 { return "\(seconds / 60) min \(two(seconds % 60)) s" }
    return "\(seconds / 3600) h \(two(seconds / 60 % 60)) min"
}

/// A number with a fixed count of decimals, without a locale.
func decimal(_ value: Double, _ places: Int) -> String {
    guard value.isFinite, abs(value) < 1e12 else { return "–" }
    let scale = places == 0 ? 1 : places == 1 ? 10 : 100
    let scaled = Int((abs(value) * Double(scale)).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard scale > 1 else { return "\(sign)\(scaled)" }
    let fraction = String(scale + scaled % scale).dropFirst()
    return "\(sign)\(scaled / scale).\(fraction)"
}

extension Double {
    /// Within what an `Int64` holds; not a number is 0.
    fileprivate var clamped: Double {
        isFinite ? Swift.min(Swift.max(self, 0), 1e15) : 0
    }
}

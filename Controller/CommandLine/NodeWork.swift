import Basics
import Protocol

/// Takes several nodes through their steps at once and shows how far they are.
struct NodeWork {
    let client: APIClient
    let time: any TimeSource
    /// How long all of it may take.
    let budget: Duration

    private static let pollEvery: Duration = .seconds(2)

    /// All nodes, sorted by name.
    func nodes() async throws -> [NodeView] {
        let answer = try await client.call("GET", .baremetal, "/v1/nodes/detail?limit=1000")
        return answer["nodes"].array.map(NodeView.init).sorted {
            ($0.name, $0.id) < ($1.name, $1.id)
        }
    }

    /// The nodes named by name or identifier; all when `names` is empty.
    func choose(_ names: [String]) async throws -> [NodeView] {
        let all = try await nodes()
        guard !names.isEmpty else { return all }
        return try names.map { name in
            guard let node = all.first(where: { $0.name == name || $0.id == name }) else {
                throw Fault(
                    .notFound,
                    "cannot find node \(name): it is not registered; see “openstack baremetal node list”"
                )
            }
            return node
        }
    }

    /// Runs the steps and returns when every node is done or has failed.
    /// - Throws: `Fault` that names every node that failed.
    func run(_ nodes: [NodeView], steps: [NodeTask.Step]) async throws {
        var tasks = nodes.map { NodeTask($0, steps: steps) }
        var failures: [String: String] = [:]
        let console = Console.progress
        var display = ProgressDisplay(isTerminal: console.isTerminal, width: console.width)
        var seen: [String: (state: String, since: Duration)] = [:]
        let start = time.elapsed
        while true {
            let views = try await self.nodes()
            for index in tasks.indices where failures[tasks[index].id] == nil {
                guard let view = views.first(where: { $0.id == tasks[index].id }) else {
                    failures[tasks[index].id] =
                        "cannot follow node \(tasks[index].id): it was deleted"
                    continue
                }
                switch tasks[index].advance(view) {
                case .ask(let verb):
                    do {
                        try await ask(verb, of: view)
                    } catch let fault as Fault {
                        failures[view.id] = fault.message
                    }
                case .failed(let why): failures[view.id] = why
                case .wait, .done: break
                }
            }
            let now = time.elapsed
            let ours = views.filter { view in tasks.contains { $0.id == view.id } }
            let lines = ours.map { view in
                line(view, failure: failures[view.id], seen: &seen, now: now)
            }
            console.write(display.frame(lines, at: now))
            if tasks.allSatisfy({ $0.isDone || failures[$0.id] != nil }) { break }
            guard now - start < budget else {
                let late = tasks.filter { !$0.isDone }.compactMap { task in
                    ours.first { $0.id == task.id }.map { "\($0.name) (\($0.state))" }
                }
                throw Fault(
                    .timeout,
                    "cannot wait longer than \(budget.components.seconds) s for \(late.joined(separator: ", ")); the work goes on in the controller: see “openstack baremetal node show NAME”"
                )
            }
            try await time.sleep(for: Self.pollEvery)
        }
        guard failures.isEmpty else {
            throw Fault(.conflict, failures.values.sorted().joined(separator: "\n"))
        }
    }

    private func ask(_ verb: String, of node: NodeView) async throws {
        try await client.call(
            "PUT",
            .baremetal,
            "/v1/nodes/\(node.id)/states/provision",
            body: ["target": .text(verb)]
        )
    }

    private func line(
        _ view: NodeView,
        failure: String?,
        seen: inout [String: (state: String, since: Duration)],
        now: Duration
    ) -> ProgressLine {
        if seen[view.id]?.state != view.state { seen[view.id] = (view.state, now) }
        var line = ProgressLine(
            name: view.name,
            state: view.state,
            inState: now - (seen[view.id]?.since ?? now)
        )
        line.written = view.written
        line.total = view.total
        line.note = failure ?? view.reason
        return line
    }
}

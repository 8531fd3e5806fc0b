import Basics
import HTTP
import Power
package import Protocol

/// Puts other firmware into a machine as a step: one image after the other, each fetched by the BMC itself.
///
/// ```
/// ask the BMC ── task is over ──> restart (not for the BMC's own) ──> the version is another ──> pause ──> next image
///      └── task waits for a restart ──> restart ── task is over ──┘
/// ```
package struct FirmwareSteps: DriverSteps {
    private let versions: any FirmwareControl
    private let updates: any FirmwareUpdateControl
    private let bmc: @Sendable (Node) throws -> BMC

    /// How long a task may wait by itself before the machine is restarted for it.
    static let restartAfter: Duration = .seconds(30)
    /// How long a BMC that tells nothing of an update has for it before the machine is restarted.
    static let silentFor: Duration = .seconds(600)
    /// How long a BMC may be away while it is updated: it restarts.
    static let awayMax: Duration = .seconds(1200)
    /// How long a new version may take to show.
    static let showsWithin: Duration = .seconds(300)

    init(
        _ control: any FirmwareControl & FirmwareUpdateControl,
        bmc: @escaping @Sendable (Node) throws -> BMC
    ) {
        versions = control
        updates = control
        self.bmc = bmc
    }

    package var steps: [StepDescription] {
        [
            StepDescription(
                "firmware",
                "update",
                clean: 0,
                deploy: 0,
                isService: true,
                isAbortable: false,
                arguments: [
                    StepArgument(
                        "settings",
                        isRequired: true,
                        "A list of updates, each with component (bmc, bios or nic:…), url and, if wanted, wait in seconds."
                    )
                ],
                work: .driver
            )
        ]
    }

    /// What is remembered between two calls.
    struct Memory: Equatable {
        enum Stage: String { case ready, asked, restarted, shows, pause }

        var index = 0
        var stage = Stage.ready
        /// Where the BMC tells how far it is.
        var task: String?
        /// The component's version before.
        var before: String?
        /// Since when it is in the stage, and since when its BMC does not answer.
        var since: Timestamp
        var awaySince: Timestamp?
        var isRestarted = false
        /// Whether the BMC said that it is done.
        var isProven = false
        var lines: [String] = []
    }

    package func take(
        _ step: NodeStep,
        after progress: StepProgress?,
        of node: Node,
        at now: Timestamp
    ) async throws -> DriverStepOutcome {
        let orders = try FirmwareOrder.list(step.args["settings"])
        let bmc = try bmc(node)
        var memory = progress.flatMap { Memory($0.note) } ?? Memory(since: now)
        guard memory.index < orders.count else { return .doneWith(memory.lines) }
        let order = orders[memory.index]
        do {
            let outcome = try await goOn(&memory, order, bmc, at: now)
            if case .next = outcome {
                memory = Memory(index: memory.index + 1, since: now, lines: memory.lines)
                guard memory.index < orders.count else { return .doneWith(memory.lines) }
                return .waits(
                    memory.progress("the next update, of \(orders[memory.index].component)")
                )
            }
            memory.awaySince = nil
            if case .restart(let words) = outcome {
                (memory.stage, memory.since, memory.isRestarted) = (.restarted, now, true)
                return .restarts(memory.progress(words))
            }
            guard case .wait(let words) = outcome else { return .doneWith(memory.lines) }
            return .waits(memory.progress(words))
        } catch let fault as PowerFault
            where Self.mayPass.contains(fault.reason)
        {
            // It restarts with its new firmware: silent at first, then it knows nobody and nothing.
            let since = memory.awaySince ?? now
            guard now - since < Self.awayMax else { throw fault.final }
            memory.awaySince = since
            return .waits(
                memory.progress(
                    memory.stage == .ready
                        ? "the BMC to answer before the update of \(order.component)"
                        : "the BMC to come back after the update of \(order.component)"
                )
            )
        }
    }

    private enum Move {
        case wait(String)
        case restart(String)
        case next
    }

    /// What a BMC says that restarts.
    private static let mayPass: [PowerFault.Reason] = [
        .noAnswer, .refused, .credentials, .settings, .privilege,
    ]

    private func begin(
        _ memory: inout Memory,
        _ order: FirmwareOrder,
        _ bmc: BMC,
        at now: Timestamp
    ) async throws -> Move {
        memory.before = try await version(of: order, bmc)
        do {
            memory.task = try await updates.update(from: order.url, of: bmc)
        } catch let fault as PowerFault where fault.reason == .refused {
            // It looked at the image, or at where it is, and will not take it later either.
            throw Fault(.invalid, fault.message, detail: fault.detail)
        }
        (memory.stage, memory.since) = (.asked, now)
        return .wait("the BMC to update \(order.component)")
    }

    private func version(of order: FirmwareOrder, _ bmc: BMC) async throws -> String? {
        try await versions.components(of: bmc).first { $0.name == order.component }?.version
    }

    /// The next move of the present update; notes in `memory` what it found out.
    private func goOn(
        _ memory: inout Memory,
        _ order: FirmwareOrder,
        _ bmc: BMC,
        at now: Timestamp
    ) async throws -> Move {
        switch memory.stage {
        case .ready: return try await begin(&memory, order, bmc, at: now)
        case .asked, .restarted:
            let state: FirmwareUpdateState
            if let task = memory.task {
                state = try await updates.state(ofUpdate: task, of: bmc)
            } else {
                state = .gone
            }
            return try await goOn(&memory, order, state, bmc, at: now)
        case .shows: return try await look(&memory, order, bmc, at: now)
        case .pause:
            guard now < memory.since + .seconds(order.wait) else { return .next }
            return .wait("\(order.wait) s after the update of \(order.component)")
        }
    }

    private func goOn(
        _ memory: inout Memory,
        _ order: FirmwareOrder,
        _ state: FirmwareUpdateState,
        _ bmc: BMC,
        at now: Timestamp
    ) async throws -> Move {
        switch state {
        case .running(let percent):
            let part = percent.map { ", \($0) % done" } ?? ""
            // The time counts from when it waits.
            if memory.stage == .asked { memory.since = now }
            return .wait("the BMC to update \(order.component)\(part)")
        case .waiting:
            let needsRestart = order.needsRestart && !memory.isRestarted
            guard needsRestart, now - memory.since >= Self.restartAfter else {
                return .wait("the BMC to begin with the update of \(order.component)")
            }
            return .restart("the update of \(order.component) during the restart")
        case .failed(let words):
            throw Fault(
                .invalid,
                "cannot update \(order.component): the BMC gave up: “\(words)”"
            )
        case .done: memory.isProven = true
        case .gone:
            // It tells nothing, and may be writing: a restart now could break the machine.
            guard !order.needsRestart || memory.isRestarted || now - memory.since >= Self.silentFor
            else {
                return .wait(
                    "the BMC, which tells nothing of the update of \(order.component), to end it"
                )
            }
        }
        if order.needsRestart, !memory.isRestarted {
            return .restart("the machine to start with the new \(order.component)")
        }
        (memory.stage, memory.since) = (.shows, now)
        return try await look(&memory, order, bmc, at: now)
    }

    /// Looks whether the version is another one.
    private func look(
        _ memory: inout Memory,
        _ order: FirmwareOrder,
        _ bmc: BMC,
        at now: Timestamp
    ) async throws -> Move {
        let version = try await version(of: order, bmc)
        let shown = version ?? "no version"
        if let version, version != memory.before {
            memory.lines.append(
                "\(order.component) was updated from \(memory.before ?? "an unknown version") to \(version)"
            )
        } else if now < memory.since + Self.showsWithin {
            return .wait("the BMC to show the new version of \(order.component)")
        } else if memory.isProven {
            memory.lines.append(
                "\(order.component) was updated as its BMC says, which shows \(shown) as before"
            )
        } else {
            throw Fault(
                .invalid,
                "cannot update \(order.component): its BMC took the image, tells nothing of it and shows \(shown) as before; look into its log"
            )
        }
        guard order.wait > 0 else { return .next }
        (memory.stage, memory.since) = (.pause, now)
        return .wait("\(order.wait) s after the update of \(order.component)")
    }
}

/// One image of a firmware update.
struct FirmwareOrder: Equatable {
    let component: String
    let url: String
    /// Seconds until the next one.
    let wait: Int64

    static let ordersMax = 32
    static let waitMax: Int64 = 1800

    /// Whether it takes the machine's restart; a BMC restarts by itself.
    var needsRestart: Bool { component != "bmc" }

    /// What the step is told.
    /// - Throws: `Fault` of kind `invalid`; it repeats no address, which may hold a password.
    static func list(_ argument: JSONValue?) throws -> [FirmwareOrder] {
        func wrong(_ what: String) -> Fault { Fault(.invalid, "its argument settings \(what)") }
        guard let list = argument?.elements, !list.isEmpty, list.count <= ordersMax else {
            throw wrong("must be a list of 1 to \(ordersMax) updates")
        }
        return try list.map { item in
            guard let members = item.members, let component = item["component"]?.text,
                let url = item["url"]?.text,
                Set(members.keys).isSubset(of: ["component", "url", "wait"])
            else { throw wrong("must hold objects with component, url and wait only") }
            let isAdapter = component.hasPrefix("nic:") && component.utf8.count <= 255
            guard ["bmc", "bios"].contains(component) || isAdapter else {
                throw wrong(
                    "names the component \(component.prefix(40)); it can be bmc, bios or nic:…"
                )
            }
            let wait = item["wait"]?.integer ?? 0
            guard item["wait"] == nil || (1...waitMax).contains(wait) else {
                throw wrong("must have a wait of 1 to \(waitMax) seconds")
            }
            try check(url)
            return FirmwareOrder(component: component, url: url, wait: wait)
        }
    }

    /// The BMC fetches it: HTTP or HTTPS, and no password in it, which each reader of the node would see.
    private static func check(_ url: String) throws {
        func wrong(_ what: String) -> Fault { Fault(.invalid, "its argument settings \(what)") }
        let isPlain = url.utf8.allSatisfy { (0x21...0x7e).contains($0) }
        guard url.utf8.count <= 2048, isPlain,
            let scheme = url.firstRange(of: "://").map({ url[..<$0.lowerBound].lowercased() }),
            ["http", "https"].contains(scheme)
        else { throw wrong("must have each url begin with http:// or https://") }
        let rest = url.dropFirst(scheme.count + 3)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard !authority.isEmpty, !authority.contains("@"), rest.contains("/") else {
            throw wrong("must have in each url a host and a path, without user and password")
        }
    }
}

extension FirmwareSteps.Memory {
    func progress(_ words: String) -> StepProgress {
        StepProgress(stage.rawValue, waitsFor: words, note: text, since: since)
    }

    private var text: String {
        var value: JSONValue = [
            "index": .integer(Int64(index)), "stage": .string(stage.rawValue),
            "since": .integer(since.nanoseconds), "restarted": .bool(isRestarted),
            "proven": .bool(isProven), "lines": .array(lines.map(JSONValue.string)),
        ]
        if let task { value["task"] = .string(task) }
        if let before { value["before"] = .string(before) }
        if let awaySince { value["away"] = .integer(awaySince.nanoseconds) }
        return value.canonicalText
    }

    init?(_ note: String) {
        // Written by us; should it be damaged, the update begins anew.
        guard let value = try? JSONValue(parsing: note.utf8), let index = value["index"]?.integer,
            let stage = value["stage"]?.text.flatMap(Stage.init(rawValue:)),
            let since = value["since"]?.integer
        else { return nil }
        self.init(
            index: Int(index),
            stage: stage,
            task: value["task"]?.text,
            before: value["before"]?.text,
            since: Timestamp(nanoseconds: since),
            awaySince: value["away"]?.integer.map(Timestamp.init(nanoseconds:)),
            isRestarted: value["restarted"]?.bool ?? false,
            isProven: value["proven"]?.bool ?? false,
            lines: (value["lines"]?.elements ?? []).compactMap(\.text)
        )
    }
}

extension PowerFault {
    /// The same, as one that no later try helps.
    fileprivate var final: Fault {
        Fault(.invalid, "\(message); its firmware was being updated", detail: detail)
    }
}

/// The steps of several kinds of a driver.
package struct DriverStepGroup: DriverSteps {
    private let parts: [any DriverSteps]

    init(_ parts: [any DriverSteps]) { self.parts = parts }

    package var steps: [StepDescription] { parts.flatMap(\.steps) }

    package func take(
        _ step: NodeStep,
        after progress: StepProgress?,
        of node: Node,
        at now: Timestamp
    ) async throws -> DriverStepOutcome {
        let part = parts.first { $0.steps.contains { $0.id == step.id } }
        guard let part else {
            throw Fault(.invalid, "cannot do \(step.id): the driver has no such step")
        }
        return try await part.take(step, after: progress, of: node, at: now)
    }
}

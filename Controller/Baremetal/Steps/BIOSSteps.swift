import Basics
import HTTP
import Power
package import Protocol

/// Changes the settings of a machine's firmware as a step: tells the BMC, restarts the machine, looks whether the
/// firmware took them.
///
/// ```
/// (nothing) ── told ──> restart ──> the settings are as wanted
/// ```
package struct BIOSSteps: DriverSteps {
    private let bios: any BIOSControl
    private let bmc: @Sendable (Node) throws -> BMC
    private static let told = "told the BMC"
    /// How long a firmware may take to give itself other settings than it had.
    private static let resetShowsWithin: Duration = .seconds(300)

    init(_ bios: any BIOSControl, bmc: @escaping @Sendable (Node) throws -> BMC) {
        self.bios = bios
        self.bmc = bmc
    }

    package var steps: [StepDescription] {
        [
            StepDescription(
                "bios",
                "apply_configuration",
                clean: 0,
                deploy: 0,
                isService: true,
                isAbortable: false,
                arguments: [
                    StepArgument(
                        "settings",
                        isRequired: true,
                        "A list of BIOS settings, each with name and value."
                    )
                ],
                work: .driver
            ),
            StepDescription(
                "bios",
                "factory_reset",
                clean: 0,
                deploy: 0,
                isService: true,
                isAbortable: false,
                work: .driver
            ),
        ]
    }

    package func take(
        _ step: NodeStep,
        after progress: StepProgress?,
        of node: Node,
        at now: Timestamp
    ) async throws -> DriverStepOutcome {
        let bmc = try bmc(node)
        let found = try await bios.settings(of: bmc)
        guard step.step == "apply_configuration" else {
            return try await reset(found, progress, bmc, at: now)
        }
        let wanted = try Self.wanted(step.args["settings"])
        let unseen = wanted.filter { name, value in
            !found.contains { $0.name == name && $0.value.isSame(as: value) }
        }.keys.sorted()
        // A password never shows: it is taken over when it is pending no more.
        let hidden = unseen.filter { name in found.contains { $0.name == name && $0.isHidden } }
        var open = unseen
        if progress != nil, !hidden.isEmpty {
            let pending = try await bios.pending(of: bmc)
            open.removeAll { hidden.contains($0) && pending?.contains($0) != true }
        }
        if open.isEmpty {
            return hidden.isEmpty
                ? .done
                : .doneWith([
                    "the firmware took over \(Self.list(hidden)), as far as its BMC shows"
                ])
        }
        guard let progress else {
            try await bios.apply(wanted, of: bmc)
            return .restarts(
                StepProgress(
                    Self.told,
                    waitsFor: "the firmware to take over \(Self.list(open))",
                    since: now
                )
            )
        }
        return .waits(
            StepProgress(
                progress.phase,
                waitsFor: "the firmware to take over \(Self.list(open))",
                since: progress.since
            )
        )
    }

    /// The values of the factory are not known: they show as a change, or do not because they held before.
    private func reset(
        _ found: [BIOSSetting],
        _ progress: StepProgress?,
        _ bmc: BMC,
        at now: Timestamp
    ) async throws -> DriverStepOutcome {
        let mark = Self.mark(found)
        guard let progress else {
            try await bios.reset(of: bmc)
            return .restarts(
                StepProgress(
                    Self.told,
                    waitsFor: "the firmware to take the settings of the factory",
                    note: mark,
                    since: now
                )
            )
        }
        if mark != progress.note || now >= progress.since + Self.resetShowsWithin { return .done }
        return .waits(progress)
    }

    /// What the step is told: each name once.
    /// - Throws: `Fault` of kind `invalid`.
    static func wanted(_ argument: JSONValue?) throws -> [String: JSONValue] {
        func wrong(_ what: String) -> Fault { Fault(.invalid, "its argument settings \(what)") }
        guard let list = argument?.elements, !list.isEmpty, list.count <= 1000 else {
            throw wrong("must be a list of 1 to 1000 settings")
        }
        var wanted: [String: JSONValue] = [:]
        for item in list {
            guard let name = item["name"]?.text, !name.isEmpty, let value = item["value"],
                value.members == nil, value.elements == nil, item.members?.count == 2
            else { throw wrong("must hold objects with name and value only") }
            guard wanted.updateValue(value, forKey: name) == nil else {
                throw wrong("names \(name.prefix(80)) twice")
            }
        }
        return wanted
    }

    private static func list(_ names: [String]) -> String {
        let shown = names.prefix(5).map { $0.prefix(40) }.joined(separator: ", ")
        return names.count > 5 ? "\(shown) and \(names.count - 5) more settings" : shown
    }

    /// Something that differs when the settings do.
    private static func mark(_ settings: [BIOSSetting]) -> String {
        let text = settings.map { "\($0.name)=\($0.value.plainText ?? "")" }.joined(separator: "\n")
        return String(
            text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
                ($0 ^ UInt64($1)) &* 0x100_0000_01b3
            },
            radix: 16
        )
    }
}

extension BIOSSetting {
    /// Whether its value cannot be read.
    fileprivate var isHidden: Bool { value == .null || rule?.type == "Password" }
}

extension JSONValue {
    /// Whether two values of a setting mean the same: operators write `"true"` and `"4"` as texts.
    fileprivate func isSame(as other: JSONValue) -> Bool {
        self == other || plainText.map { $0.lowercased() } == other.plainText?.lowercased()
    }
}

import AgentSystem
package import Protocol

/// Makes software RAID on the machine's disks.
///
/// It is not repeatable by itself: disks that hold partitions are refused unless the command says that they may
/// be wiped, and with them every disk that holds a member of any array.
package struct BuildRAID: StepRunner {
    private let raid: RAIDWork

    package init(raid: RAIDWork) { self.raid = raid }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let order = command.buildRaid
        return .builtRaid(
            try await raid.build(order.layout, deletes: order.deleteExisting, report)
        )
    }
}

/// Takes all software RAID away, whoever made it.
package struct DeleteRAID: StepRunner {
    private let raid: RAIDWork

    package init(raid: RAIDWork) { self.raid = raid }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let wiped = try await raid.takeAway(report)
        report.log(
            wiped.isEmpty
                ? ["no disk held a member of an array"]
                : wiped.map { "\($0) held RAID and is wiped" }
        )
        return .builtRaid(WireBuiltRAID())
    }
}

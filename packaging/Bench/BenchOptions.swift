/// What one call of the bench is to do.
package struct BenchOptions: Sendable {
    /// The parts that can be run alone, in their order.
    package enum Section: String, Sendable, CaseIterable {
        /// Memory, creation, lists and single nodes.
        case api
        /// From enroll to active on machines without hardware.
        case deploy
        /// A live BMC beside dead ones.
        case bmc
        /// Simulated agents: enrolment, heartbeats, memory.
        case agents
        /// The real agent: memory, facts; the ramdisk.
        case agent
        /// Writing an image.
        case image
    }

    /// At least one.
    package var runs = 5
    package var sections = Section.allCases
    /// Whether Ironic is measured in the same call.
    package var peers = false
    /// Where temporary files go: needs 8 GB for the section `image`.
    package var directory = "/tmp"
    /// The work tree, for scripts and earlier results.
    package var repository: String

    package init(repository: String) { self.repository = repository }
}

package import ArgumentParser

/// `rdo`, the operator's command line.
///
/// It speaks only the controller's public REST APIs; `undercloud install`, `lab` and `image build` also
/// act on the host they run on.
package struct Rdo: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "rdo",
        abstract: "Builds an OpenStack cloud on bare machines.",
        discussion: "One machine at a time is the business of the “openstack” command line.",
        subcommands: [
            UndercloudCommand.self, ImageCommand.self, NodeCommand.self, OvercloudCommand.self,
            EventsCommand.self, AgentCommand.self, StreamCommand.self, ReaderCommand.self,
            LabCommand.self,
        ]
    )

    package init() {}
}

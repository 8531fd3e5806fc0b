import ArgumentParser
import Basics
import HostTools
import ImageBuilder
import RamdiskBuilder

/// Makes images on the operator's host and uploads them (`rdo image`).
///
/// Everything else about the cloud's images is the business of the `openstack` client.
struct ImageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image",
        abstract: "Build images on this host, and upload them.",
        subcommands: [Build.self, ImageUploadCommand.self]
    )

    /// `rdo image build`.
    struct Build: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Build the whole-disk image that overcloud nodes run."
        )

        @Option(help: "The qcow2 file to make; a description is written beside it (.json).")
        var output: String

        @Option(help: "The agent's executable. Default: rdo-agent beside this program.")
        var agent: String?

        @Option(help: "Directory that keeps packages and finished parts between runs.")
        var cache: String = "/var/cache/rdo/image"

        @Option(help: "Directory with the image elements. Default: found beside this program.")
        var elements: String?

        @Option(help: "Machines to drive: virtio (virtual) or server.")
        var drivers: String = DriverSet.virtio.rawValue

        @Flag(help: "Fetch packages anew even when nothing else has changed.")
        var refresh = false

        func run() async throws {
            guard let drivers = DriverSet(rawValue: drivers) else {
                throw ValidationError("cannot use drivers \"\(drivers)\": choose virtio or server")
            }
            let own = HostFile.resolved("/proc/self/exe") ?? ""
            let recipe = ImageRecipe(
                agent: agent ?? ImageLocations.agent(beside: own),
                output: output,
                cache: cache,
                elements: try elements ?? ImageLocations.elements(beside: own),
                drivers: drivers,
                refresh: refresh
            )
            let report = try await ImageBuild(recipe, time: SystemTime()) {
                Console.progress.line($0)
            }.run()
            let size = "\(report.fileBytes / 1_000_000) MB"
            Console.output.line(
                "\(report.path): \(size)" + (report.cached ? ", from the cache" : "")
            )
        }
    }
}

import ArgumentParser
import Basics
import Glibc
import RamdiskBuilder

/// `rdo-ramdisk`: makes the kernel and initramfs that bare machines boot over the network.
@main
struct RamdiskCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rdo-ramdisk",
        abstract: "Builds the ramdisk that bare machines boot over the network.",
        subcommands: [Build.self]
    )

    /// `rdo-ramdisk build`.
    struct Build: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Makes the files kernel, initrd and media.iso from the distribution's kernel package."
        )

        @Option(help: "Directory that gets kernel, initrd and media.iso.")
        var output: String

        @Option(help: "Kernel version as `uname -r` prints it. Default: the newest that apt knows.")
        var kernel: String?

        @Option(help: "Machines to drive: virtio (virtual) or server.")
        var drivers: DriverSet = .virtio

        @Option(help: "The agent's executable. Default: rdo-agent beside this program.")
        var agent: String?

        @Option(help: "Directory for packages and compressed parts.")
        var cache: String = "/var/cache/rdo/ramdisk"

        func run() async throws {
            let recipe = RamdiskRecipe(
                drivers: drivers,
                kernelVersion: kernel,
                agent: try agent ?? agentBesideUs(),
                output: output,
                cache: cache,
                modified: try modified()
            )
            do {
                let report = try await RamdiskBuild(recipe, time: SystemTime()).run()
                Console.say(report.table)
            } catch let fault as Fault {
                Console.complain(fault.report)
                throw ExitCode.failure
            }
        }

        private func agentBesideUs() throws -> String {
            guard let own = HostFile.resolved("/proc/self/exe") else {
                throw ValidationError("cannot find the agent: name it by --agent")
            }
            return own.split(separator: "/").dropLast().map { "/\($0)" }.joined() + "/rdo-agent"
        }

        private func modified() throws -> UInt32 {
            guard let text = getenv("SOURCE_DATE_EPOCH").map({ String(cString: $0) }) else {
                return 0
            }
            guard let seconds = UInt32(text) else {
                throw ValidationError(
                    "cannot use SOURCE_DATE_EPOCH=\(text): it is no number of seconds since 1970"
                )
            }
            return seconds
        }
    }
}

extension DriverSet: ExpressibleByArgument {}

/// The only place of this program that prints.
enum Console {
    static func say(_ text: String) { put(text, STDOUT_FILENO) }

    static func complain(_ text: String) { put(text, STDERR_FILENO) }

    private static func put(_ text: String, _ file: Int32) {
        var left = Array((text + "\n").utf8)[...]
        while !left.isEmpty {
            let count = left.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            left = left.dropFirst(count)
        }
    }
}

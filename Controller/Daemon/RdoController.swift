package import ArgumentParser
import Basics
import FoundationEssentials
import Glibc
import HostTools

/// `rdo-controller`: the undercloud in one process.
package struct RdoController: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "rdo-controller",
        abstract:
            "The undercloud in one process: bare metal, images, identity, deployments, telemetry.",
        discussion: "It serves until it gets SIGTERM or SIGINT and logs to standard error."
    )

    @Option(name: .long, help: "The configuration file.")
    var config = "/etc/rdo/controller.yaml"

    @Option(name: .long, help: "A value that counts before environment and file: KEY=VALUE.")
    var set: [String] = []

    @Flag(name: .long, help: "Print every key with its comment and default, and exit.")
    var printSampleConfiguration = false

    @Flag(name: .long, help: "Check the configuration and exit.")
    var check = false

    @Flag(name: .long, help: "Make missing keys and the DHCP configuration, and exit.")
    var prepare = false

    @Flag(name: .long, help: "With --prepare: take a new admin password from standard input.")
    var adminPasswordFromInput = false

    package init() {}

    package func run() async throws {
        if printSampleConfiguration {
            Console.write(SampleConfiguration.text)
            return
        }
        let file = readText(config)
        if file == nil, access(config, F_OK) == 0 || config != "/etc/rdo/controller.yaml" {
            throw Fault(
                .unavailable,
                "cannot read \(config): there is no such file, or this user may not read it"
            )
        }
        let configuration = try ControllerConfiguration(
            ConfigurationSources(
                flags: set,
                environment: ProcessInfo.processInfo.environment,
                file: file,
                path: config
            )
        )
        if prepare {
            let password = adminPasswordFromInput ? try Self.readPassword() : nil
            let made = try Preparation(configuration: configuration, random: SystemRandom())
                .run(adminPassword: password)
            for line in made { Console.write(line + "\n") }
            return
        }
        if check {
            Console.write("\(config) is valid\n")
            return
        }
        try await Controller.run(configuration)
    }

    private static func readPassword() throws -> Secret {
        guard let line = readLine(strippingNewline: true), !line.isEmpty else {
            throw Fault(.invalid, "cannot take the admin password: standard input is empty")
        }
        return Secret(line)
    }
}

/// Standard output, for the few things this program prints.
enum Console {
    static func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes {
                Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count)
            }
            guard written > 0 else { return }
            bytes = bytes.dropFirst(written)
        }
    }
}

import ArgumentParser
import Basics
import Glibc
import Lab

/// `rdo lab …`: a virtual data centre on this host.
struct LabCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lab",
        abstract: "Run a virtual data centre: machines with firmware, disks and BMCs.",
        discussion:
            "It lives in network namespaces of its own (192.0.2.0/24) and needs root. The machines are off until their BMCs power them on.",
        subcommands: [
            LabUpCommand.self, LabDownCommand.self, LabStatusCommand.self, LabConsoleCommand.self,
            LabPowerCutCommand.self, LabChassisCommand.self,
        ]
    )
}

/// Which lab is meant; the operator has one, tests have others.
struct LabOptions: ParsableArguments {
    @Option(help: .hidden) var lab = "rdo"

    func validate() throws {
        let allowed = lab.utf8.allSatisfy {
            ($0 >= 0x61 && $0 <= 0x7a) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2d
        }
        guard (1...20).contains(lab.utf8.count), allowed, lab.first != "-" else {
            throw ValidationError("A lab's name is made of lower-case letters, digits and hyphens.")
        }
    }

    func open() -> Lab {
        Lab(places: LabPlaces(name: lab), time: SystemTime(), random: SystemRandom())
    }
}

struct LabUpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Bring the lab up; harmless when it is up already."
    )

    @Option(help: "How many machines, 1 to 50.") var nodes = 3
    @Flag(help: "Give the machines BIOS firmware; with --uefi too, or neither, every other one.")
    var bios = false
    @Flag(help: "Give the machines UEFI firmware.") var uefi = false
    @Option(help: "Guest memory in MiB, from 256.") var memory = 1024
    @Option(help: "Disk size in GiB, from 1; only what is written takes space.") var disk = 10
    @Option(
        name: .customLong("trial-kernel"),
        help: "Use KVM if this kernel boots under it within 10 s; otherwise software emulation."
    )
    var trialKernel: String?
    @OptionGroup var options: LabOptions

    func validate() throws {
        guard (1...LabPlan.machinesMax).contains(nodes) else {
            throw ValidationError("--nodes takes 1 to \(LabPlan.machinesMax).")
        }
        guard (256...1 << 20).contains(memory) else {
            throw ValidationError("--memory takes 256 MiB or more.")
        }
        guard (1...1 << 16).contains(disk) else {
            throw ValidationError("--disk takes 1 GiB or more.")
        }
    }

    func run() async throws {
        let lab = options.open()
        let firmware: [Firmware] = bios == uefi ? [.bios, .uefi] : bios ? [.bios] : [.uefi]
        var plan = LabPlan(
            count: nodes,
            firmware: firmware,
            memoryMebibytes: memory,
            diskGibibytes: disk
        )
        try Prerequisites.check(plan)
        if let present = try lab.plan() {
            // The trial was made when the lab was brought up.
            plan.accelerator = present.accelerator
        } else if let trialKernel {
            plan.accelerator = try await AcceleratorTrial(time: SystemTime()).run(
                kernel: trialKernel
            )
        }
        try await lab.up(
            plan,
            hook: [try ownPath(), "lab", "chassis", "--lab", options.lab]
        )
        guard let status = try lab.status() else { return }
        let how = status.accelerator == .kvm ? "KVM" : "software emulation"
        Console.output.line(status.table)
        Console.output.line("The lab is up (\(how)); its nodes are in \(status.nodeFile).")
    }

    private func ownPath() throws -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else {
            throw Fault(.internalError, "cannot find the path of this program in /proc/self/exe")
        }
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

struct LabDownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "down",
        abstract: "Remove every process, namespace and file of the lab."
    )

    @Flag(help: "End processes in the undercloud's namespace too.") var force = false
    @OptionGroup var options: LabOptions

    func run() async throws {
        guard geteuid() == 0 else {
            throw Fault(.forbidden, "cannot take the lab down: run it as root")
        }
        try await options.open().down(force: force)
        Console.output.line("The lab is down.")
    }
}

struct LabStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the machines' power, firmware, next boot device and disk use."
    )

    @Flag(help: "Print JSON.") var json = false
    @OptionGroup var options: LabOptions

    func run() async throws {
        guard let status = try options.open().status() else {
            if json {
                Console.output.line("null")
            } else {
                Console.output.line("The lab is down.")
            }
            return
        }
        Console.output.line(json ? try status.json : status.table)
    }
}

struct LabConsoleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "console",
        abstract: "Show a machine's serial line; at a terminal, type into it.",
        discussion: "Ctrl-] ends a session at a terminal. Otherwise the log is printed."
    )

    @Argument(help: "The machine, for example c0.") var name: String
    @Flag(help: "Only print the log.") var log = false
    @Flag(help: "Print the log and what comes, until interrupted.") var follow = false
    @OptionGroup var options: LabOptions

    func run() async throws {
        let control = try options.open().control(of: name)
        let console = SerialConsole(places: control.places, time: SystemTime())
        guard isatty(STDIN_FILENO) == 1, isatty(STDOUT_FILENO) == 1, !log, !follow else {
            return try await console.showLog(follow: follow, to: STDOUT_FILENO)
        }
        guard control.running != nil else {
            throw Fault(
                .unavailable,
                "cannot connect to \(name): it is off; show its log with “rdo lab console \(name) --log”"
            )
        }
        Console.progress.line("Connected to \(name); Ctrl-] ends the session.")
        try await console.attach(input: STDIN_FILENO, output: STDOUT_FILENO)
        Console.progress.line("")
    }
}

struct LabPowerCutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "power-cut",
        abstract: "Take a machine's power away at once, in the middle of whatever it does."
    )

    @Argument(help: "The machine, for example c0.") var name: String
    @OptionGroup var options: LabOptions

    func run() async throws {
        let wasOn = try await options.open().control(of: name).cut()
        Console.output.line(wasOn ? "\(name) lost its power." : "\(name) was off.")
    }
}

/// What a BMC runs; see `ChassisHook`.
struct LabChassisCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chassis",
        abstract: "Answer a BMC's question about its machine.",
        shouldDisplay: false
    )

    @OptionGroup var options: LabOptions
    @Argument var name: String
    @Argument var words: [String]

    func run() async throws {
        guard let request = ChassisHook.Request(words) else {
            throw Fault(
                .notSupported,
                "cannot answer the BMC of \(name): “\(words.joined(separator: " "))” is not known"
            )
        }
        let hook = ChassisHook(try options.open().control(of: name))
        if let line = try await hook.answer(request) { Console.output.line(line) }
    }
}

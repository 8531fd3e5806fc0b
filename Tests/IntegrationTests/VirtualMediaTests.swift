import Basics
import FoundationEssentials
import Glibc
import Harness
import HostTools
import Testing

/// Machines that have no DHCP server, started through their BMCs: a real controller, sushy-tools' Redfish emulator
/// over Debian's libvirt, real firmware, the real ramdisk.
@Suite(
    .serialized,
    .enabled(if: RunningCloud.isUp, "needs the ramdisk that packaging/check builds for the lab")
)
struct VirtualMediaTests {
    /// Where `rdo-ramdisk` wrote; `TEST_RAMDISK` names another place.
    static let ramdisk =
        getenv("TEST_RAMDISK").map { String(cString: $0) }
        ?? RunningCloud.root + "/.build/quickstart/ramdisk"

    @Test
    func
        `machines with UEFI and BIOS without DHCP start from our CD, are inspected, cleaned and deployed`()
        async throws
    {
        let machines = try await VirtualMachines()
        do {
            try await run(machines)
        } catch {
            Issue.record("\(error); libvirt: \((readText(machines.log) ?? "").suffix(2000))")
        }
        try await machines.end()
    }

    private func run(_ machines: VirtualMachines) async throws {
        let gateway = VirtualMachines.gateway
        let controller = try await RunningController(
            settings: [
                "boot.address": gateway, "api.address": gateway, "agents.trust_first_boot": "true",
            ],
            addresses: [gateway]
        )
        let served = controller.folder.path + "/state/http/ramdisk/media.iso"
        try #require(symlink(Self.ramdisk + "/media.iso", served) == 0)
        try await controller.start()
        try await machines.start()
        let api = try await ControllerAPI(controller)
        for machine in VirtualMachines.all {
            try await Self.register(machine, at: machines, api)
            try await api.provision(machine.name, "manage")
        }
        for machine in VirtualMachines.all {
            try await api.wait(machine.name, for: "manageable", within: .seconds(60))
        }
        try await updateFirmware(of: VirtualMachines.all[0], api)
        for machine in VirtualMachines.all { try await api.provision(machine.name, "inspect") }
        let image = try await insertedImage(of: VirtualMachines.all[0], at: machines)
        for machine in VirtualMachines.all {
            do {
                try await api.wait(machine.name, for: "manageable", within: .seconds(150))
            } catch {
                let words = machines.console(of: machine).suffix(1500)
                throw Fault(.internalError, "\(machine.name): \(error); its console: \(words)")
            }
            let boot = try await api.member("/v1/nodes/\(machine.name)/inventory", "inventory.boot")
            #expect(boot.contains(machine.isUEFI ? "uefi" : "bios"), "\(boot)")
            let console = machines.console(of: machine)
            #expect(console.contains("address set address=\(machine.address)"))
            #expect(!console.contains("asking for an address"))
            // Nothing of ours is in the drive any more.
            try await eventually("the ejection", within: .seconds(20)) {
                try await media(of: machine, at: machines).contains("\"Inserted\": false")
            }
        }
        try await checkSecrets(controller, image)
        try await deploy(machines, api)
        try await deployPartitions(machines, api)
        try await serve(machines, api)
        #expect(try await controller.stop())
    }

    /// The emulator raises the version of its BIOS by one with each update; it fetches no image.
    private func updateFirmware(
        of machine: VirtualMachines.Machine,
        _ api: ControllerAPI
    ) async throws {
        let path = "/v1/nodes/\(machine.name)"
        let before = try await api.call("GET", path + "/firmware")
        let step = """
            {"interface": "firmware", "step": "update", "args": {"settings": [
               {"component": "bios", "url": "http://198.51.100.1/bios.bin"}]}}
            """
        _ = try await api.call(
            "PUT",
            path + "/states/provision",
            #"{"target": "clean", "disable_ramdisk": true, "clean_steps": [\#(step)]}"#
        )
        try await api.wait(machine.name, for: "manageable", within: .seconds(120))
        let after = try await api.call("GET", path + "/firmware")
        #expect(after != before)
        let history = try await api.call("GET", path + "/history?detail=true")
        #expect(history.contains("bios was updated from "), "\(history.suffix(2000))")
    }

    /// Cleans and deploys the machines, whose ramdisk still runs.
    private func deploy(_ machines: VirtualMachines, _ api: ControllerAPI) async throws {
        let image = try await makeImage(in: machines.folder.path)
        let id = try await api.upload(image, named: "media")
        for machine in VirtualMachines.all { try await api.provision(machine.name, "provide") }
        for machine in VirtualMachines.all {
            try await api.wait(machine.name, for: "available", within: .seconds(120))
            let patch = """
                [{"op": "add", "path": "/instance_info/image_source", "value": "\(id)"}]
                """
            _ = try await api.call("PATCH", "/v1/nodes/\(machine.name)", patch)
            try await api.provision(machine.name, "active")
        }
        for machine in VirtualMachines.all {
            try await api.wait(machine.name, for: "active", within: .seconds(180))
            try await Tool.require(
                "cmp",
                [
                    "--ignore-initial=\(1 << 20)", "--bytes=\(16 << 20)", image,
                    "\(machines.folder.path)/\(machine.name).raw",
                ],
                budget: .seconds(60),
                time: SystemTime()
            )
            // One start of the ramdisk for all of it.
            let starts = machines.console(of: machine).split(separator: " is process 1").count - 1
            #expect(starts == 1, "\(machine.name)")
        }
    }

    /// Rebuilds the machines with images of root partitions, each file system with each firmware, and each kind
    /// of table with BIOS; each system must start.
    private func deployPartitions(_ machines: VirtualMachines, _ api: ControllerAPI) async throws {
        let kernel = Self.ramdisk + "/kernel"
        for (format, label) in [(PartitionImage.Format.xfs, "msdos"), (.ext4, "gpt")] {
            let marker = "\(format.rawValue)-root"
            let image = PartitionImage(marker, kernel: kernel, in: machines.folder.path)
            let id = try await api.upload(try await image.make(format), named: marker)
            for machine in VirtualMachines.all {
                let wish = machine.isUEFI ? ("uefi", "gpt") : ("bios", label)
                let patch = """
                    [{"op": "add", "path": "/instance_info", "value": {
                       "image_source": "\(id)", "image_type": "partition", "root_gb": 1,
                       "swap_mb": 64, "capabilities": {"disk_label": "\(wish.1)"}}},
                     {"op": "add", "path": "/properties/capabilities",
                      "value": "boot_mode:\(wish.0)"}]
                    """
                _ = try await api.call("PATCH", "/v1/nodes/\(machine.name)", patch)
                try await api.provision(machine.name, "rebuild")
            }
            for machine in VirtualMachines.all {
                do {
                    try await api.wait(machine.name, for: "active", within: .seconds(240))
                    try await eventually("\(marker) on \(machine.name)", within: .seconds(60)) {
                        machines.console(of: machine).contains(PartitionImage.mark(of: marker))
                    }
                } catch {
                    let words = machines.console(of: machine).suffix(1500)
                    throw Fault(.internalError, "\(machine.name): \(error); console: \(words)")
                }
                let disk = "\(machines.folder.path)/\(machine.name).raw"
                let table = try await RunningCloud.output("sfdisk", ["--dump", disk])
                let kind = machine.isUEFI || label == "gpt" ? "label: gpt" : "label: dos"
                #expect(table.contains(kind), "\(table)")
            }
        }
    }

    /// Tests the machines' memory in the ramdisk; the installed systems run again afterwards, from the same disks.
    private func serve(_ machines: VirtualMachines, _ api: ControllerAPI) async throws {
        let mark = PartitionImage.mark(of: "ext4-root")
        func starts(_ machine: VirtualMachines.Machine) -> Int {
            machines.console(of: machine).components(separatedBy: mark).count - 1
        }
        let before = VirtualMachines.all.map(starts)
        for machine in VirtualMachines.all {
            let patch = """
                [{"op": "add", "path": "/driver_info/agent_burnin_memory_timeout", "value": 5}]
                """
            _ = try await api.call("PATCH", "/v1/nodes/\(machine.name)", patch)
            let body = """
                {"target": "service", "service_steps":
                  [{"interface": "deploy", "step": "burnin_memory", "args": {}}]}
                """
            _ = try await api.call(
                "PUT",
                "/v1/nodes/\(machine.name)/states/provision",
                body
            )
        }
        for (machine, count) in zip(VirtualMachines.all, before) {
            try await api.wait(machine.name, for: "active", within: .seconds(240))
            let lines = try await api.member(
                "/v1/nodes/\(machine.name)",
                "driver_internal_info.rdo_last_lines"
            )
            #expect(lines.contains("of memory were tested for 5 s"), "\(lines)")
            try await eventually("\(machine.name) to start again", within: .seconds(60)) {
                starts(machine) == count + 1
            }
        }
    }

    /// A disk with a partition full of random bytes.
    private func makeImage(in folder: String) async throws -> String {
        let path = folder + "/image.raw"
        for (program, arguments) in [
            ("truncate", ["--size=18M", path]),
            ("sgdisk", ["--clear", "--new=1:2048:\((17 << 20) / 512 - 1)", path]),
            (
                "dd",
                ["if=/dev/urandom", "of=" + path, "bs=1M", "seek=1", "count=16", "conv=notrunc"]
            ),
        ] {
            try await Tool.require(program, arguments, budget: .seconds(60), time: SystemTime())
        }
        return path
    }

    static func register(
        _ machine: VirtualMachines.Machine,
        at machines: VirtualMachines,
        _ api: ControllerAPI,
        more: String = ""
    ) async throws {
        let route = """
            {"network": "198.51.100.0", "netmask": "255.255.255.0", "gateway": "\(machine.router)"}
            """
        let body = """
            {"name": "\(machine.name)", "driver": "redfish", "boot_interface": "redfish-virtual-media"\(more),
             "driver_info": {"redfish_address": "\(machines.url)",
               "redfish_system_id": "/redfish/v1/Systems/\(machine.uuid)",
               "redfish_username": "\(RedfishEmulator.user)",
               "redfish_password": "\(RedfishEmulator.password)"},
             "network_data": {
               "links": [{"id": "nic", "type": "phy", "ethernet_mac_address": "\(machine.mac)"}],
               "networks": [{"id": "n", "type": "ipv4", "link": "nic", "network_id": "n",
                 "ip_address": "\(machine.address)", "netmask": "255.255.255.0",
                 "routes": [\(machine.router.isEmpty ? "" : route)]}],
               "services": []}}
            """
        _ = try await api.call("POST", "/v1/nodes", body)
    }

    private func media(
        of machine: VirtualMachines.Machine,
        at machines: VirtualMachines
    ) async throws -> String {
        try await Tool.require(
            "curl",
            [
                "--silent", "--show-error", "--user",
                "\(RedfishEmulator.user):\(RedfishEmulator.password)",
                "\(machines.url)/redfish/v1/Systems/\(machine.uuid)/VirtualMedia/Cd",
            ],
            budget: .seconds(20),
            time: SystemTime()
        ).output
    }

    /// The address of the image that the BMC shows, while it shows one.
    private func insertedImage(
        of machine: VirtualMachines.Machine,
        at machines: VirtualMachines
    ) async throws -> String {
        var found = ""
        try await eventually("the image in the drive", within: .seconds(60)) {
            let text = try await media(of: machine, at: machines)
            guard let begin = text.firstRange(of: "http://\(VirtualMachines.gateway):") else {
                return false
            }
            found = String(text[begin.lowerBound...].prefix { $0 != "\"" })
            return true
        }
        #expect(found.hasSuffix("/ramdisk.iso"))
        return found
    }

    /// The image's address counts as a secret; after the boot it opens nothing.
    private func checkSecrets(_ controller: RunningController, _ image: String) async throws {
        let capability = try #require(image.split(separator: "/").dropLast().last)
        let log = try #require(readText(controller.log))
        #expect(log.contains("/boot/media/***/ramdisk.iso"))
        #expect(!log.contains(capability))
        let late = try await Tool.run(
            "curl",
            ["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", image],
            budget: .seconds(20),
            time: SystemTime()
        )
        #expect(late.output == "404")
    }
}

/// The API of a controller of the tests'.
struct ControllerAPI {
    private let controller: RunningController
    private let token: String

    init(_ controller: RunningController) async throws {
        self.controller = controller
        let body = """
            {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin",
              "domain": {"id": "default"}, "password": "\(controller.password.reveal())"}}},
              "scope": {"system": {"all": true}}}}
            """
        let result = try await Tool.require(
            "curl",
            [
                "--silent", "--show-error", "--cacert", controller.authority, "--dump-header", "-",
                "--output", "/dev/null", "--json", "@-",
                "\(controller.url)/identity/v3/auth/tokens",
            ],
            input: Array(body.utf8),
            budget: .seconds(30),
            time: SystemTime()
        )
        let line = result.output.split(whereSeparator: \.isNewline)
            .first { $0.lowercased().hasPrefix("x-subject-token:") }
        guard let line else {
            throw Fault(.unauthenticated, "cannot sign in: \(result.output.prefix(400))")
        }
        token = line.drop { $0 != ":" }.dropFirst().filter { !$0.isWhitespace }
    }

    /// A call that must succeed; its body.
    func call(
        _ method: String,
        _ path: String,
        _ body: String? = nil,
        options more: [String] = []
    ) async throws -> String {
        let folder = try TemporaryFolder()
        var options = [
            "--silent", "--show-error", "--fail-with-body", "--cacert", controller.authority,
            "--header", "@-", "--header", "X-OpenStack-Ironic-API-Version: 1.90", "--request",
            method,
        ]
        if let body {
            try writeText(body, to: folder.path + "/body", mode: 0o600)
            options += ["--json", "@\(folder.path)/body"]
        }
        let result = try await Tool.run(
            "curl",
            options + more + [controller.url + path],
            // The token is a secret: curl reads it from its input, not from its arguments.
            input: Array("X-Auth-Token: \(token)\n".utf8),
            budget: .seconds(30),
            time: SystemTime()
        )
        guard result.exitCode == 0 else {
            throw Fault(.internalError, "cannot \(method) \(path): \(result.output.prefix(600))")
        }
        return result.output
    }

    /// Makes an image of a file; its identifier.
    func upload(_ path: String, named name: String) async throws -> String {
        let body = """
            {"name": "\(name)", "disk_format": "raw", "container_format": "bare"}
            """
        let text = try await call("POST", "/image/v2/images", body)
        let value = try JSONDecoder().decode(Anything.self, from: Data(text.utf8))
        guard case .object(let members) = value, case .text(let id)? = members["id"] else {
            throw Fault(.internalError, "cannot make an image: \(text.prefix(400))")
        }
        _ = try await call(
            "PUT",
            "/image/v2/images/\(id)/file",
            options: [
                "--header", "Content-Type: application/octet-stream", "--data-binary", "@\(path)",
            ]
        )
        return id
    }

    func provision(_ node: String, _ target: String) async throws {
        _ = try await call(
            "PUT",
            "/v1/nodes/\(node)/states/provision",
            #"{"target": "\#(target)"}"#
        )
    }

    /// Asks for a manual cleaning with these steps, `interface.step` each.
    func clean(_ node: String, _ steps: [String]) async throws {
        let list = steps.map { step in
            let parts = step.split(separator: ".")
            return #"{"interface": "\#(parts[0])", "step": "\#(parts[1])"}"#
        }
        _ = try await call(
            "PUT",
            "/v1/nodes/\(node)/states/provision",
            #"{"target": "clean", "clean_steps": [\#(list.joined(separator: ", "))]}"#
        )
    }

    /// The text of a member of an answer, by a path with dots.
    func member(_ path: String, _ member: String) async throws -> String {
        var value = try JSONDecoder().decode(
            Anything.self,
            from: Data(try await call("GET", path).utf8)
        )
        for name in member.split(separator: ".") {
            guard case .object(let members) = value, let next = members[String(name)] else {
                return ""
            }
            value = next
        }
        return "\(value)"
    }

    /// Asks twice a second until the node has the state and nothing more is to come.
    func wait(_ node: String, for state: String, within limit: Duration) async throws {
        let time = SystemTime()
        let deadline = time.elapsed + limit
        var last = ""
        while time.elapsed < deadline {
            last = try await member("/v1/nodes/\(node)", "provision_state")
            if last == "text(\"\(state)\")" { return }
            if last.contains("failed") || last == "text(\"enroll\")" && state != "enroll" {
                let error = try await member("/v1/nodes/\(node)", "last_error")
                guard error == "null" else {
                    throw Fault(
                        .internalError,
                        "cannot bring \(node) to \(state): \(last) \(error)"
                    )
                }
            }
            try await time.sleep(for: .milliseconds(500))
        }
        throw TimeBudgetExceeded(
            subject: "\(node), which is \(last), to be \(state)",
            budget: limit
        )
    }
}

/// JSON of any shape.
private enum Anything: Decodable {
    case object([String: Anything])
    case list([Anything])
    case text(String)
    case number(Double)
    case truth(Bool)
    case null

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let members = try? value.decode([String: Anything].self) {
            self = .object(members)
        } else if let list = try? value.decode([Anything].self) {
            self = .list(list)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let truth = try? value.decode(Bool.self) {
            self = .truth(truth)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else {
            self = .null
        }
    }
}

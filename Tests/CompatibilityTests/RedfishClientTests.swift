import Basics
import Harness
import HostTools
import Testing

/// The commands of `openstack baremetal` that go through Redfish, from the pinned client through a running
/// controller to sushy-tools' emulator.
@Suite struct RedfishClientTests {
    private static func steps(_ port: UInt16) -> [ClientStep] {
        let info = [
            "redfish_address=http://127.0.0.1:\(port)",
            "redfish_system_id=\(RedfishEmulator.system)",
            "redfish_username=\(RedfishEmulator.user)",
            "redfish_password=\(RedfishEmulator.password.replacing(" ", with: "~"))",
        ].map { "--driver-info \($0)" }.joined(separator: " ")
        return [
            .works("driver list", ["name": "redfish"]),
            .works("driver list", ["name": "manual-management"]),
            .works(
                "driver show redfish",
                [
                    "name": "redfish", "default_bios_interface": "redfish",
                    "default_power_interface": "redfish",
                ]
            ),
            .works("driver property list redfish", ["property": "redfish_address"]),
            .works("node create --driver redfish --name r1 \(info)"),
            .works("node manage r1"),
            .reaches(
                "node show r1",
                ["provision_state": "manageable", "power_state": "power off"]
            ),
            .reaches("node show r1", ["boot_mode": "uefi", "secure_boot": "false"]),
            .works("node validate r1", ["Interface": "power", "Result": "true"]),
            .works("node power on r1"),
            .reaches("node show r1", ["power_state": "power on"]),
            .works("node reboot r1"),
            .reaches("node show r1", ["power_state": "power on", "target_power_state": ""]),
            .works("node power off --soft r1"),
            .reaches("node show r1", ["power_state": "power off"]),
            .works("node boot device show --supported r1"),
            .works("node boot device set r1 cdrom --persistent"),
            .works("node boot device show r1", ["boot_device": "cdrom", "persistent": "true"]),
            .refused("node boot device set r1 safe", "driver redfish knows pxe, disk, cdrom, bios"),
            .works("node boot mode set r1 bios"),
            .works("node show r1", ["boot_mode": "bios"]),
            .refused("node secure boot on r1", "takes the boot mode uefi"),
            .works("node boot mode set r1 uefi"),
            .works("node secure boot on r1"),
            .works("node show r1", ["boot_mode": "uefi", "secure_boot": "true"]),
            .works("node secure boot off r1"),
            .works("node show r1", ["secure_boot": "false"]),
            // The emulator's memory machines have none.
            .refused("node inject nmi r1", "Power state Nmi is not supported"),
            .reaches("node firmware list r1", ["component": "bmc", "current_version": "1.00"]),
            .showsNothing("node bios setting list r1"),
            .refused("node bios setting show r1 order", "cannot find BIOS setting order"),
            .works("node set r1 --driver-info redfish_password=wrong"),
            .refused("node boot device show r1", "refused the user name or password"),
            .works("node delete r1"),
        ]
    }

    @Test func `power, boot and firmware commands do their work at a Redfish emulator`()
        async throws
    {
        let emulator = try await RedfishEmulator()
        let controller = try await RunningController()
        try await controller.start()
        let client = BaremetalClientTests()
        let steps = Self.steps(emulator.port)
        let report = try await client.run(
            steps.map {
                BaremetalClientTests.Order(
                    arguments: $0.arguments,
                    until: $0.waits ? $0.row : [:]
                )
            },
            on: controller
        )
        #expect(report.outcomes.count == steps.count)
        for (step, outcome) in zip(steps, report.outcomes) { client.check(step, outcome) }
        let log = readText(controller.log) ?? ""
        #expect(!log.contains(RedfishEmulator.password))
        #expect(try await controller.stop())
        try await emulator.kill()
    }

    @Test func `lamps, sensors and virtual media go through the API to the emulator`() async throws
    {
        let emulator = try await RedfishEmulator()
        let controller = try await RunningController()
        try await controller.start()
        let files = try await ImageServer()
        let client = OpenStackClient(controller: controller)
        try await client.require(
            "baremetal",
            "node",
            "create",
            "--driver",
            "redfish",
            "--name",
            "r1",
            "--driver-info",
            "redfish_address=http://127.0.0.1:\(emulator.port)",
            "--driver-info",
            "redfish_system_id=\(RedfishEmulator.system)",
            "--driver-info",
            "redfish_username=\(RedfishEmulator.user)",
            "--driver-info",
            "redfish_password=\(RedfishEmulator.password)"
        )
        let token = try await client.run(["token", "issue", "-f", "value", "-c", "id"])
        func ask(_ method: String, _ path: String, _ body: String? = nil) async throws -> String {
            var options = [
                "--request", method, "--write-out", " %{http_code}",
                "--header", "X-Auth-Token: \(token.output.filter { !$0.isWhitespace })",
                "--header", "X-OpenStack-Ironic-API-Version: 1.115",
            ]
            if let body {
                options += ["--header", "Content-Type: application/json", "--data", body]
            }
            return try await controller.curl(options, "/v1/nodes/r1" + path).output
        }
        let media = #"{"device_type":"cdrom","image_url":"\#(files.address)"}"#
        let attached = try await ask("POST", "/vmedia", media)
        #expect(attached == " 204", "\(attached)")
        let shown = try await ask("GET", "/vmedia")
        #expect(shown.contains(#""inserted":true"#) && shown.contains(files.address), "\(shown)")
        let detached = try await ask("DELETE", "/vmedia?device_types=cdrom")
        #expect(detached == " 204", "\(detached)")
        let empty = try await ask("GET", "/vmedia")
        #expect(!empty.contains(#""inserted":true"#), "\(empty)")
        let lamp = "\(RedfishEmulator.machine)@system"
        let lamps = try await ask("GET", "/management/indicators")
        #expect(lamps.contains(lamp), "\(lamps)")
        let path = "/management/indicators/\(lamp)"
        let set = try await ask("PUT", path, #"{"state":"BLINKING"}"#)
        #expect(set == " 204", "\(set)")
        let state = try await ask("GET", path)
        #expect(state.contains(#""state":"BLINKING""#), "\(state)")
        let sensors = try await ask("GET", "/sensors")
        #expect(sensors.contains("CPU Temp"), "\(sensors)")
        #expect(try await controller.stop())
        try await emulator.kill()
        try await files.stop()
    }
}

/// A web server with one small image, from which the emulator fetches what it is told to attach.
private final class ImageServer {
    let address: String
    private let folder: TemporaryFolder
    private let process: BackgroundProcess

    init() async throws {
        folder = try TemporaryFolder()
        let port = try FreePorts.take()
        try writeText("an image\n", to: folder.path + "/ramdisk.iso")
        address = "http://127.0.0.1:\(port)/ramdisk.iso"
        process = try BackgroundProcess.start(
            BackgroundProcess.Request(
                OpenStackClient.program.split(separator: "/").dropLast().map { "/\($0)" }.joined()
                    + "/python3",
                [
                    "-m", "http.server", "\(port)", "--bind", "127.0.0.1",
                    "--directory", folder.path,
                ],
                pidFile: folder.path + "/pid",
                logFile: folder.path + "/log"
            )
        )
        let (url, time) = (address, SystemTime())
        try await eventually("the image server") {
            try await Tool.run("curl", ["--silent", url], budget: .seconds(5), time: time)
                .exitCode == 0
        }
    }

    func stop() async throws { try await process.kill(time: SystemTime()) }
}

import Basics
import Glibc
import HostTools
import Testing

@testable import Lab

/// A lab of its own beside the operator's, with real namespaces, QEMU and `ipmi_sim`.
@Suite(
    .enabled(
        if: Prerequisites.missing(for: LabPlan(count: 2, firmware: [.bios, .uefi])).isEmpty,
        "needs root, QEMU, OVMF and ipmi_sim"
    ),
    .serialized
)
struct RealLabTests {
    let time = SystemTime()
    let plan = LabPlan(
        count: 2,
        firmware: [.bios, .uefi],
        memoryMebibytes: 256,
        diskGibibytes: 1
    )
    let hook = ["/usr/bin/false", "lab", "chassis"]

    @Test func `a lab comes up, is harmless to bring up again and leaves nothing behind`()
        async throws
    {
        try await withLab("labtest") { lab in
            try await lab.up(plan, hook: hook)
            let first = try #require(try lab.status())
            #expect(first.machines.map(\.power) == ["off", "off"])
            #expect(first.machines.map(\.bmcRuns) == [true, true])
            #expect(first.machines.allSatisfy { $0.diskBytes == 1 << 30 })
            #expect(first.machines.allSatisfy { $0.diskBytesAllocated == 0 }, "sparse")
            let processes = try await lab.network.processes(in: lab.places.labNamespace)
            try await lab.up(plan, hook: hook)
            let again = try await lab.network.processes(in: lab.places.labNamespace)
            #expect(Set(again) == Set(processes), "nothing was started twice")

            let fault = await #expect(throws: Fault.self) {
                try await lab.up(LabPlan(count: 1, firmware: [.bios]), hook: hook)
            }
            #expect(fault?.kind == .conflict)
            #expect(mode(lab.places.nodeFile) == 0o600)
            #expect(mode(lab.places.passwordFile) == 0o600)
            #expect(mode(lab.places.machine("c0").bmcConfiguration) == 0o600)
        }
    }

    @Test func `power and boot device follow the BMC's orders`() async throws {
        try await withLab("labtest") { lab in
            try await lab.up(plan, hook: hook)
            for name in ["c0", "c1"] {
                let control = try lab.control(of: name)
                let chassis = ChassisHook(control)
                #expect(try await chassis.answer(.getPower) == "power:0")
                #expect(try await chassis.answer(.setBoot("pxe")) == nil)
                #expect(try await chassis.answer(.getBoot) == "boot:pxe")
                _ = try await chassis.answer(.setPower(true))
                #expect(try await chassis.answer(.getPower) == "power:1")
                #expect(try await chassis.answer(.getBoot) == "boot:default", "used up")
                let process = try #require(control.running)
                let arguments = try #require(readText("/proc/\(process.identity.pid)/cmdline"))
                #expect(
                    arguments.split(separator: "\0").contains {
                        $0.hasPrefix("virtio-net-pci") && $0.contains("bootindex=1")
                    }
                )
                _ = try await chassis.answer(.setPower(true))
                #expect(control.running?.identity == process.identity, "it was on already")
                _ = try await chassis.answer(.setBoot("default"))
                _ = try await chassis.answer(.reset)
                #expect(control.running != nil)
                #expect(control.running?.identity != process.identity)
                _ = try await chassis.answer(.setPower(false))
                #expect(try await chassis.answer(.getPower) == "power:0")
            }
            await #expect(throws: Fault.self) {
                _ = try await ChassisHook(lab.control(of: "c0")).answer(.setBoot("cdrom"))
            }
            #expect(throws: Fault.self) { _ = try lab.control(of: "c9") }
        }
    }

    @Test func `the firmware writes to the serial log and a cut ends the machine at once`()
        async throws
    {
        try await withLab("labtest") { lab in
            try await lab.up(plan, hook: hook)
            let control = try lab.control(of: "c0")
            try await control.powerOn()
            #expect(
                try await eventually {
                    readText(control.places.serialLog)?.contains("SeaBIOS") == true
                }
            )
            #expect(try await control.cut())
            #expect(control.running == nil)
            let cutAgain = try await control.cut()
            #expect(!cutAgain, "it was off")
        }
    }

    @Test func `what a crash left is removed, a stranger's process is not`() async throws {
        try await withLab("labtest") { lab in
            try await lab.up(plan, hook: hook)
            try await lab.control(of: "c0").powerOn()
            unlink(lab.places.planFile)
            for name in ["c0", "c1"] { unlink(lab.places.machine(name).bmcPidFile) }
            var request = BackgroundProcess.Request(
                "sleep",
                ["600"],
                pidFile: "\(lab.places.root)/stranger.pid",
                logFile: "/dev/null"
            )
            request.networkNamespace = lab.places.undercloudNamespace
            let stranger = try BackgroundProcess.start(request)
            let fault = await #expect(throws: Fault.self) { try await lab.down(force: false) }
            #expect(fault?.kind == .conflict)
            #expect(fault?.message.contains("sleep") == true)
            #expect(stranger.isAlive)
            #expect(lab.network.exists(lab.places.labNamespace), "nothing was touched")
            try await stranger.stop(within: .seconds(5), time: time)
            try await lab.down(force: false)
            #expect(access(lab.places.root, F_OK) != 0)
            try await lab.down(force: false)
        }
    }

    private func withLab(_ name: String, _ body: (Lab) async throws -> Void) async throws {
        let lab = Lab(
            places: LabPlaces(name: "\(name)\(getpid() % 10_000)"),
            time: time,
            random: SystemRandom()
        )
        do {
            try await body(lab)
        } catch {
            try await lab.down(force: true)
            throw error
        }
        try await lab.down(force: true)
        #expect(access(lab.places.root, F_OK) != 0)
        #expect(!lab.network.exists(lab.places.labNamespace))
        #expect(!lab.network.exists(lab.places.undercloudNamespace))
    }

    private func mode(_ path: String) -> UInt32? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : nil
    }

    private func eventually(_ condition: () throws -> Bool) async throws -> Bool {
        let deadline = time.elapsed + .seconds(60)
        while time.elapsed < deadline {
            if try condition() { return true }
            try await time.sleep(for: .milliseconds(50))
        }
        return false
    }
}

import Basics
import HostTools
import Testing

@testable import Lab

struct PrerequisitesTests {
    let plan = LabPlan(count: 2, firmware: [.bios, .uefi])

    @Test func `everything that is missing is named at once with its remedy`() {
        let host = Prerequisites.Host(
            isRoot: { false },
            hasProgram: { _ in false },
            exists: { _ in false }
        )
        let missing = Prerequisites.missing(for: plan, on: host)
        for word in [
            "sudo", "iproute2", "qemu-system-x86", "openipmi", "ipxe-qemu", "ovmf", "modprobe tun",
            "CONFIG_NET_NS",
        ] {
            #expect(missing.contains { $0.contains(word) }, "\(word)")
        }
        let fault = #expect(throws: Fault.self) { try Prerequisites.check(plan, on: host) }
        #expect(fault?.message.split(separator: "\n").count == missing.count + 1)
    }

    @Test func `only what the plan needs is asked for`() {
        let host = Prerequisites.Host(
            isRoot: { true },
            hasProgram: { _ in true },
            exists: { !$0.contains("OVMF") && $0 != "/dev/kvm" }
        )
        #expect(Prerequisites.missing(for: plan, on: host).count == 1)
        let bios = LabPlan(count: 2, firmware: [.bios])
        #expect(Prerequisites.missing(for: bios, on: host).isEmpty)
        var kvm = bios
        kvm.accelerator = .kvm
        #expect(Prerequisites.missing(for: kvm, on: host).count == 1)
    }

    @Test(arguments: [
        (0, "Kernel panic - not syncing: VFS: Unable to mount root fs", Accelerator.kvm),
        (0, "Linux version 6.1", .tcg), (1, "Kernel panic - not syncing: VFS", .tcg), (0, "", .tcg),
    ])
    func `KVM works only when a kernel got to the end of its boot`(
        code: Int32,
        output: String,
        verdict: Accelerator
    ) {
        let result = ToolResult(exitCode: code, output: output, errorOutput: "")
        #expect(AcceleratorTrial.verdict(result) == verdict)
    }

    @Test func `a trial without a kernel is emulation`() async throws {
        let trial = AcceleratorTrial(time: SystemTime())
        #expect(try await trial.run(kernel: "/no/such/kernel") == .tcg)
    }
}

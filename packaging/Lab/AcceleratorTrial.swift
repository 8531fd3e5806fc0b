package import Basics
import Glibc
import HostTools

/// Finds out whether KVM really works here.
///
/// `/dev/kvm` may exist, run SeaBIOS and iPXE, and yet hang every stock kernel (nested virtualisation of
/// another kind), so only a kernel that gets to the end of its boot counts.
package struct AcceleratorTrial: Sendable {
    /// How long a kernel may take.
    package static let budget = Duration.seconds(10)

    private let time: any TimeSource

    package init(time: any TimeSource) { self.time = time }

    /// Boots a kernel without any disk under KVM.
    ///
    /// It must run all the way to its complaint that there is no root file system, and restart for it,
    /// which ends QEMU. The QEMU is gone when this returns, whatever happened.
    /// - Returns: `kvm`, or `tcg` when there is no `/dev/kvm` or the kernel did not get there in 10 s.
    package func run(kernel: String) async throws -> Accelerator {
        guard access("/dev/kvm", R_OK | W_OK) == 0, access(kernel, R_OK) == 0 else { return .tcg }
        do {
            let result = try await Tool.run(
                QEMUArguments.program,
                Self.arguments(kernel: kernel),
                budget: Self.budget,
                time: time
            )
            return Self.verdict(result)
        } catch let fault as Fault where fault.kind == .timeout || fault.kind == .tooLarge {
            return .tcg
        }
    }

    static func arguments(kernel: String) -> [String] {
        [
            "-nodefaults", "-display", "none", "-machine", "q35", "-accel", "kvm", "-cpu", "host",
            "-m", "256", "-no-reboot", "-serial", "stdio", "-kernel", kernel, "-append",
            "console=ttyS0,115200 panic=-1 root=/dev/none",
        ]
    }

    static func verdict(_ result: ToolResult) -> Accelerator {
        let reached = result.output.contains("Kernel panic - not syncing: VFS")
        return result.exitCode == 0 && reached ? .kvm : .tcg
    }
}

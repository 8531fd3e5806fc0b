import FoundationEssentials
import Glibc
import HostTools
import Protocol

/// What the lab's machines do right now.
package struct LabStatus: Codable, Sendable, Equatable {
    /// One machine's live figures.
    package struct Machine: Codable, Sendable, Equatable {
        package let name: String
        /// `on` or `off`.
        package let power: String
        /// QEMU's process number while the machine is on.
        package let pid: Int32?
        package let firmware: Firmware
        /// What the next start tries first.
        package let nextBoot: BootDevice
        package let bmc: String
        package let bmcRuns: Bool
        package let mac: String
        /// What the disk takes on the host, in bytes.
        package let diskBytesAllocated: Int64
        /// What the guest believes it has, in bytes.
        package let diskBytes: Int64
        /// QEMU's resident memory in bytes while the machine is on.
        package let residentBytes: Int64?
        package let serialLog: String
    }

    package let accelerator: Accelerator
    package let nodeFile: String
    package let machines: [Machine]

    /// JSON with sorted keys.
    package var json: String {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            return String(decoding: try encoder.encode(self), as: UTF8.self)
        }
    }

    /// One line per machine under a heading.
    package var table: String {
        let rows =
            [["NAME", "POWER", "FIRMWARE", "NEXT BOOT", "BMC", "MAC", "ON HOST", "MEMORY"]]
            + machines.map { machine in
                [
                    machine.name, machine.power, machine.firmware.rawValue,
                    machine.nextBoot.rawValue,
                    machine.bmc + (machine.bmcRuns ? "" : " (down)"), machine.mac,
                    ByteCount(machine.diskBytesAllocated).description,
                    machine.residentBytes.map { ByteCount($0).description } ?? "-",
                ]
            }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            zip(row, widths).enumerated().map { index, cell in
                index == row.count - 1
                    ? cell.0 : cell.0 + String(repeating: " ", count: cell.1 - cell.0.count)
            }.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}

extension Lab {
    /// The state of everything, or `nil` when the lab is down.
    package func status() throws -> LabStatus? {
        guard let plan = try plan() else { return nil }
        let machines = try plan.machines.map { machine in
            let control = try control(of: machine.name)
            let process = control.running
            let disk = sizes(of: control.places.disk)
            return LabStatus.Machine(
                name: machine.name,
                power: process == nil ? "off" : "on",
                pid: process?.identity.pid,
                firmware: machine.firmware,
                nextBoot: control.selection.device,
                bmc: machine.bmcAddress,
                bmcRuns: BackgroundProcess(pidFile: control.places.bmcPidFile)?.isAlive == true,
                mac: machine.mac,
                diskBytesAllocated: disk.allocated,
                diskBytes: disk.size,
                residentBytes: process.flatMap { resident($0.identity.pid) },
                serialLog: control.places.serialLog
            )
        }
        return LabStatus(
            accelerator: plan.accelerator,
            nodeFile: places.nodeFile,
            machines: machines
        )
    }

    private func sizes(of path: String) -> (allocated: Int64, size: Int64) {
        var status = stat()
        guard stat(path, &status) == 0 else { return (0, 0) }
        return (Int64(status.st_blocks) * 512, Int64(status.st_size))
    }

    private func resident(_ pid: Int32) -> Int64? {
        let fields = readText("/proc/\(pid)/statm")?.split(separator: " ")
        guard let fields, fields.count > 1, let pages = Int64(fields[1]) else { return nil }
        return pages * Int64(sysconf(Int32(_SC_PAGESIZE)))
    }
}

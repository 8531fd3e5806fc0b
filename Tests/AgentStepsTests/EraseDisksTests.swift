import AgentSystem
import Basics
import Protocol
import Testing

@testable import AgentSteps

private let size = 8 << 20

private func used(clearsQuickly: Bool = true) throws -> MemoryDisk {
    let disk = MemoryDisk(bytes: Int64(size), clearsQuickly: clearsQuickly)
    try disk.put(noise(size, seed: 5), at: 0)
    return disk
}

private func erase(
    _ name: String,
    _ disk: any Disk,
    _ drives: any DriveChannels,
    express: Bool = false
) async throws -> WireErasedDisks.Disk {
    let path = "/dev/\(name)"
    var device = BlockDevice(path: path, bytes: UInt64(disk.geometry.bytes))
    device.serial = "S1"
    let step = EraseDisks(
        EraseDisks.Seams(
            drives: drives,
            raid: raidWork(DeviceList(devices: [device]), DiskShelf(disks: [path: disk])),
            executor: { OwnThread(name: $0) }
        )
    )
    var command = WireCommand()
    command.eraseDisks.express = express
    guard case .erased(let erased) = try await step.run(command, in: noContext, report: Ear()),
        let proof = erased.disks.first
    else { throw StepFailure("cannot test: another outcome", retryable: false) }
    return proof
}

struct `Erasing whole disks` {
    /// Nothing of what stood on the disk may be left, whatever way was taken.
    private func expectGone(_ disk: any Disk) throws {
        let old = noise(size, seed: 5)
        let new = try disk.bytes(0..<Int64(size))
        for place in stride(from: 0, to: size, by: 512) {
            #expect(new[place..<(place + 512)] != old[place..<(place + 512)], "at \(place)")
            if new[place..<(place + 512)] == old[place..<(place + 512)] { return }
        }
    }

    @Test(
        arguments: [
            ("nvme0n1", [.formats], "NVMe format, cryptographic erase", [0x80]),
            ("nvme0n1", [.sanitizes], "NVMe sanitize, block erase", [0x84]),
            (
                "nvme0n1",
                [.formats, .sanitizes, .failsErase], "NVMe sanitize, block erase", [0x80, 0x84]
            ), ("nvme0n1", [], "discard and zeroes written by the drive", []),
            ("sda", [.isATA], "ATA security erase unit", [0xf1, 0xf3, 0xf4]),
            (
                "sda",
                [.isATA, .isFrozen], "discard and zeroes written by the drive", []
            ),
            ("sda", [], "discard and zeroes written by the drive", []),
            ("vda", [.isATA], "discard and zeroes written by the drive", []),
        ] as [(String, [DriveDouble.Ability], String, [UInt8])]
    )
    func `takes the best way that the drive has, and proves it`(
        name: String,
        abilities: [DriveDouble.Ability],
        method: String,
        commands: [UInt8]
    ) async throws {
        let disk = try used()
        let drive = DriveDouble(disk) { state in abilities.forEach { $0.apply(to: &state) } }
        let proof = try await erase(name, disk, drive)
        #expect(proof.method == method)
        #expect(proof.serial == "S1")
        #expect(proof.zeroedBytes == UInt64(size))
        #expect(proof.sampledBytes > 100_000)
        #expect(drive.commands == commands)
        #expect(drive.password == nil)
        try expectGone(disk)
    }

    @Test(arguments: ["nvme0n1", "sda"])
    func `a drive that says it is done and still holds data is caught and written over`(
        name: String
    ) async throws {
        let disk = try used()
        let drive = DriveDouble(disk) {
            $0.lies = true
            $0.formats = true
            $0.isATA = name == "sda"
        }
        let proof = try await erase(name, disk, drive)
        #expect(proof.method == "overwritten with zeroes")
        #expect(proof.reason.contains("left old data at byte"))
        try expectGone(disk)
    }

    @Test func `a disk that keeps old data under zeroes fails the step`() async throws {
        let disk = try used(clearsQuickly: false)
        disk.lie(about: 0..<512)
        let failure = await #expect(throws: StepFailure.self) {
            try await erase("vda", disk, NoDrives())
        }
        #expect(failure?.message.hasPrefix("cannot erase /dev/vda: it does not keep") == true)
        #expect(failure?.retryable == false)
    }

    @Test func `a disk without any quick way is written over`() async throws {
        let disk = try used(clearsQuickly: false)
        let proof = try await erase("vda", disk, NoDrives())
        #expect(proof.method == "overwritten with zeroes")
        #expect(try disk.bytes(0..<Int64(size)).allSatisfy { $0 == 0 })
    }

    @Test func `a real file is erased by its file system`() async throws {
        let scratch = try Scratch()
        let path = try scratch.file("disk", String(repeating: "secret! ", count: size / 8))
        let disk = try SystemDisks().open(path, exclusive: true)
        let proof = try await erase("vda", disk, SystemDriveChannels())
        #expect(proof.method == "discard and zeroes written by the drive")
        #expect(try disk.bytes(0..<Int64(size)).allSatisfy { $0 == 0 })
    }

    @Test func `our own password, left by an erase that was cut off, is taken away first`()
        async throws
    {
        let disk = try used()
        let drive = DriveDouble(disk) {
            $0.isATA = true
            $0.password = Array("rdo-manager".utf8) + [UInt8](repeating: 0, count: 21)
        }
        let proof = try await erase("sda", disk, drive)
        #expect(proof.method == "ATA security erase unit")
        #expect(drive.password == nil)
    }

    @Test func `anybody else's password fails the step before anything is written`() async throws {
        let disk = try used()
        let before = disk.changes.count
        let drive = DriveDouble(disk) {
            $0.isATA = true
            $0.password = [UInt8](repeating: 7, count: 32)
        }
        let failure = await #expect(throws: StepFailure.self) {
            try await erase("sda", disk, drive)
        }
        #expect(failure?.message.contains("a password is set on it") == true)
        #expect(disk.changes.count == before)
    }

    @Test func `an erase that fails leaves no password on the drive`() async throws {
        let disk = try used()
        let drive = DriveDouble(disk) {
            $0.isATA = true
            $0.failsErase = true
        }
        let proof = try await erase("sda", disk, drive)
        #expect(proof.method == "discard and zeroes written by the drive")
        #expect(proof.reason == "its security erase failed")
        #expect(drive.password == nil)
    }

    @Test func `a hidden area is shown before anything is erased`() async throws {
        let disk = try used()
        let drive = DriveDouble(disk) {
            $0.isATA = true
            $0.hiddenBlocks = 1000
        }
        let failure = await #expect(throws: StepFailure.self) {
            try await erase("sda", disk, drive)
        }
        #expect(failure?.message.contains("1000 blocks were hidden") == true)
        #expect(drive.commands == [0x27, 0x37])
    }

    @Test func `express leaves the data of drives that would take long`() async throws {
        let disk = try used()
        let proof = try await erase("sda", disk, NoDrives(), express: true)
        #expect(proof.method == "zeros")
        #expect(proof.reason.contains("express"))
        #expect(
            try disk.bytes(Int64(size / 2)..<Int64(size / 2 + 8)) != [UInt8](repeating: 0, count: 8)
        )
    }
}

package import Basics
import FoundationEssentials
import Glibc
package import HostTools

/// Power and boot device of one machine: what its BMC, the command line and the tests act on.
///
/// ```
/// off ── powerOn ──> on ── powerOff, cut, the guest's own shutdown ──> off
///                    on ── reset ──> on (a new QEMU, as after a power cycle)
/// ```
/// Every change holds the machine's lock file, because its BMC runs our hook in a process of its own.
package struct MachineControl: Sendable {
    package let machine: LabMachine
    package let places: MachinePlaces
    private let lab: LabPlaces
    private let accelerator: Accelerator
    private let time: any TimeSource

    /// A serial log larger than this is put aside as `serial.log.1` at the next start.
    private static let serialLogMax = 8 << 20

    package init(
        machine: LabMachine,
        lab: LabPlaces,
        accelerator: Accelerator,
        time: any TimeSource
    ) {
        self.machine = machine
        places = lab.machine(machine.name)
        self.lab = lab
        self.accelerator = accelerator
        self.time = time
    }

    /// The machine's QEMU, or `nil` when the machine is off.
    package var running: BackgroundProcess? {
        BackgroundProcess(pidFile: places.pidFile).flatMap { $0.isAlive ? $0 : nil }
    }

    /// What the next start boots from.
    package var selection: BootSelection {
        guard let text = readText(places.bootFile) else { return BootSelection() }
        // An unreadable file is none: a machine without a wish boots its disk.
        return (try? JSONDecoder().decode(BootSelection.self, from: Data(text.utf8)))
            ?? BootSelection()
    }

    /// Starts the machine; one that is on stays as it is.
    /// - Throws: `Fault` with QEMU's last words when it does not come up.
    package func powerOn() async throws {
        try await withLock { try await start() }
    }

    /// Takes the power away at once; a machine that is off stays off.
    package func powerOff() async throws {
        try await withLock { try await stop() }
    }

    /// Takes the power away and gives it back.
    package func reset() async throws {
        try await withLock {
            guard running != nil else { return }
            try await stop()
            try await start()
        }
    }

    /// Kills QEMU without waiting for anything, not even for another power action.
    /// - Returns: false when the machine was off.
    package func cut() async throws -> Bool {
        guard let process = running else { return false }
        try await process.kill(time: time)
        return true
    }

    /// Presses the power button: the guest may shut down.
    package func pressPowerButton() async throws {
        try await withLock {
            guard running != nil else { return }
            var monitor = try Monitor.open(places.monitorSocket)
            try monitor.pressPowerButton()
        }
    }

    /// Takes the BMC's wish for the next start; see `BootSelection`.
    /// - Throws: `Fault` (`notSupported`) for a device that the machine does not have.
    package func select(_ word: String) async throws {
        try await withLock {
            var selection = selection
            guard selection.select(word) else {
                throw Fault(
                    .notSupported,
                    "cannot boot \(machine.name) from \(word): it has a disk and a network interface"
                )
            }
            try save(selection)
            guard running != nil else { return }
            // The guest's own restart shall follow the wish too.
            var monitor = try Monitor.open(places.monitorSocket)
            try monitor.setBootOrder(first: selection.device)
        }
    }

    private func start() async throws {
        guard running == nil else { return }
        rotateSerialLog()
        var selection = selection
        let first = selection.takeForStart()
        for socket in [places.monitorSocket, places.serialSocket] { unlink(socket) }
        let arguments = QEMUArguments(machine: machine, places: places, accelerator: accelerator)
        var request = BackgroundProcess.Request(
            QEMUArguments.program,
            arguments.vector(first: first),
            pidFile: places.pidFile,
            logFile: places.log
        )
        request.directory = places.directory
        request.networkNamespace = lab.labNamespace
        request.niceness = 5
        let process = try BackgroundProcess.start(request)
        var monitor = try await monitor(of: process)
        // A wish counts for one start: from the guest's next restart on it is the disk again.
        try monitor.setBootOrder(first: selection.device)
        try save(selection)
    }

    private func stop() async throws {
        guard let process = BackgroundProcess(pidFile: places.pidFile) else { return }
        try await process.kill(time: time)
    }

    /// Waits until QEMU has opened its monitor.
    private func monitor(of process: BackgroundProcess) async throws -> Monitor {
        let deadline = time.elapsed + .seconds(15)
        while true {
            // Not listening yet is what we wait for.
            if let monitor = try? Monitor.open(places.monitorSocket) { return monitor }
            guard process.isAlive, time.elapsed < deadline else {
                try await process.kill(time: time)
                let words = (readText(places.log) ?? "").split(whereSeparator: \.isNewline)
                    .suffix(2).joined(separator: "; ")
                throw Fault(
                    .unavailable,
                    "cannot power on \(machine.name): QEMU ended"
                        + (words.isEmpty ? "" : ": \(words)") + " (see \(places.log))"
                )
            }
            try await time.sleep(for: .milliseconds(20))
        }
    }

    private func save(_ selection: BootSelection) throws {
        let text = String(decoding: try JSONEncoder().encode(selection), as: UTF8.self)
        try writeText(text, to: places.bootFile)
    }

    private func rotateSerialLog() {
        var status = stat()
        guard stat(places.serialLog, &status) == 0, status.st_size > Self.serialLogMax else {
            return
        }
        rename(places.serialLog, "\(places.serialLog).1")
    }

    private func withLock(_ body: () async throws -> Void) async throws {
        let file = open(places.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw systemFault("lock lab machine \(machine.name)") }
        defer { close(file) }  // gives the lock back
        let deadline = time.elapsed + .seconds(30)
        while flock(file, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR, time.elapsed < deadline else {
                throw Fault(
                    .timeout,
                    "cannot act on lab machine \(machine.name): another power action does not end"
                )
            }
            try await time.sleep(for: .milliseconds(20))
        }
        try await body()
    }
}

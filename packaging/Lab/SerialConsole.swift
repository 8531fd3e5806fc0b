package import Basics
import Glibc
import HostTools

/// A machine's serial line at the operator's terminal.
package struct SerialConsole: Sendable {
    /// Ends a session: Ctrl and the right square bracket, as telnet and virsh have it.
    package static let escape: UInt8 = 0x1d
    private static let tailBytes = 64 << 10

    private let places: MachinePlaces
    private let time: any TimeSource

    package init(places: MachinePlaces, time: any TimeSource) {
        self.places = places
        self.time = time
    }

    /// Writes the end of the log to a descriptor, and what comes when `follow` is set, until cancelled.
    /// - Throws: `Fault` (`notFound`) when the machine has never been on.
    package func showLog(follow: Bool, to output: Int32) async throws {
        var file = open(places.serialLog, O_RDONLY | O_CLOEXEC)
        guard file >= 0 || follow else {
            throw Fault(
                .notFound,
                "cannot show \(places.serialLog): the machine has not been powered on yet"
            )
        }
        defer { close(file) }
        if file >= 0, lseek(file, 0, SEEK_END) > Self.tailBytes {
            lseek(file, -off_t(Self.tailBytes), SEEK_END)
        }
        while true {
            if file < 0 { file = open(places.serialLog, O_RDONLY | O_CLOEXEC) }
            while let bytes = chunk(of: file) { writeAll(bytes, to: output) }
            guard follow else { return }
            try await time.sleep(for: .milliseconds(200))
            if wasReplaced(file) {
                close(file)
                file = open(places.serialLog, O_RDONLY | O_CLOEXEC)
            }
        }
    }

    /// Connects a terminal to the machine's serial line until the escape key or the machine's end.
    /// - Throws: `Fault` (`unavailable`) when the machine is off or somebody else is connected.
    package func attach(input: Int32, output: Int32) async throws {
        let line = try connectUnix(places.serialSocket)
        defer { close(line) }
        var before = termios()
        let isTerminal = tcgetattr(input, &before) == 0
        if isTerminal {
            var raw = before
            cfmakeraw(&raw)
            tcsetattr(input, TCSANOW, &raw)
        }
        defer { if isTerminal { tcsetattr(input, TCSANOW, &before) } }
        await ConsoleSession().run(line: line, input: input, output: output)
    }

    private func chunk(of file: Int32) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        let count = file < 0 ? 0 : read(file, &buffer, buffer.count)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    /// A log that has grown too large is put aside at a start.
    private func wasReplaced(_ file: Int32) -> Bool {
        var held = stat()
        var named = stat()
        guard file >= 0, fstat(file, &held) == 0, stat(places.serialLog, &named) == 0 else {
            return false
        }
        return held.st_ino != named.st_ino
    }
}

/// Copies between terminal and serial line; it blocks, so it has a thread of its own.
private actor ConsoleSession {
    private let thread = OwnThread(name: "lab-console")

    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    func run(line: Int32, input: Int32, output: Int32) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            var waiting = [
                pollfd(fd: line, events: Int16(POLLIN), revents: 0),
                pollfd(fd: input, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&waiting, nfds_t(waiting.count), -1) >= 0 || errno == EINTR else { return }
            if waiting[0].revents != 0 {
                let count = read(line, &buffer, buffer.count)
                guard count > 0 else { return }
                writeAll(Array(buffer[..<count]), to: output)
            }
            if waiting[1].revents != 0 {
                let count = read(input, &buffer, buffer.count)
                guard count > 0, !buffer[..<count].contains(SerialConsole.escape) else { return }
                writeAll(Array(buffer[..<count]), to: line)
            }
        }
    }
}

/// Writes everything; what a closed descriptor refuses is lost.
private func writeAll(_ bytes: [UInt8], to descriptor: Int32) {
    var left = bytes[...]
    while !left.isEmpty {
        let count = left.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return }
        left = left.dropFirst(count)
    }
}

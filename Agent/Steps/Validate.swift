package import AgentSystem
package import Basics
import Glibc
package import Protocol

/// Makes the checks that follow a configuration step, one after the other, all of them.
package struct Validate: StepRunner {
    /// What the checks look at.
    package struct Places: Sendable {
        /// Directory of the executables that the image ships.
        package var validations: String

        package init(validations: String = "/usr/lib/rdo/validations") {
            self.validations = validations
        }
    }

    private let processes: any ProcessRunner
    private let places: Places
    private let time: any TimeSource

    package init(processes: any ProcessRunner, places: Places, time: any TimeSource) {
        self.processes = processes
        self.places = places
        self.time = time
    }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        var validated = WireValidated()
        for check in command.validate.checks {
            try Task.checkCancellation()
            report.progress(StepProgress(phase: "validate", text: check.name))
            let start = time.elapsed
            let problem = try await problem(of: check)
            var outcome = WireCheckOutcome()
            outcome.name = check.name
            outcome.passed = problem == nil
            outcome.message = String((problem ?? "passed").prefix(1024))
            outcome.seconds = (time.elapsed - start).inSeconds
            validated.outcomes.append(outcome)
            report.log(["\(check.name): \(outcome.message)"])
        }
        return .validated(validated)
    }

    /// Why the check does not pass; `nil` when it does.
    ///
    /// A check that is not true yet is tried again every second until its time is up, since
    /// services take a while to come up.
    private func problem(of check: WireCheck) async throws -> String? {
        let limit = Duration.seconds(Int64(min(600, max(1, check.timeoutSeconds))))
        let start = time.elapsed
        while true {
            let left = limit - (time.elapsed - start)
            guard let problem = try await problemNow(of: check, within: max(left, .seconds(1)))
            else { return nil }
            if case .executable = check.kind { return problem }
            guard time.elapsed - start + .seconds(1) < limit else { return problem }
            try await time.sleep(for: .seconds(1))
        }
    }

    private func problemNow(
        of check: WireCheck,
        within limit: Duration
    ) async throws -> String? {
        switch check.kind {
        case .executable(let name): try await run(executable: name, within: limit)
        case .unitActive(let unit): try await isActive(unit: unit, within: limit)
        case .tcpPort(let port):
            await ask(port.host, port.port, nil, within: limit).problem
        case .httpStatus(let wanted): await httpProblem(wanted, within: limit)
        case .fileExists(let path):
            access(path, F_OK) == 0 ? nil : "\(path) does not exist"
        case nil: "this agent does not know the check; use a newer image"
        }
    }

    // MARK: - Programs

    private func run(executable name: String, within limit: Duration) async throws -> String? {
        guard ApplyStep.isFileName(name) else {
            return "“\(name.prefix(80))” is not the name of a file"
        }
        let path = "\(places.validations)/\(name)"
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return "\(path) is not there: the image ships no such validation"
        }
        guard status.st_uid == geteuid() || status.st_uid == 0, status.st_mode & 0o022 == 0 else {
            return "\(path) can be changed by others than root: it is not run"
        }
        return try await outcome(of: ProcessRequest(path, budget: limit))
    }

    private func isActive(unit: String, within limit: Duration) async throws -> String? {
        guard !unit.hasPrefix("-"), unit.utf8.count <= 256 else {
            return "“\(unit.prefix(80))” is not the name of a unit"
        }
        let request = ProcessRequest("systemctl", ["is-active", "--", unit], budget: limit)
        return try await outcome(of: request).map { "unit \(unit): \($0)" }
    }

    private func outcome(of request: ProcessRequest) async throws -> String? {
        do {
            let result = try await processes.run(request)
            guard !result.succeeded else { return nil }
            let lines = (result.errorText + "\n" + result.outputText).split(separator: "\n")
            let said = lines.suffix(3).joined(separator: "; ")
            return "exit code \(result.exitCode)\(said.isEmpty ? "" : ": \(said)")"
        } catch let fault as Fault {
            return fault.message
        }
    }

    // MARK: - Sockets

    private func ask(
        _ host: String,
        _ port: UInt32,
        _ request: String?,
        within limit: Duration
    ) async -> (problem: String?, line: String) {
        let patience = Patience(time: time, end: time.elapsed + limit)
        return await onThread { answer(of: host, port, request: request, patience) }
    }

    private func httpProblem(_ wanted: WireHTTPStatus, within limit: Duration) async -> String? {
        guard let url = PlainURL(wanted.url) else {
            return "“\(wanted.url.prefix(200))” is not an http:// address"
        }
        let request =
            "GET \(url.path) HTTP/1.1\r\nHost: \(url.authority)\r\nUser-Agent: rdo-agent\r\n"
            + "Accept: */*\r\nConnection: close\r\n\r\n"
        let reply = await ask(url.host, UInt32(url.port), request, within: limit)
        if let problem = reply.problem { return problem }
        let words = reply.line.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/"), let status = UInt32(words[1]) else {
            return "\(wanted.url) does not answer in HTTP"
        }
        return status == wanted.status
            ? nil : "\(wanted.url) answers \(status) instead of \(wanted.status)"
    }
}

/// The parts of an `http://` address.
struct PlainURL: Equatable {
    var host: String
    var port: UInt16
    /// With the query; begins with a slash.
    var path: String
    /// Host and port as they stood.
    var authority: String

    init?(_ text: String) {
        guard text.hasPrefix("http://"), text.utf8.count <= 2048,
            text.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
        else { return nil }
        let rest = text.dropFirst(7)
        let slash = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
        authority = String(rest[..<slash])
        let tail = rest[slash...].prefix { $0 != "#" }
        path = tail.hasPrefix("/") ? String(tail) : "/" + tail
        guard !authority.contains("@") else { return nil }
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            host = String(authority[authority.index(after: authority.startIndex)..<end])
            let after = authority[authority.index(after: end)...]
            guard let number = Self.port(after) else { return nil }
            port = number
        } else {
            let parts = authority.split(
                separator: ":",
                maxSplits: 1,
                omittingEmptySubsequences: false
            )
            host = String(parts[0])
            guard let number = Self.port(parts.count > 1 ? ":" + parts[1] : "") else { return nil }
            port = number
        }
        guard !host.isEmpty else { return nil }
    }

    private static func port(_ text: Substring) -> UInt16? {
        text.isEmpty ? 80 : text.hasPrefix(":") ? UInt16(text.dropFirst()) : nil
    }

    private static func port(_ text: String) -> UInt16? { port(text[...]) }
}

/// The time that all waits of one try have together: a peer that sends a byte now and then must not
/// prolong it.
private struct Patience: Sendable {
    let time: any TimeSource
    let end: Duration

    /// Waits until the socket is ready; false when the time is up.
    func isReady(_ file: Int32, _ event: Int32) -> Bool {
        let left = (end - time.elapsed).wholeNanoseconds / 1_000_000
        guard left > 0 else { return false }
        var entry = pollfd(fd: file, events: Int16(event), revents: 0)
        return poll(&entry, 1, Int32(clamping: left)) == 1
    }
}

/// Runs a call that blocks on a thread of its own.
private func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        startThread(name: "validation") { continuation.resume(returning: body()) }
    }
}

/// Connects, sends the request if there is one, and reads the first line of the answer.
private func answer(
    of host: String,
    _ port: UInt32,
    request: String?,
    _ patience: Patience
) -> (problem: String?, line: String) {
    let name = "\(host):\(port)"
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(host, String(port), &hints, &list)
    guard status == 0, let first = list else {
        return ("\(name): \(String(cString: gai_strerror(status)))", "")
    }
    defer { freeaddrinfo(list) }
    var problem = "\(name): no address"
    var next: UnsafeMutablePointer<addrinfo>? = first
    while let entry = next?.pointee {
        next = entry.ai_next
        let file = socket(
            entry.ai_family,
            entry.ai_socktype | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue),
            entry.ai_protocol
        )
        guard file >= 0 else { continue }
        defer { close(file) }
        if connect(file, entry.ai_addr, entry.ai_addrlen) != 0, errno != EINPROGRESS {
            problem = "\(name): \(String(cString: strerror(errno)))"
            continue
        }
        guard patience.isReady(file, POLLOUT) else {
            problem = "\(name) does not answer"
            continue
        }
        var error: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(file, SOL_SOCKET, SO_ERROR, &error, &size)
        guard error == 0 else {
            problem = "\(name): \(String(cString: strerror(error)))"
            continue
        }
        guard let request else { return (nil, "") }
        return exchange(file, request, name, patience)
    }
    return (problem, "")
}

private func exchange(
    _ file: Int32,
    _ request: String,
    _ name: String,
    _ patience: Patience
) -> (problem: String?, line: String) {
    let bytes = Array(request.utf8)
    guard send(file, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
        return ("\(name) does not take the request", "")
    }
    var received: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1024)
    while !received.contains(UInt8(ascii: "\n")), received.count < 4096 {
        guard patience.isReady(file, POLLIN) else { return ("\(name) does not answer", "") }
        let count = recv(file, &buffer, buffer.count, 0)
        guard count > 0 else { break }
        received += buffer[..<count]
    }
    let line = received.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
    return (nil, String(decoding: line, as: UTF8.self))
}

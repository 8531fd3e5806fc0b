import AgentSystem
import Basics
import Foundation
import Glibc
import Protocol
import Synchronization
import Testing

@testable import AgentSteps

/// Answers each call with the next result and remembers what was asked for.
private final class ScriptedProcesses: ProcessRunner {
    private let state: Mutex<(results: [ProcessResult], requests: [ProcessRequest])>

    /// The last result is given for ever.
    init(_ results: ProcessResult...) { state = Mutex((results, [])) }

    func locate(_ program: String) -> String? { "/usr/bin/\(program)" }

    func run(_ request: ProcessRequest) async throws -> ProcessResult {
        state.withLock { state in
            state.requests.append(request)
            return state.results.count > 1 ? state.results.removeFirst() : state.results[0]
        }
    }

    var requests: [ProcessRequest] { state.withLock { $0.requests } }
}

/// A clock that leaps, and a place to do something while somebody sleeps.
private struct HookedTime: TimeSource {
    let clock = LeapingTime()
    let onSleep: @Sendable () -> Void

    var now: Timestamp { clock.now }
    var elapsed: Duration { clock.elapsed }

    func sleep(for span: Duration) async throws {
        onSleep()
        try await clock.sleep(for: span)
    }
}

private func check(
    timeout: UInt32 = 5,
    _ change: (inout WireCheck) -> Void
) -> WireCheck {
    var check = WireCheck()
    check.name = "check"
    check.timeoutSeconds = timeout
    change(&check)
    return check
}

private func outcomes(
    of checks: [WireCheck],
    processes: any ProcessRunner = SystemProcesses(grace: .milliseconds(50)),
    validations: String = "/nonexistent",
    time: any TimeSource = LeapingTime()
) async throws -> [WireCheckOutcome] {
    var command = WireCommand()
    command.validate.checks = checks
    let step = Validate(
        processes: processes,
        places: Validate.Places(validations: validations),
        time: time
    )
    guard
        case .validated(let validated) = try await step.run(command, in: noContext, report: Ear())
    else { throw StepFailure("cannot test: another outcome", retryable: false) }
    return validated.outcomes
}

private func exits(_ code: Int32, _ output: String = "") -> ProcessResult {
    ProcessResult(ending: .exited(code), output: Array(output.utf8))
}

struct `A validation by a unit of systemd` {
    private let unit = check { $0.unitActive = "httpd.service" }

    @Test func `is asked again until the unit is active`() async throws {
        let processes = ScriptedProcesses(exits(3, "activating"), exits(3, "activating"), exits(0))
        let outcome = try await outcomes(of: [unit], processes: processes)[0]
        #expect(outcome.passed)
        #expect(outcome.message == "passed")
        #expect(outcome.seconds == 2)
        #expect(processes.requests.count == 3)
        #expect(processes.requests[0].program == "systemctl")
        #expect(processes.requests[0].arguments == ["is-active", "--", "httpd.service"])
    }

    @Test func `fails with the unit's state when its time is up`() async throws {
        let processes = ScriptedProcesses(exits(3, "failed"))
        let outcome = try await outcomes(of: [unit], processes: processes)[0]
        #expect(!outcome.passed)
        #expect(outcome.message == "unit httpd.service: exit code 3: failed")
        #expect(processes.requests.count == 5)
    }

    @Test(arguments: ["--root=/", "-H evil", String(repeating: "a", count: 257)])
    func `never takes an option for a unit`(unit: String) async throws {
        let processes = ScriptedProcesses(exits(0))
        let outcome = try await outcomes(
            of: [check(timeout: 1) { $0.unitActive = unit }],
            processes: processes
        )[0]
        #expect(outcome.message.hasSuffix("is not the name of a unit"))
        #expect(processes.requests.isEmpty)
    }
}

struct `A validation by a program of the image` {
    private func outcome(
        _ script: String,
        mode: UInt32 = 0o755,
        name: String = "probe",
        timeout: UInt32 = 20
    ) async throws -> WireCheckOutcome {
        let scratch = try Scratch()
        _ = try scratch.file("probe", "#!/bin/sh\n\(script)\n", mode: mode)
        return try await outcomes(
            of: [check(timeout: timeout) { $0.executable = name }],
            validations: scratch.path,
            time: SystemTime()
        )[0]
    }

    @Test func `passes with exit code 0`() async throws {
        #expect(try await outcome("exit 0").passed)
    }

    @Test func `fails with the program's last words`() async throws {
        let failed = try await outcome("echo one; echo two >&2; echo three >&2; exit 7")
        #expect(!failed.passed)
        #expect(failed.message == "exit code 7: two; three; one")
    }

    @Test func `is stopped when its time is up`() async throws {
        let late = try await outcome("exec tail -f /dev/null", timeout: 1)
        #expect(!late.passed)
        #expect(late.message.contains("within 1.0 seconds"), "\(late.message)")
    }

    @Test(arguments: ["../probe", "/bin/true", "", ".probe", "pro be", "probe;true"])
    func `is a name and never a path or a command`(name: String) async throws {
        let refused = try await outcome("exit 0", name: name)
        #expect(!refused.passed)
        #expect(refused.message.hasSuffix("is not the name of a file"))
    }

    @Test func `is not run when it is missing`() async throws {
        let missing = try await outcome("exit 0", name: "other")
        #expect(missing.message.contains("the image ships no such validation"))
    }

    @Test(arguments: [UInt32(0o777), 0o775, 0o757])
    func `is not run when others than root can change it`(mode: UInt32) async throws {
        let refused = try await outcome("exit 0", mode: mode)
        #expect(refused.message.contains("can be changed by others than root"))
    }

    @Test func `is not run through a link`() async throws {
        let scratch = try Scratch()
        symlink("/bin/true", "\(scratch.path)/probe")
        let refused = try await outcomes(
            of: [check { $0.executable = "probe" }],
            validations: scratch.path
        )[0]
        #expect(!refused.passed)
    }
}

struct `A validation over the network` {
    @Test func `passes when the port takes a connection`() async throws {
        let server = try Server(answer: nil)
        let outcome = try await outcomes(of: [
            check {
                $0.tcpPort.host = "127.0.0.1"
                $0.tcpPort.port = UInt32(server.port)
            }
        ])[0]
        #expect(outcome.passed, "\(outcome.message)")
    }

    @Test func `waits for a port that opens late`() async throws {
        let port = try Server.freePort()
        let opened = Mutex<Server?>(nil)
        let time = HookedTime {
            // Whoever holds the port meanwhile makes the check pass as well.
            opened.withLock { $0 = $0 ?? (try? Server(answer: nil, port: port)) }
        }
        let outcome = try await outcomes(
            of: [
                check {
                    $0.tcpPort.host = "127.0.0.1"
                    $0.tcpPort.port = UInt32(port)
                }
            ],
            time: time
        )[0]
        #expect(outcome.passed, "\(outcome.message)")
        #expect(time.elapsed >= .seconds(1))
    }

    @Test func `fails with the system's reason when nobody listens`() async throws {
        let port = try Server.freePort()
        let outcome = try await outcomes(of: [
            check(timeout: 1) {
                $0.tcpPort.host = "127.0.0.1"
                $0.tcpPort.port = UInt32(port)
            }
        ])[0]
        #expect(outcome.message == "127.0.0.1:\(port): Connection refused")
    }

    @Test func `compares the status of an answer`() async throws {
        let server = try Server(answer: "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        let url = "http://127.0.0.1:\(server.port)/health?deep=1"
        let results = try await outcomes(
            of: [UInt32(404), 200].map { status in
                check(timeout: 1) {
                    $0.httpStatus.url = url
                    $0.httpStatus.status = status
                }
            }
        )
        #expect(results[0].passed, "\(results[0].message)")
        #expect(results[1].message == "\(url) answers 404 instead of 200")
        #expect(
            server.requests.first?.hasPrefix("GET /health?deep=1 HTTP/1.1\r\nHost: 127") == true
        )
    }

    @Test func `follows no redirection`() async throws {
        let other = try Server(answer: "HTTP/1.1 200 OK\r\n\r\n")
        let server = try Server(
            answer: "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:\(other.port)/\r\n\r\n"
        )
        let outcome = try await outcomes(of: [
            check(timeout: 1) {
                $0.httpStatus.url = "http://127.0.0.1:\(server.port)/"
                $0.httpStatus.status = 200
            }
        ])[0]
        #expect(outcome.message.hasSuffix("answers 302 instead of 200"))
        #expect(other.requests.isEmpty)
    }

    @Test(arguments: ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1\r\n", "\r\n", "HTTP/1.1 OK\r\n"])
    func `is not fooled by another protocol`(answer: String) async throws {
        let server = try Server(answer: answer)
        let outcome = try await outcomes(of: [
            check(timeout: 1) {
                $0.httpStatus.url = "http://127.0.0.1:\(server.port)/"
                $0.httpStatus.status = 200
            }
        ])[0]
        #expect(outcome.message.hasSuffix("does not answer in HTTP"))
    }

    @Test func `ends in time when an answer comes byte by byte`() async throws {
        let server = try Server(answer: nil, drips: true)
        let outcome = try await outcomes(
            of: [
                check(timeout: 1) {
                    $0.httpStatus.url = "http://127.0.0.1:\(server.port)/"
                    $0.httpStatus.status = 200
                }
            ],
            time: SystemTime()
        )[0]
        #expect(outcome.message.hasSuffix("does not answer"), "\(outcome.message)")
        // One byte comes every 20 ms.
        #expect(server.dripped < 150)
    }

    @Test(arguments: [
        "file:///etc/passwd", "https://127.0.0.1/", "http://", "http://user@127.0.0.1/",
        "http://127.0.0.1:99999/", "http://127.0.0.1/ x", "http://127.0.0.1/\r\nX: y",
        "http://[::1",
        "http://:80/", "gopher://127.0.0.1/",
    ])
    func `takes plain addresses only`(url: String) async throws {
        let outcome = try await outcomes(of: [
            check(timeout: 1) { $0.httpStatus.url = url }
        ])[0]
        #expect(outcome.message.hasSuffix("is not an http:// address"))
    }

    @Test func `reads an address's parts`() {
        let url = PlainURL("http://[::1]:8080?a=b#c")
        #expect(url?.host == "::1")
        #expect(url?.port == 8080)
        #expect(url?.path == "/?a=b")
        #expect(url?.authority == "[::1]:8080")
    }
}

struct `Validations of a step` {
    @Test func `are all made, also after one that failed`() async throws {
        let scratch = try Scratch()
        let there = try scratch.file("there", "")
        let results = try await outcomes(of: [
            check(timeout: 1) { $0.fileExists = "\(scratch.path)/missing" },
            check { $0.fileExists = there },
            check(timeout: 0) { _ in },
        ])
        #expect(results.map(\.passed) == [false, true, false])
        #expect(results[0].message == "\(scratch.path)/missing does not exist")
        #expect(results[2].message.contains("use a newer image"))
    }
}

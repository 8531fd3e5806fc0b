import Basics
import Glibc
import Testing

@testable import HostTools

struct BackgroundProcessTests {
    let time = SystemTime()

    @Test func `a process is started, found again by its pid file and stopped`() async throws {
        try await inScratch { directory in
            let process = try BackgroundProcess.start(
                request("sleep", ["600"], in: directory)
            )
            #expect(process.isAlive)
            #expect(getsid(process.identity.pid) == process.identity.pid, "a session of its own")
            let found = try #require(BackgroundProcess(pidFile: "\(directory)/pid"))
            #expect(found.identity == process.identity)
            let fault = #expect(throws: Fault.self) {
                _ = try BackgroundProcess.start(request("sleep", ["600"], in: directory))
            }
            #expect(fault?.kind == .conflict)
            try await found.stop(within: .seconds(60), time: time)
            #expect(!process.isAlive)
            #expect(readText("\(directory)/pid") == nil)
        }
    }

    @Test func `a process that ignores the request to end is killed`() async throws {
        try await inScratch { directory in
            let process = try BackgroundProcess.start(
                request("env", ["--ignore-signal=TERM", "sleep", "600"], in: directory)
            )
            #expect(try await becomes("sleep", process))
            let start = time.elapsed
            try await process.stop(within: .milliseconds(200), time: time)
            #expect(!process.isAlive)
            #expect(time.elapsed - start >= .milliseconds(200))
        }
    }

    @Test func `another process with the same number is left alone`() async throws {
        try await inScratch { directory in
            let own = try #require(ProcessIdentity(pid: getpid()))
            let other = "\(own.pid) \(own.startTicks + 1) \(own.bootID)\n"
            try writeText(other, to: "\(directory)/pid")
            let process = try #require(BackgroundProcess(pidFile: "\(directory)/pid"))
            #expect(!process.isAlive)
            try await process.kill(time: time)
            #expect(ProcessIdentity(pid: getpid())?.isAlive == true)
        }
    }

    @Test(arguments: ["", "x", "0 1 boot", "-4 1 boot", "12 x boot", "1 2", "1 2 3 4"])
    func `a damaged pid file names no process`(text: String) {
        #expect(ProcessIdentity(text: text) == nil)
    }

    @Test func `output goes to the log and is appended`() async throws {
        try await inScratch { directory in
            for text in ["one", "two"] {
                let process = try BackgroundProcess.start(
                    request("printf", ["%s\n", text], in: directory)
                )
                #expect(try await process.ends(within: .seconds(60), time: time))
            }
            #expect(readText("\(directory)/log") == "one\ntwo\n")
        }
    }

    @Test func `what cannot start is told and leaves no pid file`() async throws {
        try await inScratch { directory in
            try writeText("no program", to: "\(directory)/broken", mode: 0o755)
            var bad = request("\(directory)/broken", [], in: directory)
            let refused = #expect(throws: Fault.self) { _ = try BackgroundProcess.start(bad) }
            #expect(refused?.message.contains("exec format error") == true)
            #expect(readText("\(directory)/pid") == nil)

            bad = request("sleep", ["1"], in: directory)
            bad.user = "rdo-no-such-user"
            let user = #expect(throws: Fault.self) { _ = try BackgroundProcess.start(bad) }
            #expect(user?.message.contains("rdo-no-such-user") == true)

            bad.user = nil
            bad.networkNamespace = "rdo-no-such-namespace"
            let namespace = #expect(throws: Fault.self) { _ = try BackgroundProcess.start(bad) }
            #expect(namespace?.message.contains("rdo-no-such-namespace") == true)
            #expect(readText("\(directory)/pid") == nil)
        }
    }

    @Test func `sockets are handed over as systemd does`() async throws {
        try await inScratch { directory in
            let api = try ListeningSocket.open("127.0.0.1", port: 0, name: "api")
            let boot = try ListeningSocket.open("127.0.0.1", port: 0, name: "boot")
            defer {
                api.close()
                boot.close()
            }
            var request = request("sleep", ["600"], in: directory)
            request.sockets = [api, boot]
            let process = try BackgroundProcess.start(request)
            let pid = process.identity.pid
            let environment = try #require(readText("/proc/\(pid)/environ"))
                .split(separator: "\0").map(String.init)
            #expect(environment.contains("LISTEN_FDS=2"))
            #expect(environment.contains("LISTEN_FDNAMES=api:boot"))
            #expect(environment.contains("LISTEN_PID=\(pid)"))
            #expect(inode("/proc/\(pid)/fd/3") == inode("/proc/self/fd/\(api.descriptor)"))
            #expect(inode("/proc/\(pid)/fd/4") == inode("/proc/self/fd/\(boot.descriptor)"))
            #expect(inode("/proc/\(pid)/fd/5") == nil, "nothing else is inherited")
            try await process.stop(within: .seconds(60), time: time)
        }
    }

    @Test func `handed-over sockets are taken only by the process they are meant for`() {
        let variables = ["LISTEN_PID": "4711", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "api"]
        #expect(ListeningSocket.handedOver(environment: variables, pid: 4712).isEmpty)
        #expect(ListeningSocket.handedOver(environment: [:], pid: 4711).isEmpty)
        let bad = ["LISTEN_PID": "4711", "LISTEN_FDS": "100000"]
        #expect(ListeningSocket.handedOver(environment: bad, pid: 4711).isEmpty)
    }

    @Test func `a taken port and a bad address are told`() throws {
        let socket = try ListeningSocket.open("127.0.0.1", port: 0)
        defer { socket.close() }
        let taken = #expect(throws: Fault.self) {
            _ = try ListeningSocket.open("127.0.0.1", port: socket.port)
        }
        #expect(taken?.kind == .conflict)
        #expect(taken?.message.contains("port \(socket.port)") == true)
        #expect(throws: Fault.self) { _ = try ListeningSocket.open("localhost", port: 0) }
    }

    @Test(.enabled(if: getuid() == 0, "needs root"))
    func `a process can be another user`() async throws {
        try await inScratch { directory in
            var request = request("sleep", ["600"], in: directory)
            request.user = "nobody"
            request.niceness = 5
            let process = try BackgroundProcess.start(request)
            let status = try #require(readText("/proc/\(process.identity.pid)/status"))
            #expect(status.contains("Uid:\t65534\t65534\t65534\t65534"))
            #expect(status.contains("Groups:\t65534 \n"))
            #expect(getpriority(Int32(PRIO_PROCESS.rawValue), id_t(process.identity.pid)) >= 5)
            try await process.kill(time: time)
            #expect(!process.isAlive)
        }
    }

    private func request(
        _ program: String,
        _ arguments: [String],
        in directory: String
    ) -> BackgroundProcess.Request {
        BackgroundProcess.Request(
            program,
            arguments,
            pidFile: "\(directory)/pid",
            logFile: "\(directory)/log"
        )
    }

    private func inode(_ path: String) -> UInt64? {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(status.st_ino) : nil
    }

    private func becomes(_ name: String, _ process: BackgroundProcess) async throws -> Bool {
        let deadline = time.elapsed + .seconds(60)
        while readText("/proc/\(process.identity.pid)/comm") != "\(name)\n" {
            guard time.elapsed < deadline else { return false }
            try await time.sleep(for: .milliseconds(10))
        }
        return true
    }

    private func inScratch(_ body: (String) async throws -> Void) async throws {
        var template = Array("/tmp/rdo-hosttools-XXXXXX".utf8CString)
        let made = try #require(mkdtemp(&template))
        let directory = String(cString: made)
        do {
            try await body(directory)
        } catch {
            if let left = BackgroundProcess(pidFile: "\(directory)/pid") {
                left.identity.send(SIGKILL)
            }
            throw error
        }
        for name in ["pid", "log", "broken"] { unlink("\(directory)/\(name)") }
        #expect(rmdir(directory) == 0, "nothing is left over")
    }
}

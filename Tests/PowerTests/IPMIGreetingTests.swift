import Basics
import Harness
import HostTools
import Synchronization
import Testing

@testable import Power

/// The datagram before `ipmitool`, on sockets of this host.
@Suite struct IPMIGreetingTests {
    /// One that asks four times at once.
    private var hasty: IPMIGreeting {
        IPMIGreeting(time: SystemTime(), pauses: Array(repeating: .zero, count: 4))
    }

    private func bmc(_ port: UInt16, _ host: String = "127.0.0.1") -> BMC {
        BMC(host: host, port: port, user: "admin", password: Secret("x"))
    }

    @Test func `a foreign BMC answers, and at once`() async throws {
        let commands = """
            mc_setbmc 0x20
            mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
            mc_enable 0x20

            """
        try await BMCSimulator.run(commands) { simulator async throws in
            let begin = SystemTime().elapsed
            let pause = Duration.seconds(600)
            let greeting = IPMIGreeting(time: SystemTime(), pauses: [pause])
            #expect(await greeting.answers("127.0.0.1", port: simulator.port) == true)
            #expect(SystemTime().elapsed - begin < pause)
        }
    }

    @Test func `where nothing answers no tool is started`() async throws {
        let greeting = hasty
        let power = IPMIPower(
            settings: IPMIPower.Settings(),
            greeter: { await greeting.answers($0, port: $1) },
            runner: { _, _, _ in
                Issue.record("the tool was started")
                throw Fault(.internalError, "no")
            }
        )
        let silent = bmc(try FreePorts.take())
        let fault = await #expect(throws: PowerFault.self) { _ = try await power.power(of: silent) }
        #expect(fault?.reason == .noAnswer)
        #expect(fault?.message.contains("it does not answer; check its address") == true)
    }

    @Test(arguments: ["bmc.example", "192.0.2", "not an address"])
    func `what is no plain address is left to the tool`(host: String) async {
        #expect(await hasty.answers(host, port: 623) == nil)
    }

    @Test func `a BMC that answered is not asked again until it is silent once`() async throws {
        let asked = Mutex(0)
        let isDead = Mutex(false)
        let power = IPMIPower(
            settings: IPMIPower.Settings(),
            greeter: { _, _ in
                asked.withLock { $0 += 1 }
                return true
            },
            runner: { _, _, _ in
                isDead.withLock { $0 }
                    ? ToolResult(exitCode: 1, output: "", errorOutput: "Unable to establish LAN")
                    : ToolResult(exitCode: 0, output: "Chassis Power is on", errorOutput: "")
            }
        )
        for _ in 0..<3 { _ = try await power.power(of: bmc(623)) }
        #expect(asked.withLock { $0 } == 1)
        isDead.withLock { $0 = true }
        for _ in 0..<3 {
            await #expect(throws: PowerFault.self) { _ = try await power.power(of: bmc(623)) }
        }
        #expect(asked.withLock { $0 } == 3)
    }

    @Test func `only IPMI over RMCP is an answer, and the question's checksums are right`() {
        #expect(IPMIGreeting.isAnswer(IPMIGreeting.question))
        for bytes in [[], [6], [6, 0, 0xff, 6], [5, 0, 0xff, 7], Array("HTTP/1.1 200".utf8)] {
            #expect(!IPMIGreeting.isAnswer(bytes))
        }
        let message = IPMIGreeting.question[14...].map(Int.init)
        #expect(message[0..<3].reduce(0, +) % 256 == 0)
        #expect(message[3...].reduce(0, +) % 256 == 0)
        #expect(Int(IPMIGreeting.question[13]) == message.count)
    }

    @Test func `many silent BMCs are asked at the same time`() async throws {
        let greeting = IPMIGreeting(time: SystemTime())
        let port = try FreePorts.take()
        let begin = SystemTime().elapsed
        await withTaskGroup(of: Bool?.self) { group in
            for number in 0..<500 {
                group.addTask {
                    await greeting.answers("127.1.\(number / 250).\(1 + number % 250)", port: port)
                }
            }
            for await answer in group { #expect(answer == false) }
        }
        // One after another they would take an hour and a half.
        #expect(SystemTime().elapsed - begin < .seconds(600))
    }
}

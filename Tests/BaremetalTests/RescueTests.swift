import Basics
import Foundation
import HTTP
import HostTools
import Power
import Protocol
import Store
import Testing

@testable import Baremetal

@Suite struct RescueTests {
    /// An active node.
    private func active() async throws -> (Bench, NodeID) {
        let bench = try Bench()
        let id = try await bench.register()
        try await bench.makeAvailable(id)
        try await bench.choose("plain", for: id)
        try await bench.ask(.deploy(configDrive: nil), id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        bench.world.edit(id) { $0.log = [] }
        return (bench, id)
    }

    @Test func `the ramdisk comes up and takes the hash; unrescue starts the disk`() async throws {
        let (bench, id) = try await active()
        try await bench.ask(.rescue(password: Secret("let me in")), id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state.ironicName == "rescue")
        #expect(node.lastLines == ["ssh rescue@192.0.2.50", "the host key is SHA256:abc"])
        var machine = try #require(bench.world.machine(id))
        #expect(
            machine.log.suffix(5) == [
                "boot pxe once", "power on", "ramdisk runs", "command rescue",
                "rescue may log in",
            ]
        )
        #expect(machine.rescueHash.hasPrefix("$6$"))
        #expect(!machine.rescueHash.contains("let me in"))
        let salt = machine.rescueHash.split(separator: "$")[1]
        let other = CryptPassword.hash(Secret("let me in"), salt: Array(salt.utf8))
        #expect(other.reveal() == machine.rescueHash)
        // What the agent has is not kept.
        #expect(try await bench.service.rescueHash(of: id) == nil)

        bench.world.edit(id) { $0.log = [] }
        try await bench.ask(.unrescue, id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        try await bench.settle(id)
        machine = try #require(bench.world.machine(id))
        #expect(machine.log.contains("boot disk always"))
        #expect(machine.power == .on)
        #expect(machine.installed == SimulatedImages.plain)
        #expect(machine.writes == 1)
    }

    @Test func `the session of the ramdisk that installed the node does not count`() async throws {
        let (bench, id) = try await active()
        try await bench.ask(.rescue(password: Secret("p")), id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.actions == [.bringUpRamdisk(since: bench.world.time.now)])
    }

    @Test func `a ramdisk that never comes up ends in rescue failed, from where one may go on`()
        async throws
    {
        let (bench, id) = try await active()
        bench.world.edit(id) { $0.agent = .silent }
        try await bench.ask(.rescue(password: Secret("p")), id)
        try await bench.settle(id)
        let node = try #require(try await bench.service.find(id))
        #expect(node.state.ironicName == "rescue failed")
        #expect(node.lastError?.contains("cannot rescue node c0: no agent") == true)
        // The hash is sealed and kept as long as nobody gives up.
        #expect(try await bench.service.rescueHash(of: id) != nil)
        bench.world.edit(id) { $0.agent = .none }
        try await bench.ask(.unrescue, id)
        try await bench.settle(id)
        #expect(try await bench.state(id) == "active")
        #expect(try await bench.service.rescueHash(of: id) == nil)
    }

    @Test func `a machine in rescue wait shows Ironic's word and can be aborted`() async throws {
        let (bench, id) = try await active()
        bench.world.edit(id) { $0.agent = .silent }
        try await bench.ask(.rescue(password: Secret("p")), id)
        try await bench.settle(id, seconds: 60)
        #expect(try await bench.state(id) == "rescue wait")
        try await bench.ask(.abort, id)
        #expect(try await bench.state(id) == "rescue failed")
        #expect(try await bench.service.rescueHash(of: id) == nil)
    }

    @Test func `a password that nobody could type is refused`() throws {
        let version = Microversion(minor: 38)
        for password in [String(repeating: "x", count: 257), "a\0b", "  "] {
            let body: [String: JSONValue] = [
                "target": "rescue", "rescue_password": .string(password),
            ]
            let refusal = #expect(throws: Fault.self) { try ProvisionWish(body, version) }
            #expect(refusal?.message.contains("rescue_password") == true)
        }
    }

    /// The hashes are those of OpenSSL, another implementation of the same algorithm.
    @Test(arguments: ["p", "secret", "Grüße", String(repeating: "long ", count: 40)])
    func `a password's hash is what OpenSSL makes of it`(password: String) async throws {
        let salt = "Zf4aBq./19xyWuvT"
        let result = try await Tool.require(
            "openssl",
            ["passwd", "-6", "-salt", salt, password],
            budget: .seconds(30),
            time: SystemTime()
        )
        let hash = CryptPassword.hash(Secret(password), salt: Array(salt.utf8))
        #expect(hash.reveal() == result.output.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    @Test func `a rescue that an older release began can still be read`() throws {
        let installation = Installation(
            image: SimulatedImages.plain,
            hasAgent: false,
            device: "/dev/sda",
            attempt: Attempt(1),
            since: Timestamp(seconds: 1)
        )
        let text = String(
            decoding: try JSONEncoder().encode(
                ProvisionState.rescuing(installation: installation, job: nil)
            ),
            as: UTF8.self
        )
        #expect(!text.contains("job"))
        let state = try JSONDecoder().decode(ProvisionState.self, from: Data(text.utf8))
        #expect(state == .rescuing(installation: installation, job: nil))
    }
}

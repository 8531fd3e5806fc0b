import Basics
import Harness
import HTTP
import Testing

@testable import Power

@Suite(.serialized) struct RedfishUpdateTests {
    private static let url = "http://192.0.2.9/bios.bin?key=capability"

    private func with(
        _ recording: String,
        _ body: @escaping @Sendable (RedfishPower, BMC, RedfishDouble) async throws -> Void
    ) async throws {
        let double = try RedfishDouble(recording)
        try await double.serve { port in
            try await RedfishSubject.drive(.double(port: port)) { driver, bmc in
                try await body(driver, bmc, double)
            }
        }
    }

    @Test func `an update is a task that is looked at until it is over`() async throws {
        try await with("update") { driver, bmc, double async throws in
            let task = try #require(try await driver.update(from: Self.url, of: bmc))
            #expect(double.images == [["ImageURI": .string(Self.url), "TransferProtocol": "HTTP"]])
            for (document, wanted) in [
                (["TaskState": "Running", "PercentComplete": 40], .running(percent: 40)),
                (["TaskState": "Running", "PercentComplete": 400], .running(percent: nil)),
                (["TaskState": "Starting"], .running(percent: nil)),
                (["TaskState": "Pending"], .waiting),
                (["TaskState": "Completed", "TaskStatus": "OK"], .done),
                (
                    [
                        "TaskState": "Completed", "TaskStatus": "Critical",
                        "Messages": [["Message": "bad\u{1b}image"]],
                    ], .failed("bad image")
                ),
                (["TaskState": "Exception"], .failed("it gives no reason")), (nil, .gone),
            ] as [(JSONValue?, FirmwareUpdateState)] {
                double.setTask(document)
                let state = try await driver.state(ofUpdate: task, of: bmc)
                #expect(state == wanted)
            }
        }
    }

    @Test func `a BMC that wants the target named gets it`() async throws {
        try await with("update-needs-target") { driver, bmc, double async throws in
            _ = try await driver.update(from: Self.url, of: bmc)
            #expect(double.images.last?["Targets"] == ["/redfish/v1/Systems/437XR"])
        }
    }

    @Test func `what the image's address holds is not repeated`() async throws {
        try await with("update-refused") { driver, bmc, _ async throws in
            let fault = await #expect(throws: PowerFault.self) {
                _ = try await driver.update(from: Self.url, of: bmc)
            }
            #expect(fault?.message.contains("cannot read the image") == true)
            #expect(fault.map { "\($0.message)\($0.detail)".contains("capability") } == false)
        }
    }

    @Test func `a BMC without updates, or with other protocols, says so`() async throws {
        try await with("plain") { driver, bmc, _ async throws in
            let fault = await #expect(throws: PowerFault.self) {
                _ = try await driver.update(from: Self.url, of: bmc)
            }
            #expect(fault?.reason == .unsupported)
        }
        try await with("update") { driver, bmc, _ async throws in
            let fault = await #expect(throws: PowerFault.self) {
                _ = try await driver.update(from: "tftp://192.0.2.9/x", of: bmc)
            }
            #expect(fault?.message.contains("fetches images by") == true)
        }
    }

    /// Its other driver, over libvirt, has them.
    @Test func `the machines of sushy-tools' fake driver have no versions, which it says`()
        async throws
    {
        try await RedfishSubject.emulator.with { driver, bmc async throws in
            let fault = await #expect(throws: PowerFault.self) {
                _ = try await driver.update(from: "http://192.0.2.9/bios.bin", of: bmc)
            }
            #expect(fault?.message.contains("Failed fetching BIOS information") == true)
        }
    }
}

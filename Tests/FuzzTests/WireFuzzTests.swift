import AgentSteps
import AgentSystem
import Basics
import Foundation
import HTTP
import Protocol
import SwiftProtobuf
import Testing

@testable import Agents
@testable import Baremetal
@testable import Telemetry
@testable import Transport

private let session = Data(repeating: 7, count: 16)
private let command = "5f0c6b9e-0000-4000-8000-000000000001"
private let words = [command, "rdo", "s==", "<or>", "<in>", "../", "\u{0}", "http://", "é"]

private func bytes(_ message: some Message) throws -> [UInt8] { try message.serializedBytes() }

private func agentFrame(
    _ sequence: UInt64,
    _ body: WireAgentFrame.OneOf_Body
) -> WireAgentFrame {
    .with {
        $0.version = 1
        $0.session = session
        $0.sequence = sequence
        $0.body = body
    }
}

private func controllerFrame(
    _ sequence: UInt64,
    _ body: WireControllerFrame.OneOf_Body
) -> WireControllerFrame {
    .with {
        $0.version = 1
        $0.session = session
        $0.sequence = sequence
        $0.body = body
    }
}

/// What was read is written and read again without a difference.
private func roundTrip<Value: Message & Equatable>(_ value: Value) throws {
    let again = decode(Value.self, try bytes(value))
    // A number that is not one equals nothing, itself included.
    let isSame = try again.map { try bytes($0) == bytes(value) } ?? false
    try demand(isSame, "the message changes when it is written and read again")
}

private let inventory = WireInventory.with {
    $0.cpu.count = 8
    $0.cpu.modelName = "ACME"
    $0.memory.totalBytes = 1 << 34
    $0.disks = [
        .with {
            $0.name = "/dev/vda"; $0.sizeBytes = 10 << 30
        }
    ]
    $0.interfaces = [
        .with {
            $0.name = "ens3"
            $0.macAddress = "52:54:00:c0:00:01"
            $0.lldp = [
                .with {
                    $0.type = 1; $0.value = Data([4, 1, 2])
                }
            ]
        }
    ]
}

extension Fuzzing {
    struct `Bytes from the network that a daemon decodes` {
        @Test func `frames from an agent`() async throws {
            let samples = try [
                agentFrame(
                    1,
                    .hello(
                        .with {
                            $0.role = .ramdisk; $0.currentCommand = command
                        }
                    )
                ),
                agentFrame(2, .heartbeat(.with { $0.uptimeSeconds = 12.5 })),
                agentFrame(
                    3,
                    .accepted(
                        .with {
                            $0.command = command; $0.attempt = 1
                        }
                    )
                ),
                agentFrame(
                    4,
                    .progress(
                        .with {
                            $0.command = command; $0.phase = "write"; $0.doneBytes = 5
                        }
                    )
                ),
                agentFrame(
                    5,
                    .result(
                        .with {
                            $0.command = command; $0.outcome = .inventory(inventory)
                        }
                    )
                ),
                agentFrame(
                    6,
                    .logLines(
                        .with {
                            $0.command = command; $0.lines = ["one", "two"]
                        }
                    )
                ),
            ].map { try bytes($0) }
            try await Fuzzer("agent-frames", samples, words: words).run { input in
                guard let frame = decode(WireAgentFrame.self, input) else { return .refused }
                try roundTrip(frame)
                try feed(frame)
                return .taken
            }
        }

        /// The controller's half of a session sees the frame before and after the agent said Hello.
        private func feed(_ frame: WireAgentFrame) throws {
            var machine = ControllerSessionMachine(metricSeconds: 10)
            let now = Timestamp(seconds: 1_800_000_000)
            _ = machine.receive(frame, clock: now, at: .zero)
            _ = machine.receive(agentFrame(1, .hello(WireHello())), clock: now, at: .seconds(1))
            _ = machine.order(
                .with {
                    $0.id = command; $0.attempt = 1; $0.inspect = WireInspect()
                },
                at: .seconds(2)
            )
            _ = machine.receive(frame, clock: now, at: .seconds(3))
            if case .result(let result) = frame.body { _ = machine.resultStored(result) }
            let again = machine.receive(frame, clock: now, at: .seconds(4))
            if case .ignored = again { return }
            if case .dismissed = again { return }
            // Only a frame of another session, which then is the live one, may be taken twice.
            try demand(Array(frame.session) != Array(session), "a frame was taken twice")
        }

        @Test func `frames from the controller`() async throws {
            let write = WireWriteImage.with {
                $0.image = "debian"
                $0.baseURL = "https://192.0.2.1:6385/v1/images/x"
                $0.hints.size = ">= 100"
                $0.hints.model = "<in> acme"
            }
            let apply = WireApplyStep.with {
                $0.deployment = command
                $0.hieradata = ["a.yaml": Data([1])]
            }
            let samples = try [
                controllerFrame(1, .welcome(.with { $0.heartbeatSeconds = 10 })),
                controllerFrame(
                    2,
                    .command(
                        .with {
                            $0.id = command; $0.attempt = 2; $0.writeImage = write
                        }
                    )
                ),
                controllerFrame(
                    3,
                    .command(
                        .with {
                            $0.id = command; $0.attempt = 3; $0.applyStep = apply
                        }
                    )
                ),
                controllerFrame(4, .resultStored(.with { $0.command = command })),
                controllerFrame(
                    5,
                    .goodbye(
                        .with {
                            $0.reason = "bye"; $0.enrol = true
                        }
                    )
                ),
                controllerFrame(6, .cancel(.with { $0.command = command })),
            ].map { try bytes($0) }
            let disks = [BlockDevice(path: "/dev/vda", bytes: 1 << 40)]
            try await Fuzzer("controller-frames", samples, words: words).run { input in
                guard let frame = decode(WireControllerFrame.self, input) else { return .refused }
                try roundTrip(frame)
                feed(frame)
                if case .command(let order) = frame.body {
                    // Hints that make no sense are an error, never a disk.
                    _ = try? chooseRootDevice(disks, hints: order.writeImage.hints)
                    _ = HTTPOrigin.parse(order.writeImage.baseURL)
                }
                return .taken
            }
        }

        private func feed(_ frame: WireControllerFrame) {
            var machine = AgentSessionMachine(session: Array(session), hello: WireHello())
            _ = machine.receive(frame, at: .zero)
            machine.admitted(version: 1)
            let hello = machine.connected(uptimeSeconds: 1, at: .seconds(1))
            _ = machine.receive(frame, at: .seconds(2))
            _ = machine.receive(
                controllerFrame(1, .welcome(.with { $0.helloSequence = hello.sequence })),
                at: .seconds(3)
            )
            for second in 4..<8 {
                _ = machine.receive(frame, at: .seconds(second))
                let now = Timestamp(seconds: 1_800_000_000)
                _ = machine.tick(uptimeSeconds: 5, clock: now, at: .seconds(second * 20))
            }
        }

        @Test func `requests to be enrolled`() async throws {
            let key = CurveKeyPair().publicKey
            let request = WireEnrolRequest.with {
                $0.versionMin = 1
                $0.versionMax = 1
                $0.exchange = Data([1, 2, 3])
                $0.role = .ramdisk
                $0.token = Data(repeating: 9, count: 32)
                $0.bootMac = "52:54:00:c0:00:01"
                $0.macs = ["52:54:00:c0:00:01"]
            }
            let samples = [try bytes(request)]
            try await Fuzzer("enrol-requests", samples, words: words).run { input in
                guard let request = decode(WireEnrolRequest.self, input) else { return .refused }
                try roundTrip(request)
                let verdict = EnrolmentRules.judge(
                    request,
                    from: key,
                    token: nil,
                    known: nil,
                    trust: true,
                    at: Timestamp(seconds: 1)
                )
                guard case .refuse = verdict else { throw Violation("admitted without a token") }
                guard EnrolmentRules.precheck(request) == nil else { return .refused }
                try demand(request.token.count == 32, "a token of another length is taken")
                try demand(request.macs.count <= EnrolmentRules.macsMax, "too many MACs are taken")
                return .taken
            }
        }

        @Test func `answers to an enrolment`() async throws {
            let samples = try [
                WireEnrolReply.with {
                    $0.admitted.node = command; $0.admitted.version = 1
                },
                WireEnrolReply.with {
                    $0.refused.code = .token; $0.refused.reason = "no"
                },
            ].map { try bytes($0) }
            try await Fuzzer("enrol-replies", samples, words: words).run { input in
                guard let reply = decode(WireEnrolReply.self, input) else { return .refused }
                try roundTrip(reply)
                return .taken
            }
        }

        @Test func `batches of metrics`() async throws {
            let node = try #require(NodeID(command))
            let batch = WireMetricBatch.with {
                $0.version = 1
                $0.samples = ["load1", "disk_read_bytes_total"].map { name in
                    .with {
                        $0.name = name; $0.instance = "vda"; $0.value = 1.5
                    }
                }
            }
            let board = SampleBoard(time: SystemTime())
            let samples = [try bytes(batch)]
            try await Fuzzer("metric-batches", samples, words: words + ["\"}\n"]).run { input in
                guard let batch = decode(WireMetricBatch.self, input) else { return .refused }
                try roundTrip(batch)
                let taken = board.take(batch, from: node)
                try demand(taken.count <= batch.samples.count, "more was taken than came")
                let points = board.points(of: node)
                try demand(points.count <= SampleBoard.seriesMax, "the board has no bound")
                for (series, point) in points.prefix(20) {
                    let line = series.name + series.instance + Exposition.number(point.value)
                    try demand(!line.contains("\n"), "a sample breaks the exposition's lines")
                }
                return .taken
            }
        }

        @Test func `an inventory becomes a document that can be read`() async throws {
            let samples = [try bytes(inventory)]
            try await Fuzzer("inventories", samples, words: words).run { input in
                guard let read = decode(WireInventory.self, input) else { return .refused }
                let document: JSONValue = [
                    "inventory": read.document, "plugin_data": read.pluginData,
                    "properties": .object(read.properties),
                ]
                let again = try JSONValue(parsing: document.canonicalText.utf8)
                try demand(again == document, "the document changes when it is stored")
                return .taken
            }
        }

        @Test func `a stored progress prints`() async throws {
            let progress = WireProgress.with {
                $0.doneBytes = 1 << 40; $0.totalBytes = .max
            }
            let samples = [try bytes(progress)]
            try await Fuzzer("progress", samples).run { input in
                guard let read = decode(WireProgress.self, input) else { return .refused }
                for bytes in [read.doneBytes, read.totalBytes] {
                    let text = ByteCount(Int64(clamping: bytes)).description
                    try demand(text.utf8.count <= 12, "a size prints as \(text)")
                }
                return .taken
            }
        }
    }
}

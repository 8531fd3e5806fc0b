import Basics
import FoundationEssentials
import Harness
import HostTools

/// How IPA's own code brings the same image to the same disk.
///
/// It fetches without TLS, which is in its favour.
struct IPAWrites {
    let stage: ImageStage
    let options: BenchOptions

    private var script: String { options.repository + "/packaging/bench.d/ipa" }
    private var folder: String { options.repository + "/.build/bench/ipa" }

    /// Installs IPA (once) and writes the image by each of its ways.
    /// - Returns: its version, and its figures beside `image.https`.
    func measure() async throws -> (version: String, comparisons: [Report.Comparison]) {
        let time = SystemTime()
        let prepared = try await Tool.require(
            script,
            ["prepare", folder],
            budget: .seconds(900),
            time: time
        )
        let server = try await serve()
        do {
            var comparisons: [Report.Comparison] = []
            for way in Way.allCases {
                comparisons.append(
                    Report.Comparison(
                        key: "image.https",
                        peer: try await figure(way, port: server.port)
                    )
                )
            }
            try await server.process.kill(time: time)
            return (prepared.output.filter { $0 != "\n" }, comparisons)
        } catch {
            // The first failure is the one to tell.
            try? await server.process.kill(time: time)
            throw error
        }
    }

    private enum Way: String, CaseIterable {
        case cache
        case stream

        var file: String { self == .cache ? "disk.qcow2" : "disk.raw" }
        var words: String { self == .cache ? "qcow2 through its cache" : "raw stream" }
    }

    private func serve() async throws -> (process: BackgroundProcess, port: UInt16) {
        let socket = try ListeningSocket.open("127.0.0.1", port: 0)
        let port = socket.port
        socket.close()
        let process = try BackgroundProcess.start(
            BackgroundProcess.Request(
                "/usr/bin/python3",
                [
                    "-m", "http.server", String(port), "--bind", "127.0.0.1", "--directory",
                    stage.folder,
                ],
                pidFile: stage.folder + "/files.pid",
                logFile: stage.folder + "/files.log"
            )
        )
        try await eventually("the server of files", within: .seconds(30)) {
            // Nothing listens at first.
            let probe = LoadTarget(host: "127.0.0.1", port: port)
            return (try? LoadConnection(probe).ask("GET", "/"))?.status == 200
        }
        return (process, port)
    }

    private func figure(_ way: Way, port: UInt16) async throws -> Figure {
        let time = SystemTime()
        let sum = try await Tool.require(
            "sha512sum",
            [stage.folder + "/" + way.file],
            budget: .seconds(120),
            time: time
        )
        let digest = String(sum.output.prefix(128))
        var values: [Double] = []
        for _ in 0..<options.runs {
            try SampleDisk.soil(stage.disk)
            let url = "http://127.0.0.1:\(port)/\(way.file)"
            let result = try await Tool.require(
                script,
                ["write", folder, way.rawValue, url, digest, stage.disk],
                budget: .seconds(300),
                time: time
            )
            guard let line = result.output.split(separator: "\n").last,
                let seconds = Double(line)
            else {
                throw Fault(.unavailable, "cannot read what IPA's code printed: \(result.output)")
            }
            values.append(seconds)
        }
        guard try SampleDisk.matches(stage.disk, image: stage.raw) else {
            throw Fault(.internalError, "cannot trust IPA's write: the disk differs from the image")
        }
        return Figure("image.ipa.\(way.rawValue)", "IPA: \(way.words)", "s", .lower, values: values)
    }
}

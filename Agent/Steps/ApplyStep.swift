package import AgentSystem
package import Basics
import FoundationEssentials
import Glibc
package import Protocol

/// Where Puppet finds and leaves its files.
package struct PuppetPaths: Sendable {
    /// Directory of the Hiera data; 0700.
    package var hieradata: String
    package var hieraConfiguration: String
    /// Directory of the manifests and the report; 0700.
    package var work: String
    /// Extra arguments, for tests that must not touch the machine's own Puppet.
    package var arguments: [String]

    package init(
        hieradata: String = "/etc/puppet/hieradata",
        hieraConfiguration: String = "/etc/puppet/hiera.yaml",
        work: String = "/var/lib/rdo-agent/puppet",
        arguments: [String] = []
    ) {
        self.hieradata = hieradata
        self.hieraConfiguration = hieraConfiguration
        self.work = work
        self.arguments = arguments
    }
}

/// Writes Hiera data and a manifest and runs `puppet apply` once.
///
/// The step's number is Hiera key `step` in a level above all others, as the overcloud templates of 2015
/// passed it in `heat_config_<name>`. Exit codes 0 and 2 are good; everything else is reported with the
/// resources that failed and their log lines.
package struct ApplyStep: StepRunner {
    private let processes: any ProcessRunner
    private let paths: PuppetPaths
    private let time: any TimeSource

    /// The level that holds `step`.
    private static let stepLevel = "rdo_step"
    /// Console lines that are kept of one run.
    private static let linesMax = 4096

    package init(processes: any ProcessRunner, paths: PuppetPaths, time: any TimeSource) {
        self.processes = processes
        self.paths = paths
        self.time = time
    }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let order = command.applyStep
        let manifest = try write(order)
        report.progress(
            StepProgress(phase: "puppet", text: "puppet apply, step \(order.step)")
        )
        let start = time.elapsed
        let reportFile = "\(paths.work)/report.yaml"
        unlink(reportFile)
        var request = ProcessRequest(
            "puppet",
            [
                "apply", "--detailed-exitcodes", "--hiera_config", paths.hieraConfiguration,
                "--logdest", "console", "--color", "false", "--lastrunreport", reportFile,
            ] + paths.arguments + [manifest],
            budget: .seconds(Int64(max(30, command.budgetSeconds)))
        )
        request.outputBytesMax = 1 << 20
        request.onLine = { report.log([$0]) }
        let result = try await processes.run(request)
        let console = lines(result)
        let outcome = try outcome(
            of: result,
            report: reportFile,
            console: console,
            step: order.step,
            seconds: (time.elapsed - start).inSeconds
        )
        return .stepApplied(outcome)
    }

    // MARK: - Files

    /// Puts everything in its place and takes away Hiera data of earlier steps that is no longer wanted.
    private func write(_ order: WireApplyStep) throws -> String {
        for name in order.hieradata.keys.sorted() + order.hierarchy.map({ $0 + ".yaml" })
        where !Self.isFileName(name) {
            throw StepFailure(
                "cannot write Hiera data “\(name.prefix(80))”: it must be a plain file name",
                retryable: false
            )
        }
        guard Self.isFileName(order.deployment + ".pp") else {
            throw StepFailure(
                "cannot apply a step of deployment “\(order.deployment.prefix(80))”: it is not an identifier",
                retryable: false
            )
        }
        try makeDirectory(paths.hieradata)
        try makeDirectory(paths.work)
        let stepFile = Self.stepLevel + ".yaml"
        for stale in try entries(of: paths.hieradata)
        where order.hieradata[stale] == nil && stale != stepFile {
            unlink("\(paths.hieradata)/\(stale)")
        }
        for (name, content) in order.hieradata.sorted(by: { $0.key < $1.key }) {
            try replaceFile("\(paths.hieradata)/\(name)", with: Array(content), mode: 0o600)
        }
        try replaceFile(
            "\(paths.hieradata)/\(stepFile)",
            with: Array("step: \(order.step)\n".utf8),
            mode: 0o600
        )
        try replaceFile(
            paths.hieraConfiguration,
            with: Array(hieraConfiguration(order).utf8),
            mode: 0o644
        )
        let manifest = "\(paths.work)/\(order.deployment).pp"
        try replaceFile(manifest, with: Array(order.manifest), mode: 0o600)
        return manifest
    }

    /// Hiera 5 (puppet.com, “Hiera configuration file layers”).
    private func hieraConfiguration(_ order: WireApplyStep) -> String {
        let levels = ([Self.stepLevel] + order.hierarchy).map { "      - \"\($0).yaml\"\n" }
        return """
            ---
            # Written by rdo-agent for each step; changes here are lost.
            version: 5
            defaults:
              datadir: "\(paths.hieradata)"
              data_hash: yaml_data
            hierarchy:
              - name: "levels of the deployment"
                paths:
            \(levels.joined())
            """
    }

    private func makeDirectory(_ path: String) throws {
        var ancestor = ""
        for part in path.split(separator: "/") {
            ancestor += "/\(part)"
            if mkdir(ancestor, ancestor == path ? 0o700 : 0o755) != 0, errno != EEXIST {
                throw SystemFailure("make directory \(ancestor)", code: errno)
            }
        }
        guard chmod(path, 0o700) == 0 else {
            throw SystemFailure("set the mode of \(path)", code: errno)
        }
    }

    private func entries(of directory: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    }

    /// A name, never a path: letters, digits, dot, hyphen, underscore; no leading dot.
    static func isFileName(_ name: String) -> Bool {
        guard (1...128).contains(name.utf8.count), name.utf8.first != UInt8(ascii: ".") else {
            return false
        }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
                UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }

    // MARK: - Outcome

    private func lines(_ result: ProcessResult) -> [String] {
        let text = result.outputText + "\n" + result.errorText
        return text.split(separator: "\n").suffix(Self.linesMax).map(String.init)
    }

    private func outcome(
        of result: ProcessResult,
        report path: String,
        console: [String],
        step: UInt32,
        seconds: Double
    ) throws -> WireStepApplied {
        guard case .exited(let code) = result.ending else {
            throw StepFailure(
                "cannot finish Puppet in step \(step): it was ended by signal "
                    + "\(result.exitCode - 128); look for what ended it in the node's own log, then "
                    + "run the step again",
                retryable: true,
                lines: Array(console.suffix(32))
            )
        }
        var applied = WireStepApplied()
        applied.exitCode = UInt32(code)
        applied.seconds = seconds
        let report = readReport(path)
        applied.changedResources = report?.changed ?? 0
        guard code != 0, code != 2 else { return applied }
        applied.failed = (report?.failed ?? []).map { reference in
            var failed = WireFailedResource()
            failed.resource = reference
            failed.lines = puppetLines(about: reference, in: console).map {
                String($0.prefix(1024))
            }
            return failed
        }
        if applied.failed.isEmpty {
            // The manifest or its data did not compile: no resource was reached.
            var failed = WireFailedResource()
            failed.resource = "the catalog"
            failed.lines = console.filter { $0.hasPrefix("Error:") && !$0.contains("Facter:") }
                .suffix(16).map { String($0.prefix(1024)) }
            applied.failed = [failed]
        }
        return applied
    }

    private func readReport(_ path: String) -> PuppetReport? {
        guard let bytes = FileTree().bytes(path, bytesMax: PuppetReport.bytesMax + 1),
            bytes.count <= PuppetReport.bytesMax
        else { return nil }
        return PuppetReport(text: String(decoding: bytes, as: UTF8.self))
    }
}

package import AgentSystem
package import Basics
package import Protocol

/// Writes a step's Hiera data and manifest and applies it with Puppet.
///
/// Hiera data may hold secrets: the files are readable by root only, and neither their content nor the
/// difference between two versions of a file is ever logged.
package struct ApplyStep: StepRunner {
    private static let manifestBytesMax = 1 << 20
    private static let dataBytesMax = 16 << 20
    /// For a command that carries no budget of its own.
    private static let budgetDefault = Duration.seconds(3600)

    private let paths: PuppetPaths
    private let processes: any ProcessRunner
    private let time: any TimeSource
    private let files = PrivateFiles()
    private let tree = FileTree()

    package init(paths: PuppetPaths, processes: any ProcessRunner, time: any TimeSource) {
        self.paths = paths
        self.processes = processes
        self.time = time
    }

    package func run(
        _ command: WireCommand,
        in context: StepContext,
        report: some StepReporter
    ) async throws -> WireCommandResult.OneOf_Outcome {
        let order = command.applyStep
        let manifest: String
        do {
            manifest = try prepare(order)
        } catch let error as SystemFailure {
            throw StepFailure(
                "cannot prepare step \(order.step) on this node: \(error); check the file system",
                retryable: true)
        }
        report.progress(StepProgress(phase: "puppet", text: "step \(order.step)"))
        let start = time.elapsed
        let result = try await puppet(manifest, command, order, report)
        let seconds = (time.elapsed - start).inSeconds
        return .stepApplied(applied(result, seconds))
    }

    // MARK: - Files

    /// Writes everything that Puppet reads; returns the manifest's path.
    private func prepare(_ order: WireApplyStep) throws -> String {
        guard let deployment = DeploymentID(order.deployment) else {
            throw refused(order, "“\(order.deployment.prefix(80))” is no deployment's identifier")
        }
        guard order.manifest.count <= Self.manifestBytesMax,
            order.hieradata.values.reduce(0, { $0 + $1.count }) <= Self.dataBytesMax
        else { throw refused(order, "the manifest or the Hiera data is too long") }
        let hiera: HieraConfiguration
        do throws(HieraConfiguration.Malformed) {
            hiera = try HieraConfiguration(
                step: order.step, data: order.hieradata.mapValues(Array.init),
                hierarchy: order.hierarchy, directory: paths.hieradata)
        } catch {
            throw refused(order, error.reason)
        }
        for directory in [paths.hieradata, paths.manifests, paths.reports] {
            try files.makeDirectory(directory)
        }
        for file in hiera.files {
            try files.write(file.content, to: "\(paths.hieradata)/\(file.name)")
        }
        try files.write(Array(hiera.configuration.utf8), to: paths.hieraConfiguration)
        let manifest = "\(paths.manifests)/\(deployment)-\(order.step).pp"
        try files.write(Array(order.manifest), to: manifest)
        // What an earlier run left must not be taken for this one's.
        try files.remove(reportPath)
        try files.remove(logPath)
        return manifest
    }

    private var reportPath: String { "\(paths.reports)/last_run_report.yaml" }
    private var logPath: String { "\(paths.reports)/last_run_log.json" }

    private func refused(_ order: WireApplyStep, _ reason: String) -> StepFailure {
        StepFailure(
            "cannot apply step \(order.step): \(reason); change the deployment's Hiera data or "
                + "manifests",
            retryable: false)
    }

    // MARK: - Puppet

    private func puppet(
        _ manifest: String,
        _ command: WireCommand,
        _ order: WireApplyStep,
        _ report: some StepReporter
    ) async throws -> ProcessResult {
        let budget: Duration =
            command.budgetSeconds > 0
            ? .seconds(Int64(command.budgetSeconds)) : Self.budgetDefault
        let request = ProcessRequest(
            paths.puppet,
            ["apply"] + paths.arguments + [
                "--detailed-exitcodes", "--hiera_config", paths.hieraConfiguration,
                "--lastrunreport", reportPath, "--logdest", "console,\(logPath)",
                "--color", "false", "--no-show_diff", manifest,
            ],
            budget: budget,
            outputBytesMax: 64 << 10,
            onLine: { line in report.log([line]) })
        do {
            return try await processes.run(request)
        } catch let fault as Fault where fault.kind == .notFound {
            throw StepFailure(
                "cannot apply step \(order.step): Puppet is not installed on this node; use an "
                    + "image that has it",
                detail: fault.report, retryable: false)
        } catch let fault as Fault where fault.kind == .timeout {
            throw StepFailure(
                "cannot apply step \(order.step): Puppet was stopped after \(budget); give the "
                    + "step more time or see which resource hangs",
                detail: fault.report, retryable: true, lines: lastLines())
        }
    }

    private func applied(_ result: ProcessResult, _ seconds: Double) -> WireStepApplied {
        let report = read()
        var applied = WireStepApplied()
        applied.exitCode = UInt32(clamping: result.exitCode)
        applied.changedResources = UInt32(clamping: report.changed)
        applied.seconds = seconds
        guard ![0, 2].contains(result.exitCode) else { return applied }
        applied.failed = report.failed.map { failed in
            var wire = WireFailedResource()
            wire.resource = failed.resource
            wire.lines = failed.lines
            return wire
        }
        // Without a failed resource the run itself failed: the manifest does not compile, for instance.
        if applied.failed.isEmpty {
            var wire = WireFailedResource()
            wire.resource = "the catalog"
            wire.lines = report.otherErrors
            if wire.lines.isEmpty { wire.lines = lines(of: result.errorText) }
            applied.failed = [wire]
        }
        return applied
    }

    private func read() -> PuppetReport {
        PuppetReport(
            report: tree.bytes(reportPath, bytesMax: PuppetReport.statusBytesMax) ?? [],
            log: tree.bytes(logPath, bytesMax: PuppetReport.logBytesMax) ?? [])
    }

    private func lastLines() -> [String] { read().otherErrors }

    private func lines(of text: String) -> [String] {
        text.split(separator: "\n").suffix(PuppetReport.linesMax).map {
            String(decoding: $0.utf8.prefix(PuppetReport.lineBytesMax), as: UTF8.self)
        }
    }
}

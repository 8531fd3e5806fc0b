import AgentSteps
import AgentSystem
import Basics
import Foundation
import Protocol
import Testing

/// Starts a program of the test's own where the step asks for `puppet`.
private struct PuppetDouble: ProcessRunner {
    let program: String
    private let processes = SystemProcesses(grace: .milliseconds(50))

    init(program: String) { self.program = program }

    func locate(_ program: String) -> String? { self.program }

    func run(_ request: ProcessRequest) async throws -> ProcessResult {
        guard request.program == "puppet" else {
            throw Fault(.notFound, "cannot run \(request.program): only puppet is expected")
        }
        var request = request
        request.program = program
        return try await processes.run(request)
    }
}

/// A node of its own: directories, and a program that does what a test wants of Puppet.
private struct PuppetRig {
    let scratch: Scratch
    let paths: PuppetPaths
    private let program: String

    /// `body`: what the program does after it noted its arguments; `$report` is the report's path.
    init(_ body: String) throws {
        scratch = try Scratch()
        paths = PuppetPaths(
            hieradata: "\(scratch.path)/hieradata",
            hieraConfiguration: "\(scratch.path)/hiera.yaml",
            work: "\(scratch.path)/work"
        )
        program = try scratch.file(
            "puppet",
            """
            #!/bin/sh
            printf '%s\\n' "$@" > \(scratch.path)/arguments
            report=\(scratch.path)/work/report.yaml
            \(body)
            """,
            mode: 0o700
        )
    }

    func apply(
        _ order: WireApplyStep,
        budget: UInt32 = 60,
        ear: Ear = Ear()
    ) async throws -> WireStepApplied {
        var command = WireCommand()
        command.budgetSeconds = budget
        command.applyStep = order
        let step = ApplyStep(
            processes: PuppetDouble(program: program),
            paths: paths,
            time: LeapingTime()
        )
        guard
            case .stepApplied(let applied) = try await step.run(
                command,
                in: noContext,
                report: ear
            )
        else { throw StepFailure("cannot test: another outcome", retryable: false) }
        return applied
    }
}

private func order(_ change: (inout WireApplyStep) -> Void = { _ in }) -> WireApplyStep {
    var order = WireApplyStep()
    order.deployment = "5f0c6b9e-0000-4000-8000-000000000001"
    order.step = 3
    order.hieradata = ["controller.yaml": Data("a: 1\n".utf8), "common.yaml": Data("b: 2\n".utf8)]
    order.hierarchy = ["controller", "common"]
    order.manifest = Data("notify { 'x': }\n".utf8)
    change(&order)
    return order
}

/// A report with one resource that failed, one that changed and one that did neither.
private let report = """
    cat > "$report" <<'END'
    --- !ruby/object:Puppet::Transaction::Report
    status: failed
    resource_statuses:
      Service[httpd]:
        resource: Service[httpd]
        failed: true
        changed: false
      File[/tmp/a]:
        resource: File[/tmp/a]
        failed: false
        changed: true
      File[/tmp/b]:
        resource: File[/tmp/b]
        failed: false
        changed: false
    cached_catalog_status: not_used
    END
    """

struct `One run of Puppet` {
    @Test(arguments: [UInt32(0), 2])
    func `is good with exit code`(code: UInt32) async throws {
        let applied = try await PuppetRig("\(report)\nexit \(code)").apply(order())
        #expect(applied.exitCode == code)
        #expect(applied.failed.isEmpty)
        #expect(applied.changedResources == 1)
    }

    @Test(arguments: [UInt32(1), 4, 6])
    func `tells with any other code which resource failed and why`(code: UInt32) async throws {
        let applied = try await PuppetRig(
            """
            \(report)
            echo "Notice: /Stage[main]/Main/File[/tmp/a]/ensure: created"
            echo "Error: /Stage[main]/Main/Service[httpd]/ensure: change from 'stopped' to 'running' failed" >&2
            exit \(code)
            """
        ).apply(order())
        #expect(applied.exitCode == code)
        #expect(applied.failed.map(\.resource) == ["Service[httpd]"])
        #expect(
            applied.failed.first?.lines == [
                "Error: /Stage[main]/Main/Service[httpd]/ensure: change from 'stopped' to 'running' failed"
            ]
        )
    }

    @Test func `that reaches no resource blames the catalog`() async throws {
        let applied = try await PuppetRig(
            """
            echo "Error: Facter: error while resolving" >&2
            echo "Error: Evaluation Error: Unknown variable: 'x' (file: /a.pp, line: 1)" >&2
            exit 1
            """
        ).apply(order())
        #expect(applied.failed.map(\.resource) == ["the catalog"])
        #expect(
            applied.failed.first?.lines
                == ["Error: Evaluation Error: Unknown variable: 'x' (file: /a.pp, line: 1)"]
        )
    }

    @Test func `that is killed is a failure and names the signal`() async throws {
        let rig = try PuppetRig("echo 'Error: out of memory' >&2\nkill -KILL $$")
        let failure = await #expect(throws: StepFailure.self) { try await rig.apply(order()) }
        #expect(
            failure?.message == "cannot finish Puppet in step 3: it was ended by signal 9; "
                + "look for what ended it in the node's own log, then run the step again"
        )
        #expect(failure?.retryable == true)
        #expect(failure?.lines == ["Error: out of memory"])
    }

    @Test func `never takes the report of the run before`() async throws {
        let rig = try PuppetRig(
            """
            if [ -e \"$report\" ]; then exit 9; fi
            if [ -e \"$report.once\" ]; then exit 1; fi
            touch \"$report.once\"
            \(report)
            exit 4
            """
        )
        #expect(try await rig.apply(order()).failed.map(\.resource) == ["Service[httpd]"])
        let second = try await rig.apply(order())
        #expect(second.exitCode == 1)
        #expect(second.failed.map(\.resource) == ["the catalog"])
    }

    @Test(arguments: ["/dev/zero", "/nonexistent", "/proc/self/mem"])
    func `ignores a report that is no small file`(target: String) async throws {
        let rig = try PuppetRig("ln -sf \(target) \"$report\"\nexit 2")
        let applied = try await rig.apply(order())
        #expect(applied.exitCode == 2)
        #expect(applied.changedResources == 0)
    }

    @Test func `gets an argument vector and each value in its place`() async throws {
        let rig = try PuppetRig("exit 0")
        let ear = Ear()
        _ = try await rig.apply(order(), ear: ear)
        #expect(
            rig.scratch.text("arguments").split(separator: "\n").map(String.init) == [
                "apply", "--detailed-exitcodes", "--hiera_config", rig.paths.hieraConfiguration,
                "--logdest", "console", "--color", "false", "--lastrunreport",
                "\(rig.paths.work)/report.yaml",
                "\(rig.paths.work)/5f0c6b9e-0000-4000-8000-000000000001.pp",
            ]
        )
        #expect(ear.phases == ["puppet"])
    }

    @Test func `is heard line by line`() async throws {
        let ear = Ear()
        let rig = try PuppetRig("echo one\necho two >&2\nexit 0")
        _ = try await rig.apply(order(), ear: ear)
        #expect(Set(ear.lines) == ["one", "two"])
    }
}

struct `The files of a configuration step` {
    @Test func `are readable by nobody else`() async throws {
        let rig = try PuppetRig("exit 0")
        _ = try await rig.apply(order())
        #expect(rig.scratch.mode(of: "hieradata") == 0o700)
        #expect(rig.scratch.mode(of: "work") == 0o700)
        #expect(rig.scratch.mode(of: "hieradata/controller.yaml") == 0o600)
        let manifest = "work/5f0c6b9e-0000-4000-8000-000000000001.pp"
        #expect(rig.scratch.mode(of: manifest) == 0o600)
        #expect(rig.scratch.text(manifest) == "notify { 'x': }\n")
    }

    @Test func `put the step's number above all other levels`() async throws {
        let rig = try PuppetRig("exit 0")
        _ = try await rig.apply(order())
        #expect(rig.scratch.text("hieradata/rdo_step.yaml") == "step: 3\n")
        #expect(
            rig.scratch.text("hiera.yaml").hasSuffix(
                """
                hierarchy:
                  - name: "levels of the deployment"
                    paths:
                      - "rdo_step.yaml"
                      - "controller.yaml"
                      - "common.yaml"

                """
            )
        )
    }

    @Test func `of data that is no longer wanted go away`() async throws {
        let rig = try PuppetRig("exit 0")
        _ = try await rig.apply(order())
        _ = try await rig.apply(
            order {
                $0.step = 4
                $0.hieradata = ["common.yaml": Data("b: 3\n".utf8)]
            }
        )
        #expect(rig.scratch.names(in: "hieradata") == ["common.yaml", "rdo_step.yaml"])
        #expect(rig.scratch.text("hieradata/common.yaml") == "b: 3\n")
        #expect(rig.scratch.text("hieradata/rdo_step.yaml") == "step: 4\n")
    }

    @Test func `of the data cannot pretend to be the step's number`() async throws {
        let rig = try PuppetRig("exit 0")
        _ = try await rig.apply(
            order { $0.hieradata["rdo_step.yaml"] = Data("step: 99\n".utf8) }
        )
        #expect(rig.scratch.text("hieradata/rdo_step.yaml") == "step: 3\n")
    }

    private static let paths = [
        "../outside.yaml", "/etc/passwd", "a/b.yaml", ".hidden", "", "a b.yaml", "a\n.yaml",
        "a\u{0}.yaml", "é.yaml", "..", String(repeating: "a", count: 129),
        "x.yaml\"\n      - \"/etc/shadow",
    ]

    @Test(arguments: paths)
    func `have names and never paths`(name: String) async throws {
        let rig = try PuppetRig("exit 0")
        let orders = [
            order { $0.hieradata[name] = Data() }, order { $0.deployment = name },
            order { $0.hierarchy = [name] },
        ]
        for order in orders {
            let failure = await #expect(throws: StepFailure.self) { try await rig.apply(order) }
            #expect(failure?.retryable == false)
        }
        #expect(rig.scratch.names(in: "") == ["puppet"])
    }

    @Test func `are not written through a link that somebody left there`() async throws {
        let rig = try PuppetRig("exit 0")
        let victim = try rig.scratch.file("victim", "precious")
        _ = try await rig.apply(order())
        let places = ["hieradata/common.yaml", "hiera.yaml"]
        for place in places {
            try FileManager.default.removeItem(atPath: "\(rig.scratch.path)/\(place)")
            try FileManager.default.createSymbolicLink(
                atPath: "\(rig.scratch.path)/\(place)",
                withDestinationPath: victim
            )
        }
        _ = try await rig.apply(order())
        #expect(rig.scratch.text("victim") == "precious")
        #expect(rig.scratch.text("hieradata/common.yaml") == "b: 2\n")
    }
}

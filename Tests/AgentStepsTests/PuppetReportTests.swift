import AgentSteps
import Basics
import Testing

/// What Puppet 7 writes, cut down to a resource that failed with a long name and one that was restarted
/// in vain.
private let sample = """
    --- !ruby/object:Puppet::Transaction::Report
    host: c0
    time: '2026-11-23T02:44:27.000000000+00:00'
    configuration_version: 1795403067
    report_format: 12
    puppet_version: 7.23.0
    status: failed
    logs:
    - level: err
      message: 'change from "stopped" to "running" failed'
      source: "/Stage[main]/Main/Service[httpd]/ensure"
      tags:
      - service
    metrics:
      resources:
        name: resources
        label: Resources
        values:
        - - failed
          - Failed
          - 1
    resource_statuses:
      File[/tmp/step-demo]:
        title: "/tmp/step-demo"
        resource: File[/tmp/step-demo]
        containment_path:
        - Stage[main]
        - Main
        - "failed: true"
        failed: false
        failed_to_restart: false
        changed: true
        events:
        - audited: false
          property: ensure
          message: created
          failed: true
      ? Exec[a command with a name that is too long for a simple key and therefore begins with a question mark, as YAML demands beyond 128 characters]
      : title: a command
        resource: "Exec[a command]"
        failed: true
        failed_to_restart: false
        changed: false
      Service[httpd]:
        resource: Service[httpd]
        failed: false
        failed_to_restart: true
        changed: false
    corrective_change: false
      Late[not in the section]:
        resource: Late[x]
        failed: true
    """

struct `A report of Puppet` {
    @Test func `names what failed and counts what changed`() {
        let report = PuppetReport(text: sample)
        #expect(report.total == 3)
        #expect(report.changed == 1)
        #expect(report.failed == ["Exec[a command]", "Service[httpd]"])
    }

    @Test func `cut anywhere tells no more than the whole`() {
        for count in stride(from: 0, to: sample.count, by: 3) {
            let report = PuppetReport(text: sample.prefix(count))
            #expect(report.total <= 4)
            #expect(report.failed.count <= 2)
        }
    }

    @Test func `lists a bounded number of failures with bounded names`() {
        let long = String(repeating: "x", count: 10_000)
        var text = "resource_statuses:\n"
        for number in 0..<200 {
            text += "  R\(number):\n    resource: R\(number)\(long)\n    failed: true\n"
        }
        let report = PuppetReport(text: text)
        #expect(report.total == 200)
        #expect(report.failed.count == PuppetReport.failedMax)
        #expect(report.failed.allSatisfy { $0.count == 256 })
    }

    @Test(arguments: ["", "---", "\n\n\n", "resource_statuses:", "resource_statuses:\n  :", "\0\0"])
    func `without resources is empty`(text: String) {
        let report = PuppetReport(text: text)
        #expect(report.failed.isEmpty)
        #expect(report.changed == 0)
    }

    @Test func `gives a failed resource without a name one`() {
        let report = PuppetReport(text: "resource_statuses:\n  A:\n    failed: true\n")
        #expect(report.failed == ["a resource without a name"])
    }

    @Test func `is explained by the console's own lines`() {
        let console =
            ["Info: Service[httpd] is looked at", "Error: /Stage[main]/Service[httpd]: no"]
            + (0..<40).map { "Notice: Service[httpd] line \($0)" }
        let lines = puppetLines(about: "Service[httpd]", in: console)
        #expect(lines.count == 16)
        #expect(lines.last == "Notice: Service[httpd] line 39")
        #expect(puppetLines(about: "Service[other]", in: console).isEmpty)
    }
}

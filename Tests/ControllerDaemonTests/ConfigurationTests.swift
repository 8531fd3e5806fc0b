import Basics
import ControllerDaemon
import FoundationEssentials
import Testing

@Suite struct ConfigurationTests {
    private func configuration(
        flags: [String] = [],
        environment: [String: String] = [:],
        file: String? = nil
    ) throws -> ControllerConfiguration {
        try ControllerConfiguration(
            ConfigurationSources(
                flags: flags,
                environment: environment,
                file: file,
                path: "controller.yaml"
            )
        )
    }

    @Test func `without anything every key has its default`() throws {
        let configuration = try configuration()
        #expect(configuration.api.port == 6385)
        #expect(configuration.boot.port == 8088)
        #expect(configuration.stateDirectory == "/var/lib/rdo")
        #expect(configuration.identity.tokenLifetime == .seconds(3600))
        #expect(!configuration.agents.trustsFirstBoot)
    }

    @Test func `a flag counts before a variable and a variable before the file`() throws {
        let file = "api:\n  port: 1001\nboot:\n  port: 1002\ndhcp: {start: 192.0.2.7}\n"
        let variables = ["RDO_API_PORT": "2001", "RDO_BOOT_PORT": "2002", "HOME": "/root"]
        let configuration = try configuration(
            flags: ["api.port=3001"],
            environment: variables,
            file: file
        )
        #expect(configuration.api.port == 3001)
        #expect(configuration.boot.port == 2002)
        #expect(configuration.boot.rangeStart == "192.0.2.7")
    }

    @Test(arguments: [
        (
            "api:\n  prot: 1\n",
            "cannot use the key “api.prot” (controller.yaml:2): there is none; did you mean “api.port”?"
        ),
        ("logs:\n  level: info\n", "cannot use the key “logs” (controller.yaml:1)"),
        ("api: 3\n", "cannot use the key “api” (controller.yaml:1)"),
        (
            "api:\n  port: 70000\n",
            "cannot use “70000” for api.port (controller.yaml:2): it must be a whole number from 1 to 65535 (TCP port)"
        ),
        ("api:\n  port: [1, 2]\n", "cannot use api.port (controller.yaml:2): it must be one value"),
        ("log: {level: loud}\n", "it must be one of trace, debug"),
        ("boot: {address: boot.example}\n", "it must be an IPv4 address"),
        ("boot: {discovery: maybe}\n", "it must be true or false"),
        ("state_directory: here\n", "it must be an absolute path"),
        ("api: {public_url: http://x}\n", "it must be an https address"),
        ("boot: {port: 6385}\n", "cannot use port 6385 for boot.port: api.port has it"),
        ("- api\n", "it holds no keys"),
        ("api: {port: 1", "it is not YAML"),
    ])
    func `a mistake in the file is named with key and line`(file: String, message: String) {
        let fault = #expect(throws: Fault.self) { try configuration(file: file) }
        #expect(fault?.message.contains(message) == true, "\(fault?.message ?? "")")
    }

    @Test func `an unknown flag or variable is refused with the nearest one`() {
        let flag = #expect(throws: Fault.self) { try configuration(flags: ["api.prt=1"]) }
        #expect(
            flag?.message
                == "cannot use the key “api.prt” (--set): there is none; did you mean “api.port”?"
        )
        let variable = #expect(throws: Fault.self) {
            try configuration(environment: ["RDO_API_PRT": "1"])
        }
        #expect(variable?.message.contains("did you mean “RDO_API_PORT”?") == true)
        #expect(throws: Fault.self) { try configuration(flags: ["api.port"]) }
    }

    @Test func `every default is allowed and every key has a comment`() {
        for setting in Setting.all {
            #expect(setting.problem(with: setting.standard) == nil, "\(setting.key)")
            #expect(setting.comment.hasSuffix("."), "\(setting.key)")
        }
        #expect(Set(Setting.all.map(\.key)).count == Setting.all.count)
        #expect(Set(Setting.all.map(\.variable)).count == Setting.all.count)
    }

    @Test func `the sample file in packaging is the generated one`() throws {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let data = try #require(
            FileManager.default.contents(atPath: root + "/packaging/controller.sample.yaml")
        )
        #expect(String(decoding: data, as: UTF8.self) == SampleConfiguration.text)
    }

    @Test func `the sample file is valid, also with every line in force`() throws {
        let all = SampleConfiguration.text.split(separator: "\n")
            .filter { $0.hasPrefix("#") && !$0.dropFirst().drop { $0 == " " }.hasPrefix("#") }
            .dropFirst(3).map { $0.dropFirst() }.joined(separator: "\n")
        #expect(try configuration(file: SampleConfiguration.text) == configuration())
        #expect(try configuration(file: all) == configuration())
    }
}

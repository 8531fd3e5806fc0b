import Basics
import CommandLine
import Testing

@Suite struct NodeFileTests {
    private let machine = """
        {"pm_type": "pxe_ipmitool", "mac": ["FA:16:3E:2A:0E:36"], "cpu": "2", "memory": 4096,
         "disk": "40", "arch": "x86_64", "pm_user": "admin", "pm_password": "password",
         "pm_addr": "10.0.0.8", "name": "c0"}
        """

    @Test(arguments: [#"{"nodes": [MACHINE], "host-ip": "10.0.0.1"}"#, "[MACHINE]"])
    func `both forms of an instackenv file are read`(form: String) throws {
        let text = form.split(separator: "MACHINE", omittingEmptySubsequences: false)
            .joined(separator: machine)
        let file = try NodeFile(text: text, path: "instackenv.json")
        #expect(file.problems == [])
        let entry = try #require(file.entries.first)
        #expect(entry.name == "c0")
        #expect(entry.macs == ["fa:16:3e:2a:0e:36"])
        #expect(entry.password == Secret("password"))
        #expect(
            entry.properties == [
                "cpus": "2", "memory_mb": "4096", "local_gb": "40", "cpu_arch": "x86_64",
            ]
        )
    }

    @Test func `rows of a CSV file are read`() throws {
        let text = """
            pm_type,pm_addr,pm_user,pm_password,mac
            ipmi,10.0.0.8,admin,one,52:54:00:00:00:01
            ipmi, 10.0.0.9, admin, two, 52:54:00:00:00:02
            """
        let file = try NodeFile(text: text, path: "nodes.csv")
        #expect(file.entries.map(\.address) == ["10.0.0.8", "10.0.0.9"])
        #expect(file.entries.map(\.macs) == [["52:54:00:00:00:01"], ["52:54:00:00:00:02"]])
    }

    @Test(arguments: [
        (#"{"pm_type": "pxe_ssh", "pm_addr": "10.0.0.8"}"#, "pm_type “pxe_ssh” is not supported"),
        (#"{"pm_user": "admin"}"#, "pm_addr, the address of its BMC, is missing"),
        (#"{"pm_addr": "10.0.0.8"}"#, "pm_user, the user of its BMC, is missing"),
        (
            #"{"pm_addr": "10.0.0.8", "pm_user": "a"}"#,
            "pm_password, the password of its BMC, is missing"
        ),
        (
            #"{"pm_addr": "10.0.0.8", "pm_user": "a", "pm_password": "b"}"#,
            "mac, the address of its boot interface, is missing"
        ),
        (
            #"{"pm_addr": "10.0.0.8", "pm_user": "a", "pm_password": "b", "mac": ["52:54"]}"#,
            "“52:54” is not a MAC address"
        ),
    ])
    func `a machine that cannot be imported is named with the reason`(
        machine: String,
        reason: String
    ) throws {
        let file = try NodeFile(text: "[\(machine)]", path: "instackenv.json")
        #expect(file.entries.isEmpty)
        #expect(file.problems.count == 1)
        #expect(file.problems.first?.hasPrefix("cannot import node ") == true)
        #expect(file.problems.first?.contains(reason) == true)
    }

    @Test func `one bad machine does not stop the others`() throws {
        let file = try NodeFile(text: #"[{"pm_type": "x"}, \#(machine)]"#, path: "instackenv.json")
        #expect(file.entries.count == 1)
        #expect(file.problems.count == 1)
    }

    @Test func `two machines with one BMC or one MAC are refused`() throws {
        let file = try NodeFile(text: "[\(machine), \(machine)]", path: "instackenv.json")
        #expect(file.entries.count == 1)
        #expect(
            file.problems == [
                "cannot import node c0: BMC 10.0.0.8 port 623 belongs to node c0 already"
            ]
        )
    }

    @Test(arguments: ["", "{}", "[]", "{\"nodes\": 3}", "[", "a,b"])
    func `a file without machines is refused`(text: String) {
        let fault = #expect(throws: Fault.self) { try NodeFile(text: text, path: "x.json") }
        #expect(fault?.message.hasPrefix("cannot import x.json: ") == true)
    }
}

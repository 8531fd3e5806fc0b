import Testing

@testable import AgentSystem

struct `Time servers of an installed node` {
    @Test func `are written where the time service looks`() throws {
        let tree = try TemporaryTree()
        try Systemd.setTimeServers(["192.0.2.1", "ntp.example.org"], root: tree.root)
        #expect(
            tree.tree.lines("/etc/systemd/timesyncd.conf.d/rdo.conf")
                == ["[Time]", "NTP=192.0.2.1 ntp.example.org"]
        )
    }

    @Test func `leave everything as it is when there are none`() throws {
        let tree = try TemporaryTree()
        try Systemd.setTimeServers([], root: tree.root)
        #expect(!tree.tree.exists("/etc"))
    }

    @Test(arguments: ["a b", "x\n[Other]", "", "a=b", String(repeating: "a", count: 254)])
    func `that are no names are left out`(server: String) {
        #expect(Systemd.timeConfiguration([server]).isEmpty)
        #expect(Systemd.timeConfiguration([server, "fd00::1"]) == "[Time]\nNTP=fd00::1\n")
    }
}

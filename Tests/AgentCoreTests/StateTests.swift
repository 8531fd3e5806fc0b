import AgentSystem
import Basics
import Glibc
import Protocol
import Testing
import Transport

@testable import AgentCore

private let key = CurveKeyPair().publicKey.z85

private func json(
    address: String = "192.0.2.1",
    key: String = key,
    token: String = "",
    more: String = ""
) -> [UInt8] {
    let escaped = key.map { $0 == "\\" || $0 == "\"" ? "\\\($0)" : "\($0)" }.joined()
    return Array(
        """
        {"address":"\(address)","enrolment_port":5601,"control_port":5602,"telemetry_port":5603,
         "curve_key":"\(escaped)","token":"\(token)","boot_mac":"52:54:00:C0:00:01"\(more)}
        """.utf8
    )
}

/// Thirty-two bytes of 7.
private let token = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="

struct `The connection file` {
    @Test func `is read as the controller writes it`() throws {
        let file = try ConnectionFile(
            json: json(token: token, more: ",\"role\":\"ramdisk\",\"future\":[1]"),
            name: "f"
        )
        #expect(file.address == "192.0.2.1")
        #expect(file.enrolmentPort == 5601)
        #expect(file.controllerKey.z85 == key)
        #expect(file.token == Secret(bytes: [UInt8](repeating: 7, count: 32)))
        #expect(file.bootMAC == "52:54:00:c0:00:01")
    }

    @Test func `an overwritten token is none`() throws {
        let zeros = String(repeating: "A", count: 43) + "="
        #expect(try ConnectionFile(json: json(token: zeros), name: "f").token.isEmpty)
    }

    @Test func `is kept without its token`() throws {
        var file = try ConnectionFile(json: json(token: token), name: "f")
        let kept = try ConnectionFile(json: file.jsonWithoutToken, name: "f")
        file.token = Secret("")
        #expect(kept == file)
    }

    @Test(arguments: [
        [], Array("{}".utf8), Array("[1]".utf8), json(address: "example.com"),
        json(address: "1;tcp://x"), json(address: ""), json(key: "short"), json(token: "AAAA"),
        json() + [UInt8](repeating: 0x20, count: ConnectionFile.bytesMax),
    ])
    func `is refused when anything in it is wrong`(bytes: [UInt8]) {
        let fault = #expect(throws: Fault.self) { try ConnectionFile(json: bytes, name: "f") }
        #expect(fault?.message.hasPrefix("cannot read f: ") == true)
    }
}

struct `The kernel's command line` {
    @Test(arguments: [
        ("console=ttyS0 BOOTIF=01-52-54-00-C0-00-01 quiet", "52:54:00:c0:00:01"),
        ("BOOTIF=52:54:00:c0:00:01", "52:54:00:c0:00:01"), ("", ""), ("BOOTIF=", ""),
        ("BOOTIF=-", ""), ("BOOTIF=----", ""),
        ("BOOTIF=01-52-54-00-c0-00", ""), ("BOOTIF=01-52-54-00-c0-00-0g", ""),
        ("XBOOTIF=01-52-54-00-c0-00-01", ""),
    ])
    func `names the boot interface`(line: String, mac: String) {
        #expect(bootMACOfCommandLine(line) == mac)
    }
}

struct `What an installed node keeps` {
    private func directory() throws -> String {
        var template = Array("/tmp/agent-state-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private func remove(_ directory: String) {
        for name in FileTree().names(in: directory) { unlink("\(directory)/\(name)") }
        rmdir(directory)
    }

    @Test func `is the same key at every start, readable only by its owner`() throws {
        let directory = try directory()
        defer { remove(directory) }
        let keys = try NodeState(directory: directory).keys()
        #expect(try NodeState(directory: directory).keys() == keys)
        var facts = stat()
        #expect(stat("\(directory)/key", &facts) == 0)
        #expect(facts.st_mode & 0o777 == 0o600)
    }

    @Test func `a damaged key is not replaced behind the operator's back`() throws {
        let directory = try directory()
        defer { remove(directory) }
        try replaceFile("\(directory)/key", with: Array("damaged".utf8), mode: 0o600)
        #expect(throws: Fault.self) { try NodeState(directory: directory).keys() }
    }

    @Test func `survives a restart, without the token`() throws {
        let directory = try directory()
        defer { remove(directory) }
        let state = NodeState(directory: directory)
        #expect(state.connection() == nil)
        #expect(state.admission() == nil)
        let admission = Admission(
            version: 1,
            node: "n",
            certificateAuthority: "PEM",
            timeServers: ["192.0.2.1"]
        )
        try state.keep(admission, ConnectionFile(json: json(token: token), name: "f"))
        let again = NodeState(directory: directory)
        #expect(again.admission() == admission)
        #expect(again.connection()?.address == "192.0.2.1")
        #expect(again.connection()?.token.isEmpty == true)
        let text = FileTree().text("\(directory)/connection.json") ?? ""
        #expect(!text.contains("BwcH"))
    }

    @Test func `a journal gives back what was saved last, and nothing when damaged`() throws {
        let directory = try directory()
        defer { remove(directory) }
        let journal = FileJournal(path: "\(directory)/journal")
        #expect(journal.load() == nil)
        var result = WireCommandResult()
        result.command = Bench.id(1)
        result.attempt = 2
        result.failure.message = "cannot"
        try journal.save(result)
        result.attempt = 3
        try journal.save(result)
        #expect(FileJournal(path: "\(directory)/journal").load() == result)
        try replaceFile("\(directory)/journal", with: [0xff, 0xff, 0xff], mode: 0o600)
        #expect(journal.load() == nil)
    }
}

import Basics
import Foundation
import Glibc
import Store
import Testing

@Suite struct SealerTests {
    private let sealer = Sealer(key: Secret(bytes: Array(repeating: 7, count: 32)))

    @Test(arguments: ["", "calvin", String(repeating: "ü", count: 500)])
    func `what was sealed is opened`(text: String) throws {
        let sealed = try sealer.seal(Secret(text), for: "node/1/password")
        #expect(try sealer.open(sealed, for: "node/1/password") == Secret(text))
        #expect(text.isEmpty || !String(decoding: sealed, as: UTF8.self).contains(text))
    }

    @Test func `sealing twice gives other bytes`() throws {
        let first = try sealer.seal(Secret("x"), for: "p")
        let second = try sealer.seal(Secret("x"), for: "p")
        #expect(first != second)
    }

    @Test func `a sealed secret does not open at another place`() throws {
        let sealed = try sealer.seal(Secret("x"), for: "node/1/password")
        #expect(throws: Fault.self) { try sealer.open(sealed, for: "node/2/password") }
    }

    @Test func `a sealed secret does not open with another key`() throws {
        let other = Sealer(key: Secret(bytes: Array(repeating: 8, count: 32)))
        let sealed = try sealer.seal(Secret("x"), for: "p")
        #expect(throws: Fault.self) { try other.open(sealed, for: "p") }
    }

    @Test func `a changed bit is noticed`() throws {
        let sealed = try sealer.seal(Secret("secret"), for: "p")
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 1
            #expect(throws: Fault.self) { try sealer.open(changed, for: "p") }
        }
        for count in 0..<sealed.count {
            #expect(throws: Fault.self) { try sealer.open(Array(sealed[..<count]), for: "p") }
        }
    }
}

@Suite struct StateLockTests {
    @Test func `a state directory has one user at a time`() throws {
        var template = Array("/tmp/rdo-lock-XXXXXX".utf8CString)
        let path = String(cString: try #require(mkdtemp(&template)))
        defer { _ = try? FileManager.default.removeItem(atPath: path) }  // best effort in a test
        var first: StateLock? = try StateLock(directory: path)
        let fault = #expect(throws: Fault.self) { try StateLock(directory: path) }
        #expect(fault?.kind == .conflict)
        #expect(fault?.message.contains(path) == true)
        withExtendedLifetime(first) {}
        first = nil
        _ = try StateLock(directory: path)
        #expect(throws: Fault.self) { try StateLock(directory: path + "/missing") }
    }
}

@Suite struct KeyFileTests {
    private func withDirectory(_ body: (String) throws -> Void) throws {
        var template = Array("/tmp/rdo-key-XXXXXX".utf8CString)
        let path = String(cString: try #require(mkdtemp(&template)))
        defer { _ = try? FileManager.default.removeItem(atPath: path) }  // best effort in a test
        try body(path)
    }

    @Test func `a key that was made is read, and only by its owner`() throws {
        try withDirectory { directory in
            let path = directory + "/key"
            let key = Secret(bytes: Array(0..<32))
            #expect(try KeyFile.readOrCreate(path) { key } == key)
            #expect(try KeyFile.readOrCreate(path) { Secret("other") } == key)
            var status = stat()
            #expect(stat(path, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
            _ = try Sealer(keyFile: path)
        }
    }

    @Test(arguments: [0o644, 0o640, 0o604, 0o660, 0o610] as [mode_t])
    func `a key that others could read is refused`(mode: mode_t) throws {
        try withDirectory { directory in
            let path = directory + "/key"
            try KeyFile.create(path, Secret("k"))
            chmod(path, mode)
            let fault = #expect(throws: Fault.self) { try KeyFile.read(path) }
            #expect(fault?.message.contains(path) == true)
        }
    }

    @Test func `a link, a directory, a missing file are refused`() throws {
        try withDirectory { directory in
            try KeyFile.create(directory + "/key", Secret("k"))
            symlink(directory + "/key", directory + "/link")
            for name in ["/link", "", "/missing"] {
                #expect(throws: Fault.self) { try KeyFile.read(directory + name) }
            }
        }
    }

    @Test func `a key file is never replaced`() throws {
        try withDirectory { directory in
            try KeyFile.create(directory + "/key", Secret("k"))
            #expect(throws: Fault.self) { try KeyFile.create(directory + "/key", Secret("l")) }
            #expect(try KeyFile.read(directory + "/key") == Secret("k"))
        }
    }

    @Test func `a sealing key of another length is refused`() throws {
        try withDirectory { directory in
            try KeyFile.create(directory + "/key", Secret("short"))
            #expect(throws: Fault.self) { try Sealer(keyFile: directory + "/key") }
        }
    }
}

import Basics
import HostTools
import RamdiskBuilder
import Testing

@Suite struct `Reading programs` {
    /// A program of the host that has libraries.
    private static let program = "/usr/bin/ls"

    @Test func `finds the libraries that ldd finds`() async throws {
        let listing = try await Tool.require(
            "ldd",
            [Self.program],
            budget: .seconds(20),
            time: SystemTime()
        )
        let expected = listing.output.split(separator: "\n").compactMap { line -> String? in
            line.contains("=>")
                ? line.split(whereSeparator: \.isWhitespace).first.map(String.init) : nil
        }
        let found = try SharedLibraries().closure(of: [Self.program])
        let loader = "ld-linux-x86-64.so.2"
        #expect(found.keys.filter { $0 != loader }.sorted() == expected.sorted())
        #expect(!expected.isEmpty)
    }

    @Test func `finds the loader`() throws {
        let file = try ElfFile(try HostFile.read(Self.program), name: "ls")
        #expect(file.interpreter == "/lib64/ld-linux-x86-64.so.2")
        #expect(file.needed.contains("libc.so.6"))
    }

    @Test func `finds nothing in a static program`() throws {
        let path = try #require(Tool.locate("busybox"))
        let file = try ElfFile(try HostFile.read(path), name: "busybox")
        #expect(file.needed.isEmpty)
        #expect(file.interpreter == nil)
    }

    @Test func `names the library that is missing and who needs it`() {
        let fault = #expect(throws: Fault.self) {
            try SharedLibraries(directories: ["/nowhere"]).closure(of: [Self.program])
        }
        #expect(fault?.message.contains(Self.program) == true)
        #expect(fault?.kind == .notFound)
    }

    @Test func `refuses a damaged program instead of reading beside it`() throws {
        let whole = try HostFile.read(Self.program)
        let random = SeededRandom(seed: 7)
        var refused = 0
        for length in [0, 3, 63, 64, 100, 4096] {
            #expect(throws: Fault.self) { try ElfFile(Array(whole.prefix(length)), name: "part") }
        }
        for _ in 0..<300 {
            var bytes = whole
            for _ in 0..<4 { bytes[Int(random.number(below: 1024))] = random.bytes(1)[0] }
            do { _ = try ElfFile(bytes, name: "damaged") } catch { refused += 1 }
        }
        #expect(refused > 0)
    }
}

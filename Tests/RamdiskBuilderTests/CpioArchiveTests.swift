import Basics
import HostTools
import RamdiskBuilder
import Testing

@Suite struct `An archive` {
    private static func sample() -> CpioArchive {
        var archive = CpioArchive()
        archive.file("usr/bin/tool", Array("a program".utf8), mode: 0o755)
        archive.link("bin", to: "usr/bin")
        archive.set("dev/console", .init(.characterDevice(major: 5, minor: 1), mode: 0o600))
        archive.directory("tmp", mode: 0o1777)
        archive.file("etc/empty", [])
        return archive
    }

    @Test func `is what cpio reads`() async throws {
        let scratch = try Scratch()
        let path = "\(scratch.path)/archive"
        try HostFile.write(try Self.sample().encoded(modified: 86400), to: path)
        let listing = try await Tool.require(
            "cpio",
            ["--list", "--verbose", "--numeric-uid-gid", "--file=\(path)"],
            environment: ["TZ": "UTC"],
            budget: .seconds(20),
            time: SystemTime()
        )
        let lines = listing.output.split(separator: "\n").map { line in
            line.split(separator: " ").joined(separator: " ")
        }
        #expect(
            lines == [
                "lrwxrwxrwx 1 0 0 7 Jan 2 1970 bin -> usr/bin",
                "drwxr-xr-x 2 0 0 0 Jan 2 1970 dev",
                "crw------- 1 0 0 5, 1 Jan 2 1970 dev/console",
                "drwxr-xr-x 2 0 0 0 Jan 2 1970 etc",
                "-rw-r--r-- 1 0 0 0 Jan 2 1970 etc/empty",
                "drwxrwxrwt 2 0 0 0 Jan 2 1970 tmp",
                "drwxr-xr-x 2 0 0 0 Jan 2 1970 usr",
                "drwxr-xr-x 2 0 0 0 Jan 2 1970 usr/bin",
                "-rwxr-xr-x 1 0 0 9 Jan 2 1970 usr/bin/tool",
            ]
        )
        #expect(listing.errorOutput.contains("block"))
    }

    @Test func `gives a file's bytes back`() async throws {
        let scratch = try Scratch()
        let path = "\(scratch.path)/archive"
        try HostFile.write(try Self.sample().encoded(), to: path)
        try await Tool.require(
            "cpio",
            ["--extract", "--quiet", "--make-directories", "--file=\(path)", "usr/bin/tool"],
            directory: scratch.path,
            budget: .seconds(20),
            time: SystemTime()
        )
        #expect(try HostFile.read("\(scratch.path)/usr/bin/tool") == Array("a program".utf8))
    }

    @Test func `has the same bytes whatever order its entries came in`() throws {
        var other = CpioArchive()
        other.directory("tmp", mode: 0o1777)
        other.file("etc/empty", [])
        other.set("dev/console", .init(.characterDevice(major: 5, minor: 1), mode: 0o600))
        other.link("bin", to: "usr/bin")
        other.file("/usr/bin/tool", Array("a program".utf8), mode: 0o755)
        let bytes = try Self.sample().encoded()
        #expect(try other.encoded() == bytes)
        #expect(bytes.count % 512 == 0)
    }

    @Test func `compresses to the same frame each time, which zstd reads`() async throws {
        let scratch = try Scratch()
        let bytes = try Self.sample().encoded()
        let frame = try Zstandard.compress(bytes)
        #expect(try Zstandard.compress(bytes) == frame)
        try HostFile.write(frame, to: "\(scratch.path)/archive.zst")
        try await Tool.require(
            "zstd",
            ["-q", "-d", "\(scratch.path)/archive.zst", "-o", "\(scratch.path)/archive"],
            budget: .seconds(20),
            time: SystemTime()
        )
        #expect(try HostFile.read("\(scratch.path)/archive") == bytes)
    }

    @Test func `comes out of the cache as it went in`() throws {
        let scratch = try Scratch()
        let cache = FrameCache(directory: "\(scratch.path)/frames")
        let first = try cache.frame(of: Self.sample(), modified: 0)
        #expect(try cache.frame(of: Self.sample(), modified: 0) == first)
        #expect(try HostFile.names(in: "\(scratch.path)/frames").count == 1)
        #expect(try cache.frame(of: Self.sample(), modified: 1) != first)
    }
}

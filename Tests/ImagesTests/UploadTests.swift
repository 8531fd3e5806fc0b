import Basics
import Crypto
import Foundation
import Glibc
import HTTP
import HTTPTypes
import HostTools
import Hummingbird
import Protocol
import Store
import Testing

@testable import Images

@Suite struct UploadTests {
    private static let chunk = ImageManifest.chunkBytes

    /// A disk of four chunks: data, hole, the first again, half a chunk of other data.
    private static let disk: [UInt8] = {
        let first = noise(chunk, seed: 1)
        let hole = [UInt8](repeating: 0, count: chunk)
        return first + hole + first + noise(chunk / 2, seed: 2)
    }()

    @Test func `a raw image is stored in chunks, holes left out, equal ones once`() async throws {
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create(["name": "disk", "disk_format": "raw"])
            #expect(try await client.upload(id, Self.disk).code == 204)
            let image = try await client.show(id)
            #expect(image["status"] == "active")
            #expect(image["size"] == .integer(Int64(Self.disk.count)))
            #expect(image["virtual_size"] == .integer(Int64(Self.disk.count)))
            #expect(image["checksum"]?.text == hex(Insecure.MD5.hash(data: Self.disk)))
            #expect(image["os_hash_algo"] == "sha512")
            #expect(image["os_hash_value"]?.text == hex(SHA512.hash(data: Self.disk)))
        }
        let image = try await world.service.image("disk")
        try await world.withClient { client in
            let path = "/image/v2/images/\(image.id)/file"
            let answer = try await client.call(.get, path)
            #expect(answer.bytes == Self.disk)
        }
        let manifest = try await world.service.manifest(of: image.id)
        #expect(manifest.digest == Array(SHA256.hash(data: manifest.bytes)))
        let value = try JSONValue(parsing: manifest.bytes)
        let extents = value["extents"]?.elements ?? []
        #expect(extents.compactMap { $0["offset"]?.integer } == [0, 8 << 20, 12 << 20])
        #expect(extents.compactMap { $0["bytes"]?.integer } == [4 << 20, 4 << 20, 2 << 20])
        #expect(extents[0]["sha256"] == extents[1]["sha256"])
        #expect(world.files("chunks").count == 2)
        #expect(world.files("incoming").isEmpty)
    }

    @Test func `the chunks make the disk again`() async throws {
        var builder = Qcow2Builder(diskBytes: 10 << 20)
        builder.clusters[0] = .data(noise(65536, seed: 5))
        builder.clusters[70] = .deflate(Array(repeating: 0x42, count: 65536))
        builder.clusters[159] = .data(noise(65536, seed: 6))
        let file = builder.build()
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create(["name": "q", "disk_format": "qcow2"])
            #expect(try await client.upload(id, file).code == 204)
        }
        let image = try await world.service.image("q")
        try await world.withClient { client in
            let answer = try await client.call(.get, "/image/v2/images/\(image.id)/file")
            #expect(answer.code == 501)
        }
        #expect(image.content?.diskBytes == 10 << 20)
        #expect(image.content?.fileBytes == Int64(file.count))
        let manifest = try await world.service.manifest(of: image.id)
        var disk = [UInt8](repeating: 0, count: 10 << 20)
        for extent in try JSONValue(parsing: manifest.bytes)["extents"]?.elements ?? [] {
            let digest = try #require(extent["sha256"]?.text)
            let offset = Int(try #require(extent["offset"]?.integer))
            let path = try await world.service.chunk(digest, of: image.id).path
            let packed = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
            let raw = Qcow2Builder.unpack(packed, bytes: Self.chunk)
            #expect(hex(SHA256.hash(data: raw)) == digest)
            disk.replaceSubrange(offset..<offset + raw.count, with: raw)
        }
        #expect(disk == builder.disk())
    }

    private static func qcow2(_ change: (inout Qcow2Builder) -> Void = { _ in }) -> [UInt8] {
        var builder = Qcow2Builder()
        builder.clusters[0] = .data(noise(65536, seed: 9))
        builder.clusters[100] = .data(noise(65536, seed: 10))
        change(&builder)
        return builder.build()
    }

    private static let refusals: [(name: String, format: String, file: [UInt8], part: String)] = [
        (
            "backing file", "qcow2",
            qcow2 { $0.patches = [(8, bigEndian64(512)), (16, bigEndian32(4))] }, "backing file"
        ),
        ("external data", "qcow2", qcow2 { $0.patches = [(72, bigEndian64(4))] }, "external file"),
        ("qcow2 declared raw", "raw", qcow2(), "declared raw but is qcow2"),
        ("raw declared qcow2", "qcow2", [UInt8](repeating: 1, count: 1024), "not qcow2"),
        ("vmdk declared raw", "raw", Array("KDMV".utf8) + Array(repeating: 0, count: 508), "vmdk"),
        ("gzip declared raw", "raw", [0x1f, 0x8b] + Array(repeating: 0, count: 510), "gzip"),
        ("half a sector", "raw", [UInt8](repeating: 1, count: 700), "whole sectors"),
        ("nothing", "raw", [], "whole sectors"),
        (
            "bad cluster", "qcow2",
            qcow2 { $0.patches = [($0.secondTableOffset(0) + 800, bigEndian64(1 << 40))] },
            "cluster"
        ),
    ]

    @Test(arguments: refusals.indices)
    func `a bad file is refused, the image is queued again and nothing stays`(
        index: Int
    ) async throws {
        let (name, format, file, part) = Self.refusals[index]
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create([
                "name": .string(name), "disk_format": .string(format),
            ])
            let answer = try await client.upload(id, file)
            #expect(answer.code == 400, "\(name)")
            #expect(answer.message.contains(part), "\(name): \(answer.message)")
            #expect(answer.message.hasPrefix("cannot "))
            #expect(try await client.show(id)["status"] == "queued")
            #expect(world.files().isEmpty, "\(name)")
            // And the image takes a right file afterwards.
            let good = format == "raw" ? [UInt8](repeating: 1, count: 1024) : Self.qcow2()
            #expect(try await client.upload(id, good).code == 204)
        }
    }

    @Test(arguments: [
        ("Repr-Digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:", "SHA-256"),
        ("Content-Digest", "sha-512=:AAAA:", "SHA-512"), ("Repr-Digest", "sha-256=x", "header"),
    ])
    func `a wrong checksum is refused`(header: String, value: String, part: String) async throws {
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create(["name": "c", "disk_format": "raw"])
            let answer = try await client.upload(
                id,
                Self.disk,
                headers: [.known(header): value]
            )
            #expect(answer.code == 400)
            #expect(answer.message.contains(part))
            #expect(try await client.show(id)["status"] == "queued")
            #expect(world.files().isEmpty)
        }
    }

    @Test func `right checksums are taken, also those of the client's properties`() async throws {
        let world = try World()
        let sha256 = SHA256.hash(data: Self.disk)
        try await world.withClient { client in
            let id = try await client.create([
                "name": "c", "disk_format": "raw",
                "owner_specified.openstack.sha256": .string(hex(sha256)),
            ])
            let header = "sha-256=:\(Data(sha256).base64EncodedString()):"
            #expect(
                try await client.upload(id, Self.disk, headers: [.known("Repr-Digest"): header])
                    .code
                    == 204
            )
            let other = try await client.create([
                "name": "d", "disk_format": "raw",
                "owner_specified.openstack.sha256": .string(String(repeating: "0", count: 64)),
            ])
            #expect(try await client.upload(other, Self.disk).code == 400)
        }
    }

    @Test func `an upload that ends before its announced length is refused`() async throws {
        let world = try World()
        let principal = Principal(
            userID: "u",
            userName: "n",
            scope: .system,
            role: .admin,
            isAdminProject: false,
            tokenID: "t"
        )
        let image = try await world.service.create(
            ImageDraft(name: "cut", diskFormat: .raw),
            as: principal
        )
        let fault = await #expect(throws: Fault.self) {
            try await world.service.upload(
                image.id,
                RequestBody(buffer: ByteBuffer(bytes: Self.disk)),
                claim: UploadClaim(bytes: UInt64(Self.disk.count + 1)),
                as: principal
            )
        }
        #expect(fault?.message.contains("upload the whole file again") == true)
        #expect(try await world.service.image("cut").status == .queued)
        #expect(world.files().isEmpty)
    }

    @Test func `an upload whose connection is lost is refused`() async throws {
        struct Lost: Error {}
        let world = try World()
        let principal = Principal(
            userID: "u",
            userName: "n",
            scope: .system,
            role: .admin,
            isAdminProject: false,
            tokenID: "t"
        )
        let image = try await world.service.create(
            ImageDraft(name: "cut", diskFormat: .raw),
            as: principal
        )
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: ByteBuffer.self)
        continuation.yield(ByteBuffer(bytes: Self.disk))
        continuation.finish(throwing: Lost())
        let fault = await #expect(throws: Fault.self) {
            try await world.service.upload(
                image.id,
                RequestBody(asyncSequence: stream),
                claim: UploadClaim(),
                as: principal
            )
        }
        #expect(fault?.kind == .invalid)
        #expect(try await world.service.image("cut").status == .queued)
        #expect(world.files().isEmpty)
    }

    @Test func `an upload that is too large is refused`() async throws {
        let world = try World({ $0.uploadBytesMax = 1 << 20 })
        try await world.withClient { client in
            let id = try await client.create(["name": "big", "disk_format": "raw"])
            #expect(try await client.upload(id, Self.disk).code == 413)
            #expect(try await client.show(id)["status"] == "queued")
            #expect(world.files().isEmpty)
        }
    }

    @Test func `a disk that is too large is refused`() async throws {
        let world = try World({ $0.diskBytesMax = 1 << 20 })
        try await world.withClient { client in
            let id = try await client.create(["name": "big", "disk_format": "qcow2"])
            let answer = try await client.upload(id, Self.qcow2())
            #expect(answer.code == 400)
            #expect(answer.message.contains("too large"))
        }
    }

    @Test func `an image takes its content once, and only with a format`() async throws {
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create(["name": "once", "disk_format": "raw"])
            #expect(try await client.upload(id, Self.disk).code == 204)
            #expect(try await client.upload(id, Self.disk).code == 409)
            let bare = try await client.create(["name": "bare"])
            #expect(try await client.upload(bare, Self.disk).code == 400)
            let type = try await client.call(.put, "/image/v2/images/\(bare)/file", [1])
            #expect(type.code == 415)
        }
    }

    @Test func `two images that share chunks live and die by themselves`() async throws {
        let world = try World()
        try await world.withClient { client in
            let first = try await client.create(["name": "a", "disk_format": "raw"])
            let second = try await client.create(["name": "b", "disk_format": "raw"])
            #expect(try await client.upload(first, Self.disk).code == 204)
            #expect(try await client.upload(second, Self.disk).code == 204)
            #expect(world.files("chunks").count == 2)
            #expect(world.files("manifests").count == 1)
            #expect(try await client.call(.delete, "/image/v2/images/\(first)").code == 204)
            #expect(world.files("chunks").count == 2)
            let image = try await world.service.image(second)
            _ = try await world.service.manifest(of: image.id)
            #expect(try await client.call(.delete, "/image/v2/images/\(second)").code == 204)
            #expect(world.files().isEmpty)
        }
    }

    @Test func `a chunk that an upload relies on survives the deletion of another image`() throws {
        let world = try World()
        let digest = String(repeating: "ab", count: 32)
        let store = world.service.chunks
        try [UInt8]([1, 2, 3]).withUnsafeBytes { try store.store($0, as: digest, worker: "t") }
        let pins = PinList(store: store)
        pins.pin(digest)
        pins.pin(digest)
        store.remove(digest)
        #expect(store.has(digest))
        pins.release()
        store.remove(digest)
        #expect(!store.has(digest))
    }

    @Test func `a start after a crash puts things right`() async throws {
        let before = try World()
        var kept = ""
        try await before.withClient { client in
            let id = try await client.create(["name": "kept", "disk_format": "raw"])
            #expect(try await client.upload(id, Self.disk).code == 204)
        }
        kept = try await before.service.image("kept").id.text
        let orphan = String(repeating: "cd", count: 32)
        try [UInt8]([1]).withUnsafeBytes {
            try before.service.chunks.store($0, as: orphan, worker: "t")
        }
        try Data([1]).write(to: URL(fileURLWithPath: before.directory + "/incoming/left.over"))
        let saving = Image(
            id: SystemRandom().identifier(),
            name: "cut off",
            status: .saving,
            diskFormat: .raw,
            visibility: .shared,
            isProtected: false,
            owner: "admin",
            minDisk: 0,
            minRAM: 0,
            tags: [],
            properties: [:],
            content: nil,
            created: before.time.now,
            updated: before.time.now
        )
        try await before.database.write { try $0.saveImage(saving) }

        let after = try World(directory: before.directory, database: before.database)
        try await after.service.recover()
        #expect(try await after.service.image("cut off").status == .queued)
        #expect(after.files("incoming").isEmpty)
        #expect(!after.service.chunks.has(orphan))
        #expect(after.files("chunks").count == 2)
        _ = try await after.service.manifest(of: try #require(ImageID(kept)))
    }

    @Test func `a damaged manifest is noticed`() async throws {
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create(["name": "m", "disk_format": "raw"])
            #expect(try await client.upload(id, Self.disk).code == 204)
        }
        let image = try await world.service.image("m")
        let digest = try #require(image.content?.manifestDigest)
        try Data("{}".utf8).write(
            to: URL(fileURLWithPath: world.service.chunks.path(ofManifest: digest))
        )
        let fault = await #expect(throws: Fault.self) {
            try await world.service.manifest(of: image.id)
        }
        #expect(fault?.kind == .unavailable)
    }
}

@Suite struct FullDiskTests {
    /// A small disk of its own takes root, as the check script and the build server have.
    @Test(.enabled(if: geteuid() == 0, "mounting a small disk takes root"))
    func `a full disk is told, nothing stays, and the image can be uploaded later`() async throws {
        var template = Array("/tmp/rdo-full-XXXXXX".utf8CString)
        let directory = String(cString: try #require(mkdtemp(&template)))
        _ = try await Tool.require(
            "mount",
            ["-t", "tmpfs", "-o", "size=6m", "tmpfs", directory],
            budget: .seconds(20),
            time: SystemTime()
        )
        do {
            let world = try World(directory: directory + "/images")
            try await world.withClient { client in
                let id = try await client.create(["name": "full", "disk_format": "raw"])
                // It is refused at once when its length is known …
                let announced = try await client.upload(id, noise(8 << 20, seed: 1))
                #expect(announced.code == 503)
                #expect(announced.message.contains("free space"))
                // … and while chunks are stored when the file alone still fits.
                let chunks = try await client.upload(id, noise(4 << 20, seed: 1))
                #expect(chunks.code == 503)
                #expect(chunks.message.contains("is full"))
                #expect(try await client.show(id)["status"] == "queued")
                #expect(world.files().isEmpty)
                #expect(try await client.upload(id, noise(1 << 20, seed: 1)).code == 204)
            }
        } catch {
            Issue.record(error)
        }
        // The upload's own thread may hold its last file for a moment yet.
        _ = try await Tool.require(
            "umount",
            ["--lazy", directory],
            budget: .seconds(20),
            time: SystemTime()
        )
        rmdir(directory)
    }
}

import ArgumentParser
import Basics
import Crypto
import FoundationEssentials
import Glibc
import NIOCore
import Protocol

/// Finds images by name.
struct ImageLookup {
    let client: APIClient

    /// The identifier of the newest active image with this name, or of the image with this identifier.
    func identifier(of name: String) async throws -> String {
        if let image = try await images(named: name).first?["id"].string { return image }
        let all = try await client.call("GET", .image, "/v2/images?limit=1000")["images"].array
        guard all.contains(where: { $0["id"].string == name }) else {
            throw Fault(
                .notFound,
                "cannot find image \(name): upload it with “rdo image upload FILE --name \(name)”"
            )
        }
        return name
    }

    /// Active images with this name, newest first.
    func images(named name: String) async throws -> [JSON] {
        let all = try await client.call("GET", .image, "/v2/images?limit=1000")["images"].array
        return all.filter { $0["name"].string == name && $0["status"].string == "active" }
            .sorted { ($0["created_at"].string ?? "") > ($1["created_at"].string ?? "") }
    }
}

/// `rdo image upload FILE`.
struct ImageUploadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upload",
        abstract: "Upload a disk image, unless the controller has the same one already.",
        discussion: """
            The format is read from the file. An older image of the same name is kept under the name \
            NAME_<its creation time>.
            """
    )

    @OptionGroup var cloud: CloudOptions

    @Argument(help: "The file: qcow2 or raw.")
    var file: String

    @Option(name: .long, help: "The image's name.")
    var name: String

    @Option(name: .long, help: "A property, KEY=VALUE; may be given several times.")
    var property: [String] = []

    /// The property that tells which file an image came from.
    private static let sourceProperty = "rdo_source_sha256"

    func run() async throws {
        var properties: [String: JSON] = [:]
        for pair in property {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else {
                throw ValidationError("A property is written KEY=VALUE, not “\(pair)”.")
            }
            properties[String(parts[0])] = .text(String(parts[1]))
        }
        let source = try ImageFile(path: file)
        let digest = try await source.digest()
        properties[Self.sourceProperty] = .text(digest)
        try await cloud.withClient { client in
            let old = try await ImageLookup(client: client).images(named: name)
            if let same = old.first, properties.allSatisfy({ same[$0.key] == $0.value }) {
                Console.output.line("image \(name) is there already as \(same["id"].string ?? "")")
                return
            }
            let id = try await upload(source, properties, with: client)
            for image in old { try await rename(image, with: client) }
            Console.output.line("image \(name) uploaded as \(id)")
        }
    }

    private func upload(
        _ source: ImageFile,
        _ properties: [String: JSON],
        with client: APIClient
    ) async throws -> String {
        var wanted: [String: JSON] = [
            "name": .text(name), "disk_format": .text(source.format), "container_format": "bare",
            "visibility": "public",
        ]
        wanted.merge(properties) { $1 }
        let image = try await client.call("POST", .image, "/v2/images", body: .object(wanted))
        guard let id = image["id"].string else {
            throw Fault(.unavailable, "cannot upload \(file): the answer has no id")
        }
        do {
            try await client.upload(
                .image,
                "/v2/images/\(id)/file",
                length: source.length,
                bytes: source.chunks()
            )
        } catch {
            // What matters is why the upload failed; the empty record may stay if this fails too.
            _ = try? await client.call("DELETE", .image, "/v2/images/\(id)")
            throw error
        }
        return id
    }

    private func rename(_ image: JSON, with client: APIClient) async throws {
        guard let id = image["id"].string else { return }
        let time = (image["created_at"].string ?? "").filter(\.isNumber)
        try await client.call(
            "PATCH",
            .image,
            "/v2/images/\(id)",
            body: [["op": "replace", "path": "/name", "value": .text("\(name)_\(time)")]],
            contentType: "application/openstack-images-v2.1-json-patch"
        )
    }
}

/// An image file on this host.
struct ImageFile {
    let path: String
    let length: Int64
    /// Glance's word: `qcow2` when the file begins as one, else `raw`.
    let format: String

    private static let chunkBytes = 1 << 20

    init(path: String) throws {
        self.path = path
        let handle = try Self.open(path)
        defer { Self.close(handle) }
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        guard let size = attributes[.size] as? UInt64, size > 0 else {
            throw Fault(.invalid, "cannot upload \(path): it is empty or not a file")
        }
        length = Int64(size)
        let magic = try Self.read(handle, 4, path: path)
        format = magic == [0x51, 0x46, 0x49, 0xfb] ? "qcow2" : "raw"
    }

    /// SHA-256 of the file in hexadecimal.
    func digest() async throws -> String {
        var hash = SHA256()
        for try await buffer in chunks() {
            buffer.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
        }
        let digits = Array("0123456789abcdef")
        return String(hash.finalize().flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }

    /// The file in pieces of 1 MiB, read as they are asked for.
    func chunks() -> Chunks { Chunks(path: path) }

    struct Chunks: AsyncSequence, Sendable {
        typealias Element = ByteBuffer
        typealias Failure = any Error
        let path: String

        func makeAsyncIterator() -> Iterator { Iterator(path: path) }

        final class Iterator: AsyncIteratorProtocol {
            private let path: String
            private var handle: Int32 = -1

            init(path: String) { self.path = path }

            deinit { if handle >= 0 { ImageFile.close(handle) } }

            func next() async throws -> ByteBuffer? {
                if handle < 0 { handle = try ImageFile.open(path) }
                let bytes = try ImageFile.read(handle, ImageFile.chunkBytes, path: path)
                return bytes.isEmpty ? nil : ByteBuffer(bytes: bytes)
            }
        }
    }
}

extension ImageFile {
    fileprivate static func open(_ path: String) throws -> Int32 {
        let handle = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard handle >= 0 else {
            throw Fault(
                .notFound,
                "cannot read \(path): there is no such file, or you may not read it"
            )
        }
        return handle
    }

    fileprivate static func close(_ handle: Int32) { Glibc.close(handle) }

    fileprivate static func read(_ handle: Int32, _ count: Int, path: String) throws -> [UInt8] {
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            initialized = max(0, Glibc.read(handle, buffer.baseAddress, count))
        }
        return bytes
    }
}

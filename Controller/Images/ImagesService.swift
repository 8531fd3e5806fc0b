package import Basics
import Crypto
import FoundationEssentials
import HTTP
import Hummingbird
package import Logging
import NIOCore
package import Protocol
package import Store
import Synchronization

/// The only door of the image area.
package final class ImagesService: Sendable {
    /// Bounds and places.
    package struct Configuration: Sendable {
        /// Where chunks and manifests stand.
        package var directory: String
        /// Bytes of one upload at most.
        package var uploadBytesMax: UInt64 = 64 << 30
        /// Bytes of the disk that an image describes at most.
        package var diskBytesMax: UInt64 = 2 << 40
        /// Uploads at the same time.
        package var uploadsMax = 4

        package init(directory: String) { self.directory = directory }
    }

    /// What an agent needs to write an image.
    package struct Manifest: Sendable, Equatable {
        /// SHA-256 of `bytes`.
        package let digest: [UInt8]
        /// Canonical JSON.
        package let bytes: [UInt8]

        /// Takes both as they were stored.
        package init(digest: [UInt8], bytes: [UInt8]) {
            self.digest = digest
            self.bytes = bytes
        }
    }

    private struct State {
        var uploads = 0
        /// Digests by image, of images whose chunks were asked for lately.
        var chunks: [ImageID: Set<String>] = [:]
    }

    /// Images whose lists of chunks are kept in memory.
    static let chunkListsMax = 8
    /// Chunks that are removed in one transaction.
    static let removalsMax = 500

    let database: Database
    let configuration: Configuration
    let chunks: ChunkStore
    let time: any TimeSource
    let random: any RandomSource
    let logger: Logger
    private let signer: CapabilitySigner
    private let state = Mutex(State())

    /// Opens the store.
    ///
    /// `capabilityKey` has 32 bytes; capabilities made with another key are void.
    package init(
        database: Database,
        configuration: Configuration,
        capabilityKey: Secret,
        time: any TimeSource,
        random: any RandomSource,
        logger: Logger
    ) throws {
        self.database = database
        self.configuration = configuration
        chunks = try ChunkStore(directory: configuration.directory)
        signer = CapabilitySigner(key: capabilityKey)
        self.time = time
        self.random = random
        self.logger = logger
    }

    /// Puts things right after a stop: uploads that were cut off are queued again, chunks and
    /// manifests that no image refers to are removed.
    ///
    /// To be called before requests are served.
    package func recover() async throws {
        let now = time.now
        try await database.write { transaction in
            for var image in try transaction.savingImages() {
                image.status = .queued
                image.updated = now
                try transaction.saveImage(image)
                try transaction.record(
                    kind: "image",
                    id: image.id.text,
                    before: "saving",
                    after: "queued",
                    cause: "the controller stopped during the upload",
                    at: now
                )
            }
        }
        let found = chunks.contents()
        try await removeUnreferenced(found.chunks)
        try await removeUnreferenced(manifests: found.manifests)
    }

    // MARK: - For other areas

    /// Finds an image by its identifier or its name.
    /// - Throws: `Fault`: `notFound`, or `conflict` when several have the name.
    package func image(_ identifierOrName: String) async throws -> Image {
        let images = try await database.read { transaction in
            if let id = ImageID(identifierOrName), let image = try transaction.image(id) {
                return [image]
            }
            return try transaction.images(named: identifierOrName)
        }
        guard let image = images.first else {
            throw Fault(
                .notFound,
                "cannot find image \(identifierOrName): there is none with this identifier or name"
            )
        }
        guard images.count == 1 else {
            throw Fault(
                .conflict,
                "cannot tell which image \(identifierOrName) is: several have this name; use an identifier"
            )
        }
        return image
    }

    /// The manifest of an active image.
    /// - Throws: `Fault`: `notFound`, or `conflict` when the image has no content yet.
    package func manifest(of image: ImageID) async throws -> Manifest {
        guard let found = try await database.read({ try $0.image(image) }) else {
            throw Self.notFound(image)
        }
        guard let content = found.content else {
            throw Fault(
                .conflict,
                "cannot use image \(found.name): it is \(found.status.rawValue) and has no content; upload it first"
            )
        }
        let bytes = try chunks.manifest(content.manifestDigest)
        return Manifest(digest: Array(SHA256.hash(data: bytes)), bytes: bytes)
    }

    /// Makes the text that follows the word `Capability` in the header `Authorization`, by which a node's
    /// agent fetches the manifest and chunks of one image.
    ///
    /// `keyFingerprint` is that of the key the agent is bound to, `attempt` the deployment's.
    package func makeCapability(
        image: ImageID,
        node: NodeID,
        attempt: Attempt,
        keyFingerprint: String,
        validFor span: Duration
    ) -> String {
        let capability = Capability(
            node: node,
            image: image,
            attempt: attempt,
            expires: time.now + span,
            key: keyFingerprint
        )
        return signer.sign(capability)
    }

    // MARK: - For agents

    /// Checks the header of an agent's request for an image.
    /// - Throws: `Fault` of kind `unauthenticated`, or `forbidden` for another image.
    func admit(_ header: String?, to image: ImageID) throws -> Capability {
        guard let header, header.hasPrefix("Capability "),
            let capability = signer.read(
                String(header.dropFirst("Capability ".utf8.count)),
                at: time.now
            )
        else {
            throw Fault(
                .unauthenticated,
                "cannot hand out image \(image): the capability is missing, expired or not ours"
            )
        }
        guard capability.image == image else {
            throw Fault(
                .forbidden,
                "cannot hand out image \(image): the capability is for another image"
            )
        }
        return capability
    }

    /// The path and size of a chunk's file, if the chunk belongs to the image.
    func chunk(_ digest: String, of image: ImageID) async throws -> (path: String, bytes: Int) {
        let missing = Fault(
            .notFound,
            "cannot find chunk \(digest.prefix(64)): image \(image) has no such chunk"
        )
        guard isDigest(digest) else { throw missing }
        var list = state.withLock { $0.chunks[image] }
        if list == nil {
            let read = Set(try await database.read { try $0.chunks(of: image) })
            state.withLock { state in
                if state.chunks.count >= Self.chunkListsMax { state.chunks = [:] }
                state.chunks[image] = read
            }
            list = read
        }
        guard let list, list.contains(digest) else { throw missing }
        guard let bytes = chunks.fileBytes(ofChunk: digest) else {
            throw Fault(
                .unavailable,
                "cannot read chunk \(digest) of image \(image): its file is missing; upload the image again"
            )
        }
        return (chunks.path(ofChunk: digest), bytes)
    }

    /// The file of an image, made again from its chunks.
    /// - Throws: `Fault`: `notSupported` for qcow2, whose file was not a list of sectors.
    func download(_ image: Image) async throws -> ResponseBody {
        guard image.diskFormat == .raw else {
            throw Fault(
                .notSupported,
                "cannot hand out the file of image \(image.name): of a qcow2 file only the disk inside is kept; keep the original file"
            )
        }
        let bytes = try await manifest(of: image.id).bytes
        guard let manifest = ImageManifest(bytes) else {
            throw Fault(.internalError, "cannot read the manifest of image \(image.name)")
        }
        return ImageDownload(chunks: chunks, manifest: manifest).body
    }

    // MARK: - Uploads at once

    func beginUpload() throws {
        try state.withLock { state in
            guard state.uploads < configuration.uploadsMax else {
                throw Fault(
                    .tooMany,
                    "cannot take the upload: \(state.uploads) others are running; try again when one has ended"
                )
            }
            state.uploads += 1
        }
    }

    func endUpload() { state.withLock { $0.uploads -= 1 } }

    // MARK: - Removal

    /// Forgets what is remembered of an image that is gone.
    func forget(_ image: ImageID) { state.withLock { $0.chunks[image] = nil } }

    /// Removes those of the chunks that no image refers to and no upload relies on.
    func removeUnreferenced(_ digests: [String]) async throws {
        var rest = digests[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Self.removalsMax))
            rest = rest.dropFirst(Self.removalsMax)
            let chunks = chunks
            try await database.write { transaction in
                for digest in batch where try !transaction.isReferenced(chunk: digest) {
                    chunks.remove(digest)
                }
            }
        }
    }

    func removeUnreferenced(manifests digests: [String]) async throws {
        let chunks = chunks
        try await database.write { transaction in
            for digest in digests where try !transaction.isReferenced(manifest: digest) {
                chunks.removeManifest(digest)
            }
        }
    }

    static func notFound(_ id: ImageID) -> Fault {
        Fault(.notFound, "cannot find image \(id): there is none with this identifier")
    }
}

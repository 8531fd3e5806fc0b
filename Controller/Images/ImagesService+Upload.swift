import Basics
import Crypto
import Glibc
import HTTP
import Hummingbird
import Logging
import NIOCore
import Protocol
import Store

/// What a client says of an upload before it begins.
struct UploadClaim: Sendable {
    /// From `Content-Length`; `nil` when the upload comes in pieces of unknown number.
    var bytes: UInt64?
    /// In hexadecimal.
    var sha256: String?
    var sha512: String?
    var md5: String?
}

extension ImagesService {
    /// Takes an image's content: all of it, or nothing stays.
    /// - Throws: `Fault`; the image is queued again.
    func upload(
        _ id: ImageID,
        _ body: RequestBody,
        claim: UploadClaim,
        as principal: Principal
    ) async throws {
        try beginUpload()
        defer { endUpload() }
        if let bytes = claim.bytes { try checkRoom(for: bytes) }
        let image = try await startSaving(id, as: principal)
        let pins = PinList(store: chunks)
        do {
            let content = try await take(body, image, claim: claim.completed(by: image), pins)
            try await activate(id, content, pins.digests)
            logger.notice(
                "an image was stored",
                metadata: [
                    LogKey.imageID: .string(id.text), LogKey.count: "\(pins.digests.count)",
                ]
            )
            pins.release()
        } catch {
            let candidates = pins.digests
            pins.release()
            await abandon(id, candidates, because: error)
            throw error
        }
    }

    private func checkRoom(for bytes: UInt64) throws {
        guard bytes <= configuration.uploadBytesMax else {
            throw Fault(
                .tooLarge,
                "cannot take the image: its \(bytes) bytes are more than the \(configuration.uploadBytesMax) allowed; raise images.upload_bytes_max"
            )
        }
        // The file is spooled first and leaves when its chunks are stored.
        guard bytes < chunks.freeBytes else {
            throw Fault(
                .unavailable,
                "cannot store the image: the disk of the image store \(configuration.directory) has not enough free space for \(bytes) bytes; free space and upload again"
            )
        }
    }

    private func startSaving(_ id: ImageID, as principal: Principal) async throws -> Image {
        let now = time.now
        return try await database.write { transaction in
            var image = try transaction.changeableImage(id, as: principal)
            guard image.status == .queued else {
                throw Fault(
                    .conflict,
                    "cannot upload image \(image.name): it is \(image.status.rawValue); create a new image"
                )
            }
            guard image.diskFormat != nil else {
                throw Fault(
                    .invalid,
                    "cannot upload image \(image.name): its disk_format is not set; set raw or qcow2"
                )
            }
            image.status = .saving
            image.updated = now
            try transaction.saveImage(image)
            try transaction.record(
                kind: "image",
                id: id.text,
                before: "queued",
                after: "saving",
                cause: "upload",
                at: now
            )
            return image
        }
    }

    private func take(
        _ body: RequestBody,
        _ image: Image,
        claim: UploadClaim,
        _ pins: PinList
    ) async throws -> Image.Content {
        let name = "upload-\(random.identifier(ImageID.self))"
        let spool = try Spool(
            store: chunks,
            name: name,
            bytesMax: configuration.uploadBytesMax
        )
        do {
            for try await buffer in body { try await spool.append(buffer) }
        } catch let fault as Fault {
            throw fault
        } catch {
            throw Fault(
                .invalid,
                "cannot take image \(image.name): the upload ended early; upload the whole file again",
                cause: error
            )
        }
        let arrived = try await spool.finish()
        try claim.check(arrived, image.name)
        let makeReader = try reader(arrived.file, image)
        let diskBytes = try makeReader().diskBytes
        let manifest = try await Ingest.run(
            name: name,
            diskBytes: diskBytes,
            pins: pins,
            makeReader
        )
        let text = manifest.canonicalText
        let digest = hex(SHA256.hash(data: Array(text.utf8)))
        pins.pin(digest)
        try chunks.storeManifest(text, digest: digest, worker: name)
        return Image.Content(
            fileBytes: Int64(arrived.file.bytes),
            diskBytes: Int64(diskBytes),
            md5: arrived.md5,
            sha512: arrived.sha512,
            manifestDigest: digest
        )
    }

    /// Checks the format and returns what makes readers of the disk.
    private func reader(
        _ file: SpoolHandle,
        _ image: Image
    ) throws -> @Sendable () throws -> any DiskReader {
        let tail = UInt64(FoundFormat.tailBytes)
        let found = FoundFormat.detect(
            head: try file.read(Int(min(file.bytes, UInt64(FoundFormat.headBytes))), at: 0),
            tail: file.bytes < tail ? [] : try file.read(Int(tail), at: file.bytes - tail)
        )
        let diskBytesMax = configuration.diskBytesMax
        func refuse(_ reason: String) -> Fault {
            Fault(.invalid, "cannot take image \(image.name): \(reason)")
        }
        switch (image.diskFormat, found) {
        case (.qcow2, .qcow2):
            do {
                _ = try Qcow2Reader(file, diskBytesMax: diskBytesMax)
            } catch let refusal as Qcow2Refusal {
                throw refusal.fault
            }
            return { try Qcow2Reader(file, diskBytesMax: diskBytesMax) }
        case (.raw, .raw):
            guard file.bytes > 0, file.bytes % 512 == 0 else {
                throw refuse(
                    "a raw disk has whole sectors, and \(file.bytes) bytes are none; upload the whole file"
                )
            }
            guard file.bytes <= diskBytesMax else {
                throw refuse("its disk is larger than \(diskBytesMax) bytes")
            }
            return { RawReader(file: file) }
        case (let declared, .foreign(let name)):
            throw refuse(
                "it is declared \(declared?.rawValue ?? "without a format") but is a \(name) file; convert it to raw or qcow2"
            )
        case (let declared, let found):
            throw refuse(
                "it is declared \(declared?.rawValue ?? "without a format") but is \(found == .qcow2 ? "qcow2" : "not qcow2"); declare the format that it has"
            )
        }
    }

    private func activate(
        _ id: ImageID,
        _ content: Image.Content,
        _ digests: [String]
    ) async throws {
        let now = time.now
        try await database.write { transaction in
            guard var image = try transaction.image(id), image.status == .saving else {
                throw Fault(
                    .conflict,
                    "cannot store image \(id): it was deleted during the upload"
                )
            }
            image.status = .active
            image.content = content
            image.updated = now
            try transaction.saveImage(image)
            try transaction.addChunks(
                digests.filter { $0 != content.manifestDigest },
                to: id
            )
            try transaction.record(
                kind: "image",
                id: id.text,
                before: "saving",
                after: "active",
                cause: "the upload is complete and verified",
                at: now
            )
        }
    }

    /// Puts a failed upload's image back and removes what it stored.
    private func abandon(_ id: ImageID, _ candidates: [String], because error: any Error) async {
        let now = time.now
        do {
            try await database.write { transaction in
                guard var image = try transaction.image(id), image.status == .saving else { return }
                image.status = .queued
                image.updated = now
                try transaction.saveImage(image)
                try transaction.record(
                    kind: "image",
                    id: id.text,
                    before: "saving",
                    after: "queued",
                    cause: Fault(error).message,
                    at: now
                )
            }
            try await removeUnreferenced(candidates)
            try await removeUnreferenced(manifests: candidates)
        } catch {
            // The next start does the same.
            logger.warning(
                "a failed upload was not cleaned up",
                metadata: [
                    LogKey.imageID: .string(id.text), LogKey.error: .string(Fault(error).report),
                ]
            )
        }
    }
}

extension UploadClaim {
    /// Adds the digests that the `openstack` client stores as properties before it uploads.
    func completed(by image: Image) -> UploadClaim {
        var claim = self
        func property(_ name: String) -> String? {
            image.properties["owner_specified.openstack.\(name)"].flatMap { $0.isEmpty ? nil : $0 }
        }
        claim.sha256 = claim.sha256 ?? property("sha256")
        claim.md5 = claim.md5 ?? property("md5")
        return claim
    }

    /// Compares what arrived with what was claimed.
    func check(_ arrived: Spool.Arrived, _ name: String) throws {
        if let bytes, bytes != arrived.file.bytes {
            throw Fault(
                .invalid,
                "cannot take image \(name): \(arrived.file.bytes) of \(bytes) bytes arrived; upload the whole file again"
            )
        }
        for (kind, claimed, found) in [
            ("SHA-256", sha256, arrived.sha256), ("SHA-512", sha512, arrived.sha512),
            ("MD5", md5, arrived.md5),
        ] {
            guard let claimed, claimed.lowercased() != found else { continue }
            throw Fault(
                .invalid,
                "cannot take image \(name): its \(kind) is \(found) and not \(claimed.prefix(128)) as announced; check the file and upload it again"
            )
        }
    }
}

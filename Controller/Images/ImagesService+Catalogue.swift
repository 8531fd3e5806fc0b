import Basics
import HTTP
import Protocol
import Store

/// What a client wants to register.
struct ImageDraft: Sendable {
    var id: ImageID?
    var name = ""
    var diskFormat: Image.DiskFormat?
    var visibility = Image.Visibility.shared
    var isProtected = false
    var minDisk: Int64 = 0
    var minRAM: Int64 = 0
    var tags: [String] = []
    var properties: [String: String] = [:]
}

extension Transaction {
    /// An image that the asker may see; others do not exist for it.
    func visibleImage(_ id: ImageID, as principal: Principal) throws -> Image {
        guard let image = try image(id), image.isVisible(to: principal) else {
            throw ImagesService.notFound(id)
        }
        return image
    }

    /// An image that the asker may change.
    func changeableImage(_ id: ImageID, as principal: Principal) throws -> Image {
        let image = try visibleImage(id, as: principal)
        try principal.require(.member, to: "change image \(image.name)")
        guard principal.isSystem || image.owner == principal.projectID else {
            throw Fault(
                .forbidden,
                "cannot change image \(image.name): it belongs to another project"
            )
        }
        return image
    }
}

extension Image {
    func isVisible(to principal: Principal) -> Bool {
        principal.isSystem || owner == principal.projectID || visibility == .everybody
            || visibility == .community
    }
}

extension ImagesService {
    /// Tags and properties of one image at most, and their lengths.
    static let tagsMax = 128
    static let propertiesMax = 128
    static let textBytesMax = 255
    static let propertyBytesMax = 4096

    func create(_ draft: ImageDraft, as principal: Principal) async throws -> Image {
        try principal.require(.member, to: "create image \(draft.name)")
        let now = time.now
        let image = Image(
            id: draft.id ?? random.identifier(),
            name: draft.name,
            status: .queued,
            diskFormat: draft.diskFormat,
            visibility: draft.visibility,
            isProtected: draft.isProtected,
            owner: principal.projectID ?? "",
            minDisk: draft.minDisk,
            minRAM: draft.minRAM,
            tags: Self.unique(draft.tags),
            properties: draft.properties,
            content: nil,
            created: now,
            updated: now
        )
        try Self.check(image, before: nil, as: principal)
        return try await database.write { transaction in
            guard try transaction.image(image.id) == nil else {
                throw Fault(
                    .conflict,
                    "cannot create image \(image.id): this identifier is taken"
                )
            }
            try transaction.saveImage(image)
            try transaction.record(
                kind: "image",
                id: image.id.text,
                before: "",
                after: "queued",
                cause: "created by \(principal.userName)",
                at: now
            )
            return image
        }
    }

    func list(_ filter: ImageFilter, as principal: Principal) async throws -> [Image] {
        let project = principal.isSystem ? nil : principal.projectID ?? ""
        return try await database.read { try $0.images(seenBy: project, filter) }
    }

    func show(_ id: ImageID, as principal: Principal) async throws -> Image {
        try await database.read { try $0.visibleImage(id, as: principal) }
    }

    /// Changes an image in one transaction.
    func change(
        _ id: ImageID,
        as principal: Principal,
        _ body: @escaping @Sendable (inout Image) throws -> Void
    ) async throws -> Image {
        let now = time.now
        return try await database.write { transaction in
            let before = try transaction.changeableImage(id, as: principal)
            var image = before
            try body(&image)
            image.tags = Self.unique(image.tags)
            guard image != before else { return image }
            try Self.check(image, before: before, as: principal)
            image.updated = now
            try transaction.saveImage(image)
            try transaction.record(
                kind: "image",
                id: id.text,
                before: before.status.rawValue,
                after: image.status.rawValue,
                cause: "changed by \(principal.userName)",
                at: now
            )
            return image
        }
    }

    /// Deletes an image and the chunks that no other image needs.
    func delete(_ id: ImageID, as principal: Principal) async throws {
        let now = time.now
        let (image, digests) = try await database.write { transaction in
            let image = try transaction.changeableImage(id, as: principal)
            guard !image.isProtected else {
                throw Fault(
                    .forbidden,
                    "cannot delete image \(image.name): it is protected; remove the protection first"
                )
            }
            let digests = try transaction.chunks(of: id)
            try transaction.removeImage(id)
            try transaction.record(
                kind: "image",
                id: id.text,
                before: image.status.rawValue,
                after: "deleted",
                cause: "deleted by \(principal.userName)",
                at: now
            )
            return (image, digests)
        }
        forget(id)
        try await removeUnreferenced(digests)
        if let content = image.content {
            try await removeUnreferenced(manifests: [content.manifestDigest])
        }
    }

    private static func unique(_ tags: [String]) -> [String] { Set(tags).sorted() }

    private static func check(_ image: Image, before: Image?, as principal: Principal) throws {
        func refuse(_ reason: String) -> Fault {
            Fault(.invalid, "cannot keep image \(image.name.prefix(64)): \(reason)")
        }
        guard image.name.utf8.count <= textBytesMax else {
            throw refuse("its name is longer than \(textBytesMax) bytes")
        }
        guard image.tags.count <= tagsMax,
            image.tags.allSatisfy({ (1...textBytesMax).contains($0.utf8.count) })
        else { throw refuse("it has more than \(tagsMax) tags, or one is empty or too long") }
        guard image.properties.count <= propertiesMax,
            image.properties.allSatisfy({ name, value in
                (1...textBytesMax).contains(name.utf8.count)
                    && value.utf8.count <= propertyBytesMax
            })
        else {
            throw refuse("it has more than \(propertiesMax) properties, or one is too long")
        }
        guard (0...1 << 20).contains(image.minDisk), (0...1 << 30).contains(image.minRAM) else {
            throw refuse("min_disk (GiB) or min_ram (MiB) is negative or too large")
        }
        if image.visibility == .everybody, before?.visibility != .everybody {
            try principal.requireSystem(.admin, to: "make image \(image.name) public")
        }
        if let before, before.diskFormat != image.diskFormat, before.status != .queued {
            throw Fault(
                .forbidden,
                "cannot change disk_format of image \(image.name): it is \(before.status.rawValue); create a new image"
            )
        }
    }
}

import Basics
import FoundationEssentials
import GRDB
import HTTP
package import Protocol
package import Store

/// The image area's part of the schema.
package enum ImageStore {
    package static let migrations = [
        Migration(
            name: "image-001",
            sql: """
                CREATE TABLE image (
                    id TEXT PRIMARY KEY,
                    name TEXT NOT NULL,
                    status TEXT NOT NULL CHECK (status IN ('queued', 'saving', 'active')),
                    diskFormat TEXT CHECK (diskFormat IN ('raw', 'qcow2')),
                    visibility TEXT NOT NULL
                        CHECK (visibility IN ('public', 'private', 'shared', 'community')),
                    isProtected INTEGER NOT NULL CHECK (isProtected IN (0, 1)),
                    owner TEXT NOT NULL,
                    minDisk INTEGER NOT NULL CHECK (minDisk >= 0),
                    minRAM INTEGER NOT NULL CHECK (minRAM >= 0),
                    tags TEXT NOT NULL,
                    properties TEXT NOT NULL,
                    fileBytes INTEGER,
                    diskBytes INTEGER,
                    md5 TEXT,
                    sha512 TEXT,
                    manifestDigest TEXT,
                    created INTEGER NOT NULL,
                    updated INTEGER NOT NULL,
                    CHECK ((status = 'active') = (manifestDigest IS NOT NULL)),
                    CHECK ((manifestDigest IS NULL) = (fileBytes IS NULL)),
                    CHECK ((manifestDigest IS NULL) = (diskBytes IS NULL)),
                    CHECK ((manifestDigest IS NULL) = (md5 IS NULL)),
                    CHECK ((manifestDigest IS NULL) = (sha512 IS NULL))
                ) STRICT;
                CREATE INDEX image_name ON image (name);
                CREATE TABLE image_chunk (
                    imageID TEXT NOT NULL REFERENCES image (id) ON DELETE CASCADE,
                    digest TEXT NOT NULL CHECK (length(digest) = 64),
                    PRIMARY KEY (imageID, digest)
                ) STRICT;
                CREATE INDEX image_chunk_digest ON image_chunk (digest);
                """
        )
    ]
}

/// What a list of images is narrowed to.
package struct ImageFilter: Sendable {
    package var name: String?
    package var status: Image.Status?
    package var visibility: Image.Visibility?
    package var owner: String?
    /// Names of the columns of the list's order; `created` descending by default.
    package var sort: [(key: SortKey, isDescending: Bool)] = []
    /// Only images after this one in the order.
    package var marker: ImageID?
    /// At most 1000.
    package var limit = 1000

    /// What lists are ordered by.
    package enum SortKey: String, Sendable {
        case name, status, created, updated
    }

    package init() {}
}

extension Transaction {
    private func image(_ row: Row) throws -> Image {
        let id: String = row["id"]
        func damaged() -> Fault {
            Fault(.internalError, "cannot read image \(id): its row is damaged")
        }
        guard let status = Image.Status(rawValue: row["status"]),
            let visibility = Image.Visibility(rawValue: row["visibility"]),
            let tags = try JSONValue(parsing: (row["tags"] as String).utf8).elements,
            let properties = try JSONValue(parsing: (row["properties"] as String).utf8).members
        else { throw damaged() }
        var content: Image.Content?
        if let digest = row["manifestDigest"] as String? {
            content = Image.Content(
                fileBytes: row["fileBytes"],
                diskBytes: row["diskBytes"],
                md5: row["md5"],
                sha512: row["sha512"],
                manifestDigest: digest
            )
        }
        return Image(
            id: ImageID(unchecked: id),
            name: row["name"],
            status: status,
            diskFormat: (row["diskFormat"] as String?).flatMap(Image.DiskFormat.init),
            visibility: visibility,
            isProtected: row["isProtected"],
            owner: row["owner"],
            minDisk: row["minDisk"],
            minRAM: row["minRAM"],
            tags: tags.compactMap(\.text),
            properties: properties.compactMapValues(\.text),
            content: content,
            created: Timestamp(nanoseconds: row["created"]),
            updated: Timestamp(nanoseconds: row["updated"])
        )
    }

    func image(_ id: ImageID) throws -> Image? {
        try Row.fetchOne(sql, sql: "SELECT * FROM image WHERE id = ?", arguments: [id.text])
            .map(image)
    }

    /// Up to two images with this name: one is the answer, two are ambiguous.
    func images(named name: String) throws -> [Image] {
        try Row.fetchAll(
            sql,
            sql: "SELECT * FROM image WHERE name = ? ORDER BY id LIMIT 2",
            arguments: [name]
        ).map(image)
    }

    /// Images that `project` may see; all of them when it is `nil`.
    func images(seenBy project: String?, _ filter: ImageFilter) throws -> [Image] {
        var conditions: [String] = []
        var arguments = StatementArguments()
        func add(_ condition: String, _ value: (any DatabaseValueConvertible)?) {
            conditions.append(condition)
            arguments += [value]
        }
        if let project {
            add("(owner = ? OR visibility = 'public')", project)
        }
        if let name = filter.name { add("name = ?", name) }
        if let status = filter.status { add("status = ?", status.rawValue) }
        if let visibility = filter.visibility { add("visibility = ?", visibility.rawValue) }
        if let owner = filter.owner { add("owner = ?", owner) }
        // Names of columns come from an enumeration, never from the request.
        let keys = filter.sort.isEmpty ? [(key: .created, isDescending: true)] : filter.sort
        let order = (keys.map { "\($0.key.rawValue) \($0.isDescending ? "DESC" : "ASC")" } + ["id"])
            .joined(separator: ", ")
        let condition = conditions.isEmpty ? "1 = 1" : conditions.joined(separator: " AND ")
        let all = try Row.fetchAll(
            sql,
            sql: "SELECT * FROM image WHERE \(condition) ORDER BY \(order)",
            arguments: arguments
        ).map(image)
        guard let marker = filter.marker else { return Array(all.prefix(filter.limit)) }
        guard let position = all.firstIndex(where: { $0.id == marker }) else {
            throw Fault(.invalid, "cannot list images after \(marker): there is no such image")
        }
        return Array(all[(position + 1)...].prefix(filter.limit))
    }

    func saveImage(_ image: Image) throws {
        try sql.execute(
            sql: """
                INSERT INTO image (id, name, status, diskFormat, visibility, isProtected, owner,
                    minDisk, minRAM, tags, properties, fileBytes, diskBytes, md5, sha512,
                    manifestDigest, created, updated)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET name = excluded.name, status = excluded.status,
                    diskFormat = excluded.diskFormat, visibility = excluded.visibility,
                    isProtected = excluded.isProtected, owner = excluded.owner,
                    minDisk = excluded.minDisk, minRAM = excluded.minRAM, tags = excluded.tags,
                    properties = excluded.properties, fileBytes = excluded.fileBytes,
                    diskBytes = excluded.diskBytes, md5 = excluded.md5, sha512 = excluded.sha512,
                    manifestDigest = excluded.manifestDigest, updated = excluded.updated
                """,
            arguments: [
                image.id.text, image.name, image.status.rawValue, image.diskFormat?.rawValue,
                image.visibility.rawValue, image.isProtected, image.owner, image.minDisk,
                image.minRAM, JSONValue.array(image.tags.map(JSONValue.string)).canonicalText,
                JSONValue.object(image.properties.mapValues(JSONValue.string)).canonicalText,
                image.content?.fileBytes, image.content?.diskBytes, image.content?.md5,
                image.content?.sha512, image.content?.manifestDigest, image.created.nanoseconds,
                image.updated.nanoseconds,
            ]
        )
    }

    func removeImage(_ id: ImageID) throws {
        try sql.execute(sql: "DELETE FROM image WHERE id = ?", arguments: [id.text])
    }

    func addChunks(_ digests: some Sequence<String>, to image: ImageID) throws {
        let statement = try sql.makeStatement(
            sql: "INSERT INTO image_chunk (imageID, digest) VALUES (?, ?) ON CONFLICT DO NOTHING"
        )
        for digest in digests { try statement.execute(arguments: [image.text, digest]) }
    }

    func chunks(of image: ImageID) throws -> [String] {
        try String.fetchAll(
            sql,
            sql: "SELECT digest FROM image_chunk WHERE imageID = ? ORDER BY digest",
            arguments: [image.text]
        )
    }

    func isReferenced(chunk digest: String) throws -> Bool {
        try Row.fetchOne(
            sql,
            sql: "SELECT 1 FROM image_chunk WHERE digest = ?",
            arguments: [digest]
        ) != nil
    }

    func isReferenced(manifest digest: String) throws -> Bool {
        try Row.fetchOne(
            sql,
            sql: "SELECT 1 FROM image WHERE manifestDigest = ?",
            arguments: [digest]
        ) != nil
    }

    /// Images whose upload a crash ended.
    func savingImages() throws -> [Image] {
        try Row.fetchAll(sql, sql: "SELECT * FROM image WHERE status = 'saving' ORDER BY id")
            .map(image)
    }
}

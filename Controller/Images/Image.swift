package import Protocol

/// An image of a whole disk.
///
/// ```
/// queued ──upload──▶ saving ──stored──▶ active ──delete──▶ (gone)
///    ▲                  │
///    └──────failed──────┘
/// ```
package struct Image: Sendable, Equatable {
    /// Where the image stands, by Glance's names.
    package enum Status: String, Sendable, CaseIterable {
        /// Registered, without content.
        case queued
        /// Content is arriving. After a restart it is queued again, because the content went with the crash.
        case saving
        /// Its content is complete and verified.
        case active
    }

    /// The format that was declared and found in the content.
    package enum DiskFormat: String, Sendable, CaseIterable {
        case raw, qcow2
    }

    /// Who sees it.
    package enum Visibility: String, Sendable, CaseIterable {
        /// Everybody with a role.
        case everybody = "public"
        /// Its own project.
        case `private`
        /// As `private`; kept because clients send it.
        case shared
        /// Everybody with a role, but lists leave it out.
        case community
    }

    /// What is known once the content was stored.
    package struct Content: Sendable, Equatable {
        /// Bytes that were uploaded.
        package var fileBytes: Int64
        /// Bytes of the disk that it describes.
        package var diskBytes: Int64
        /// Of the uploaded bytes, in hexadecimal, as Glance shows them.
        package var md5: String
        /// Of the uploaded bytes, in hexadecimal.
        package var sha512: String
        /// SHA-256 of the manifest, in hexadecimal.
        package var manifestDigest: String

        /// Takes what an upload found out.
        package init(
            fileBytes: Int64,
            diskBytes: Int64,
            md5: String,
            sha512: String,
            manifestDigest: String
        ) {
            self.fileBytes = fileBytes
            self.diskBytes = diskBytes
            self.md5 = md5
            self.sha512 = sha512
            self.manifestDigest = manifestDigest
        }
    }

    package let id: ImageID
    package var name: String
    package var status: Status
    /// `nil` until it is declared; needed before an upload.
    package var diskFormat: DiskFormat?
    package var visibility: Visibility
    package var isProtected: Bool
    /// The project that owns it.
    package var owner: String
    /// Needed disk in GiB.
    package var minDisk: Int64
    /// Needed memory in MiB.
    package var minRAM: Int64
    package var tags: [String]
    /// What operators add, for instance `rdo_agent` or `os_distro`.
    package var properties: [String: String]
    package var content: Content?
    package var created: Timestamp
    package var updated: Timestamp

    /// Takes what is stored about an image.
    package init(
        id: ImageID,
        name: String,
        status: Status,
        diskFormat: DiskFormat?,
        visibility: Visibility,
        isProtected: Bool,
        owner: String,
        minDisk: Int64,
        minRAM: Int64,
        tags: [String],
        properties: [String: String],
        content: Content?,
        created: Timestamp,
        updated: Timestamp
    ) {
        self.id = id
        self.name = name
        self.status = status
        self.diskFormat = diskFormat
        self.visibility = visibility
        self.isProtected = isProtected
        self.owner = owner
        self.minDisk = minDisk
        self.minRAM = minRAM
        self.tags = tags
        self.properties = properties
        self.content = content
        self.created = created
        self.updated = updated
    }

    /// Whether the image carries our agent, so that its first contact proves the deployment.
    package var hasAgent: Bool { properties["rdo_agent"]?.lowercased() == "true" }
}

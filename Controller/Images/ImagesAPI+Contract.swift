import HTTP
import HTTPTypes

// What the routes of Images take and answer, for the API's document.

extension Operation {
    static func listVersions(_ status: HTTPResponse.Status) -> Operation {
        Operation(
            "List versions",
            answers: .json(
                status,
                .object(["versions": .list(of: .document)], required: ["versions"])
            )
        )
    }

    static let listImages = Operation(
        "List images",
        [
            .init("name"), .init("owner"),
            .init("status", .words(Image.Status.allCases.map(\.rawValue))),
            .init("visibility", .words(Image.Visibility.allCases.map(\.rawValue) + ["all"])),
            .init("marker", .uuid), .init("limit", .integer(0...1_000_000)),
            .init("sort", .text, "Fields with directions: `name:asc,created_at:desc`."),
            .init("sort_key", .words(["name", "status", "created_at", "updated_at"])),
            .init("sort_dir", .words(["asc", "desc"])),
        ],
        answers: .ok(
            .object(
                [
                    "images": .list(of: .image), "first": .text, "next": .text, "schema": .text,
                ],
                required: ["images", "first", "schema"]
            )
        ),
        refusals: [.notFound]
    )
    static let createImage = Operation(
        "Create an image without content",
        takes: .json(.newImage),
        answers: .created(.image)
    )
    static let showImage = Operation("Show an image", answers: .ok(.image))
    static let changeImage = Operation(
        "Change an image",
        takes: .bytes("application/openstack-images-v2.1-json-patch", .patch),
        answers: .ok(.image)
    )
    static let deleteImage = Operation("Delete an image", answers: .nothing)
    static let listMembers = Operation(
        "List the projects that an image is shared with",
        answers: .ok(
            .object(
                ["members": .list(of: .document), "schema": .text],
                required: ["members", "schema"]
            )
        )
    )
    static let upload = Operation(
        "Upload an image's content",
        [
            .init("Repr-Digest", .text, "RFC 9530; what does not fit is refused.", in: .header),
            .init("Content-Digest", .text, "As `Repr-Digest`.", in: .header),
        ],
        takes: .bytes("application/octet-stream"),
        answers: .nothing
    )
    static let download = Operation(
        "Download an image's content",
        answers: .bytes("application/octet-stream"),
        .nothing
    )
    static let addTag = Operation("Give an image a tag", answers: .nothing)
    static let removeTag = Operation("Remove a tag of an image", answers: .nothing)
    static let fetchManifest = Operation(
        "Fetch what an image is made of",
        answers: .ok(.document)
    )
    static let fetchChunk = Operation(
        "Fetch one chunk of an image",
        answers: .bytes("application/zstd")
    )
}

extension Schema {
    private static let disk = Schema.words(Image.DiskFormat.allCases.map(\.rawValue))
    private static let visibility = Schema.words(Image.Visibility.allCases.map(\.rawValue))

    fileprivate static let image = Schema.object(
        [
            "id": .uuid, "name": .text, "status": .words(Image.Status.allCases.map(\.rawValue)),
            "visibility": visibility, "protected": .truth, "os_hidden": .truth,
            "owner": .textOrNull, "disk_format": disk.orNull, "container_format": .text,
            "min_disk": .integer, "min_ram": .integer, "created_at": .time, "updated_at": .time,
            "tags": .list(of: .text), "checksum": .textOrNull, "os_hash_algo": .textOrNull,
            "os_hash_value": .textOrNull, "size": .integer.orNull, "virtual_size": .integer.orNull,
            "self": .text, "file": .text, "schema": .text,
        ],
        required: [
            "id", "name", "status", "visibility", "protected", "created_at", "updated_at", "tags",
            "self", "file", "schema",
        ],
        open: true
    ).named("Image")

    fileprivate static let newImage = Schema.object(
        [
            "id": .uuid, "name": .textOrNull, "visibility": visibility, "protected": .truth,
            "min_disk": .integer(0...Int64(Int32.max)), "min_ram": .integer(0...Int64(Int32.max)),
            "tags": .list(of: .text(max: 255)), "disk_format": disk.orNull,
            "container_format": Schema.words(["bare"]).orNull, "owner": .any,
        ],
        open: true
    )
}

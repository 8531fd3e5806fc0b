import Basics
package import HTTP
import HTTPTypes
import Hummingbird
import Protocol

/// Image v2 (Glance) under `/image`.
package struct ImagesAPI: RouteArea {
    let service: ImagesService
    private let root: String

    /// `publicURL` is where clients reach the controller's root.
    package init(service: ImagesService, publicURL: String) {
        self.service = service
        root = (publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL) + "/image"
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("/image", dialect: .glance)
        let versions: JSONValue = [
            "versions": .array(
                ["v2.9", "v2.7", "v2.5", "v2.3", "v2.2", "v2.1", "v2.0"].enumerated().map {
                    index,
                    version in
                    [
                        "id": .string(version),
                        "status": .string(index == 0 ? "CURRENT" : "SUPPORTED"),
                        "links": [["rel": "self", "href": .string(root + "/v2/")]],
                    ]
                }
            )
        ]
        for path in ["", "/versions"] {
            routes.get(path, .open, .listVersions(.multipleChoices)) { _, _ in
                .json(versions, status: .multipleChoices)
            }
        }
        routes.get("/v2", .open, .listVersions(.ok)) { _, _ in .json(versions) }
        addImages(routes)
        addContent(routes)
        addTags(routes)
        for (name, schema) in ImageSchemas.all {
            routes.get(
                "/v2/schemas/\(name)",
                .role(.reader),
                Operation("Show a JSON schema", answers: .ok(.document))
            ) { _, _ in .json(schema) }
        }
    }

    private func addImages(_ routes: Routes) {
        routes.get("/v2/images", .role(.reader), .listImages) { request, context in
            let filter = try ImageFilter(request)
            let images = try await service.list(filter, as: context.requirePrincipal())
            var answer: JSONValue = [
                "images": .array(images.map(\.shape)), "first": "/v2/images",
                "schema": "/v2/schemas/images",
            ]
            if images.count == filter.limit, let last = images.last {
                answer["next"] = .string("/v2/images?marker=\(last.id)&limit=\(filter.limit)")
            }
            return .json(answer)
        }
        routes.post("/v2/images", .role(.member), .createImage) { request, context in
            let draft = try ImageDraft(try await request.json(context))
            let image = try await service.create(draft, as: context.requirePrincipal())
            context.note(target: image.id.text)
            return .json(
                image.shape,
                status: .created,
                headers: [.location: "\(root)/v2/images/\(image.id)"]
            )
        }
        routes.get("/v2/images/:id", .role(.reader), .showImage) { _, context in
            let image = try await service.show(id(context), as: context.requirePrincipal())
            return .json(image.shape)
        }
        routes.patch("/v2/images/:id", .role(.member), .changeImage) { request, context in
            let type = request.headers[.contentType] ?? ""
            guard type.hasPrefix("application/openstack-images-v2.1-json-patch") else {
                throw Fault(
                    .unsupportedType,
                    "cannot read the change: send it as application/openstack-images-v2.1-json-patch"
                )
            }
            let operations = try JSONPatchOperation.list(from: try await request.json(context))
            let image = try await service.change(id(context), as: context.requirePrincipal()) {
                try $0.apply(operations)
            }
            return .json(image.shape)
        }
        routes.delete("/v2/images/:id", .role(.member), .deleteImage) { _, context in
            try await service.delete(id(context), as: context.requirePrincipal())
            return .empty()
        }
        routes.get("/v2/images/:id/members", .role(.reader), .listMembers) { _, context in
            _ = try await service.show(id(context), as: context.requirePrincipal())
            return .json(["members": [], "schema": "/v2/schemas/members"])
        }
    }

    private func addContent(_ routes: Routes) {
        routes.put("/v2/images/:id/file", .role(.member), .upload) { request, context in
            let type = request.headers[.contentType] ?? ""
            guard type.hasPrefix("application/octet-stream") else {
                throw Fault(
                    .unsupportedType,
                    "cannot take the upload: send it as application/octet-stream"
                )
            }
            try await service.upload(
                id(context),
                request.body,
                claim: UploadClaim(request),
                as: context.requirePrincipal()
            )
            return .empty()
        }
        routes.get("/v2/images/:id/file", .role(.reader), .download) { _, context in
            let image = try await service.show(id(context), as: context.requirePrincipal())
            guard let content = image.content else { return .empty() }
            let body = try await service.download(image)
            return Response(
                status: .ok,
                headers: [
                    .contentType: "application/octet-stream", .known("Content-MD5"): content.md5,
                ],
                body: body
            )
        }
    }

    private func addTags(_ routes: Routes) {
        routes.put("/v2/images/:id/tags/:tag", .role(.member), .addTag) { _, context in
            let tag = try context.parameter("tag")
            _ = try await service.change(id(context), as: context.requirePrincipal()) {
                $0.tags.append(tag)
            }
            return .empty()
        }
        routes.delete("/v2/images/:id/tags/:tag", .role(.member), .removeTag) { _, context in
            let tag = try context.parameter("tag")
            _ = try await service.change(id(context), as: context.requirePrincipal()) { image in
                guard image.tags.contains(tag) else {
                    throw Fault(
                        .notFound,
                        "cannot remove the tag \(tag): image \(image.name) has no such tag"
                    )
                }
                image.tags.removeAll { $0 == tag }
            }
            return .empty()
        }
    }

    private func id(_ context: APIContext) throws -> ImageID {
        let text = try context.parameter("id")
        guard let id = ImageID(text) else {
            throw Fault(
                .notFound,
                "cannot find image \(text.prefix(64)): there is none with this identifier"
            )
        }
        return id
    }
}

extension UploadClaim {
    /// Reads `Content-Length` and the digests of RFC 9530 (`Repr-Digest`, `Content-Digest`).
    init(_ request: Request) throws {
        self.init()
        if let text = request.headers[.contentLength] { bytes = UInt64(text) }
        for name in ["Repr-Digest", "Content-Digest"] {
            guard let header = request.headers[.known(name)] else { continue }
            for member in header.split(separator: ",") {
                let pair = member.split(separator: "=", maxSplits: 1).map {
                    $0.drop { $0 == " " }
                }
                guard pair.count == 2, pair[1].hasPrefix(":"),
                    let close = pair[1].dropFirst().firstIndex(of: ":"),
                    let digest = base64(pair[1].dropFirst()[..<close])
                else {
                    throw Fault(
                        .invalid,
                        "cannot read the header \(name): it must be like sha-256=:<base64>:"
                    )
                }
                switch pair[0].lowercased() {
                case "sha-256": sha256 = hex(digest)
                case "sha-512": sha512 = hex(digest)
                default: break
                }
            }
        }
    }

    private func base64(_ text: Substring) -> [UInt8]? {
        let unpadded = text.prefix { $0 != "=" }
        return Base64URL.decode(
            String(unpadded.map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })
        )
    }
}

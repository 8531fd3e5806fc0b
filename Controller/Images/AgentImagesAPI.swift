package import HTTP
import HTTPTypes
import Hummingbird
import Protocol
import Basics

/// What agents fetch: `/v1/images/{id}/manifest` and `/v1/images/{id}/chunks/{sha256}`.
///
/// Each request carries a capability for one image; a chunk must belong to that image's manifest.
package struct AgentImagesAPI: RouteArea {
    /// Bytes that are read from the disk at a time.
    private static let readBytes = 256 << 10

    private let service: ImagesService
    private let files = FileIO()

    package init(service: ImagesService) { self.service = service }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("/v1/images", dialect: .plain)
        routes.get("/:id/manifest", .handler(.capability), .fetchManifest) { request, context in
            let id = try admitted(request, context)
            let manifest = try await service.manifest(of: id)
            return .json(bytes: manifest.bytes)
        }
        routes.get("/:id/chunks/:digest", .handler(.capability), .fetchChunk) { request, context in
            let id = try admitted(request, context)
            let digest = try context.parameter("digest")
            let chunk = try await service.chunk(digest, of: id)
            let body = try await files.loadFile(
                path: chunk.path,
                context: context,
                chunkLength: Self.readBytes
            )
            return Response(
                status: .ok,
                headers: [
                    .contentType: "application/zstd",
                    // Named by its content: it never changes.
                    .cacheControl: "private, max-age=86400, immutable",
                ],
                body: body
            )
        }
    }

    private func admitted(_ request: Request, _ context: APIContext) throws -> ImageID {
        guard let id = ImageID(try context.parameter("id")) else {
            throw Fault(.unauthenticated, "cannot hand out an image: its identifier is malformed")
        }
        _ = try service.admit(request.headers[.authorization], to: id)
        return id
    }
}

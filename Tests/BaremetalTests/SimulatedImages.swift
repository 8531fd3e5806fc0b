import Basics
@testable import Images
import Protocol

@testable import Baremetal

/// Two images: one with our agent, one without; and one that is too large.
struct SimulatedImages: ImageSource {
    static let withAgent = ImageID(random: [UInt8](repeating: 1, count: 16))
    static let plain = ImageID(random: [UInt8](repeating: 2, count: 16))
    static let huge = ImageID(random: [UInt8](repeating: 3, count: 16))
    static let empty = ImageID(random: [UInt8](repeating: 4, count: 16))

    func image(_ identifierOrName: String) async throws -> Image {
        let known: [String: ImageID] = [
            "overcloud": Self.withAgent, "plain": Self.plain, "huge": Self.huge,
            "empty": Self.empty,
        ]
        guard let id = known[identifierOrName] ?? ImageID(identifierOrName) else {
            throw Fault(.notFound, "cannot find image \(identifierOrName)")
        }
        let now = Timestamp(seconds: 1_800_000_000)
        let content = Image.Content(
            fileBytes: 1 << 20,
            diskBytes: id == Self.huge ? 1 << 40 : 4 << 30,
            md5: "",
            sha512: "",
            manifestDigest: ""
        )
        return Image(
            id: id,
            name: identifierOrName,
            status: id == Self.empty ? .queued : .active,
            diskFormat: .raw,
            visibility: .everybody,
            isProtected: false,
            owner: "",
            minDisk: 0,
            minRAM: 0,
            tags: [],
            properties: id == Self.withAgent ? ["rdo_agent": "true"] : [:],
            content: id == Self.empty ? nil : content,
            created: now,
            updated: now
        )
    }

    func manifest(of image: ImageID) async throws -> ImagesService.Manifest {
        ImagesService.Manifest(digest: [UInt8](repeating: 9, count: 32), bytes: [])
    }

    func makeCapability(
        image: ImageID,
        node: NodeID,
        attempt: Attempt,
        keyFingerprint: String,
        validFor span: Duration
    ) async -> String { "capability" }
}

import Baremetal
import Basics
import Images
import Protocol

/// The images of a world, and who may fetch them.
final class SimulatedImages: Sendable {
    /// What a server of chunks says.
    enum Answer {
        case bytes([UInt8])
        case refused
        case silent
    }

    struct Grant {
        let image: ImageID
        let node: NodeID
        let ends: Duration
    }

    let all: [SimulatedImage]
    private let grants = Confined<[String: Grant]>([:])
    private let dice: Confined<Dice>
    private let executor: SimulatedExecutor
    private let faults: ActiveFaults
    /// Which machine is which node.
    let nodeOf = Confined<[String: NodeID]>([:])

    init(seed: UInt64, executor: SimulatedExecutor, faults: ActiveFaults) {
        var dice = Dice(seed: seed, "images")
        let first = SimulatedImage(name: "overcloud", hasAgent: true, dice: &dice, shared: [])
        let second = SimulatedImage(
            name: "overcloud-next",
            hasAgent: true,
            dice: &dice,
            shared: Array(first.bodies.prefix(6))
        )
        let plain = SimulatedImage(name: "plain", hasAgent: false, dice: &dice, shared: [])
        all = [first, second, plain]
        self.executor = executor
        self.faults = faults
        self.dice = Confined(dice)
    }

    func image(_ id: ImageID) -> SimulatedImage? { all.first { $0.id == id } }

    func grant(_ image: ImageID, to node: NodeID, for span: Duration) -> String {
        let text = "capability-\(node)-\(dice.value.next())"
        grants.value[text] = Grant(image: image, node: node, ends: executor.elapsed + span)
        return text
    }

    /// Hands out a manifest or a chunk.
    func serve(
        _ path: String,
        of image: String,
        with capability: String,
        to machine: SimulatedMachine
    ) -> Answer {
        guard machine.world.network.controller(for: machine.address) != nil else { return .silent }
        if faults.contains(.imageServer), dice.value.happens(60) { return .silent }
        guard let grant = grants.value[capability], grant.image.text == image,
            grant.ends > executor.elapsed, nodeOf.value[machine.name] == grant.node,
            let image = all.first(where: { $0.id == grant.image })
        else { return .refused }
        if path == "/manifest" { return .bytes(image.manifest.bytes) }
        guard let bytes = image.packed[String(path.dropFirst("/chunks/".count))] else {
            return .refused
        }
        guard faults.contains(.imageServer), dice.value.happens(40) else { return .bytes(bytes) }
        // A byte that changed on the way; the digest must show it.
        var wrong = bytes
        wrong[dice.value.below(wrong.count)] ^= 1
        return .bytes(wrong)
    }
}

/// The image service as one run of the controller sees it.
struct ImageCatalogue: ImageSource {
    let images: SimulatedImages
    let life: Life

    func image(_ identifierOrName: String) async throws -> Image {
        try life.check()
        guard
            let found = images.all.first(where: {
                $0.name == identifierOrName || $0.id.text == identifierOrName
            })
        else { throw Fault(.notFound, "cannot find image \(identifierOrName)") }
        return Image(
            id: found.id,
            name: found.name,
            status: .active,
            diskFormat: .raw,
            visibility: .everybody,
            isProtected: false,
            owner: "",
            minDisk: 0,
            minRAM: 0,
            tags: [],
            properties: found.hasAgent ? ["rdo_agent": "true"] : [:],
            content: Image.Content(
                fileBytes: SimulatedImage.imageBytes,
                diskBytes: SimulatedImage.imageBytes,
                md5: "",
                sha512: "",
                manifestDigest: ""
            ),
            created: SimulatedTime.beginning,
            updated: SimulatedTime.beginning
        )
    }

    func manifest(of image: ImageID) async throws -> ImagesService.Manifest {
        try life.check()
        guard let found = images.image(image) else {
            throw Fault(.notFound, "cannot find image \(image)")
        }
        return found.manifest
    }

    func makeCapability(
        image: ImageID,
        node: NodeID,
        attempt: Attempt,
        keyFingerprint: String,
        validFor span: Duration
    ) async -> String {
        images.grant(image, to: node, for: span)
    }
}

import Basics
package import Protocol

/// The only door of the image area.
package actor ImagesService {
    /// What an agent needs to write an image.
    package struct Manifest: Sendable, Equatable {
        /// SHA-256 of `bytes`.
        package let digest: [UInt8]
        /// Canonical JSON.
        package let bytes: [UInt8]
    }

    package init() {}

    /// Finds an image by its identifier or its name.
    /// - Throws: `Fault`: `notFound`, or `conflict` when several have the name.
    package func image(_ identifierOrName: String) async throws -> Image {
        throw Fault(.notSupported, "cannot find image \(identifierOrName)")
    }

    /// The manifest of an active image.
    /// - Throws: `Fault`: `notFound`, or `conflict` when the image has no content yet.
    package func manifest(of image: ImageID) async throws -> Manifest {
        throw Fault(.notSupported, "cannot find image \(image)")
    }

    /// Makes the value of the header `Authorization` (with the word `Capability`) by which a node's agent
    /// fetches the manifest and chunks of one image.
    ///
    /// `keyFingerprint` is that of the key the agent is bound to, `attempt` the deployment's.
    package func makeCapability(
        image: ImageID,
        node: NodeID,
        attempt: Attempt,
        keyFingerprint: String,
        validFor span: Duration
    ) -> String {
        ""
    }
}

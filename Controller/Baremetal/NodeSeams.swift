import Agents
import Basics
package import Boot
package import Images
package import Protocol

/// Makes and takes back what agents prove themselves with.
///
/// The agents' registry does it.
package protocol AgentKeys: Sendable {
    /// Makes a token of 32 bytes for one enrolment.
    func issueToken(
        for node: NodeID?,
        mac: String?,
        role: AgentRole,
        attempt: Attempt,
        validFor span: Duration
    ) async throws -> [UInt8]

    /// True when the node's bound key is undisputed: only then does it get an image or a token.
    func mayReceiveSecrets(_ node: NodeID, role: AgentRole) async throws -> Bool

    /// Ends the sessions of a node's keys and forgets them; `nil` takes all roles.
    func revokeKeys(of node: NodeID, role: AgentRole?) async throws
}

/// Knows images.
///
/// The image service does it.
package protocol ImageSource: Sendable {
    /// Finds an image by its identifier or its name.
    func image(_ identifierOrName: String) async throws -> Image

    /// The manifest of an active image.
    func manifest(of image: ImageID) async throws -> ImagesService.Manifest

    /// The text by which a node's agent fetches one image.
    func makeCapability(
        image: ImageID,
        node: NodeID,
        attempt: Attempt,
        keyFingerprint: String,
        validFor span: Duration
    ) async -> String
}

extension AgentRegistry: AgentKeys {}
extension ImagesService: ImageSource {}
extension LeaseTable: LeaseLookup {}

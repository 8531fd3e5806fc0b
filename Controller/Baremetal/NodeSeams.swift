import Agents
import Basics
package import Boot
package import Images
package import Power
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

/// A kind of machine: how its power is switched, and whether an agent runs on it.
package struct NodeDriver: Sendable {
    /// As in the node's field `driver`.
    package let name: String
    package let power: any PowerControl
    /// Without an agent its work is done at once: machines that exist only in tests.
    package let hasAgent: Bool
    /// Whether a BMC address is needed.
    package let needsBMC: Bool
    /// Steps of its own, beside those of the agent.
    package var steps: (any DriverSteps)?

    package init(name: String, power: any PowerControl, hasAgent: Bool, needsBMC: Bool) {
        self.name = name
        self.power = power
        self.hasAgent = hasAgent
        self.needsBMC = needsBMC
    }

    /// Real machines with an IPMI BMC.
    package static func ipmi(_ power: any PowerControl) -> NodeDriver {
        NodeDriver(name: "ipmi", power: power, hasAgent: true, needsBMC: true)
    }

    /// Machines that exist only in the database, to try the API; enabled by configuration only.
    package static func fake() -> NodeDriver {
        NodeDriver(name: "fake-hardware", power: FakePower(), hasAgent: false, needsBMC: false)
    }

    /// The BMC of a node.
    /// - Throws: `Fault` that names the missing or wrong field.
    func bmc(of node: Node) throws -> BMC {
        guard !needsBMC else { return try node.driverInfo.bmc(label: node.label) }
        return BMC(host: node.id.text, port: 1, user: "fake", password: Secret(""))
    }
}

package import Basics
package import Boot
import FoundationEssentials
package import HTTP
import Protocol

/// What the operator wants on the config drive, in the three documents of the Bare Metal API.
package struct ConfigDrive: Sendable, Equatable, Codable {
    package var metaData: JSONValue?
    package var networkData: JSONValue?
    package var vendorData: JSONValue?
    /// A text as it stands, or a JSON value.
    package var userData: JSONValue?

    private enum CodingKeys: String, CodingKey {
        case metaData = "meta_data"
        case networkData = "network_data"
        case vendorData = "vendor_data"
        case userData = "user_data"
    }

    /// Bytes of all documents together.
    package static let bytesMax = 512 << 10

    /// Reads the `configdrive` of a request.
    /// - Throws: `Fault` of kind `invalid`; a ready-made ISO image is refused, because it would have to be
    ///   taken apart to add the agent's file.
    package init(_ document: JSONValue) throws {
        guard let members = document.members else {
            throw Fault(
                .invalid,
                "cannot take the config drive: it must be a JSON object with meta_data, network_data, user_data or vendor_data; a ready-made image is not supported"
            )
        }
        guard document.canonicalText.utf8.count <= Self.bytesMax else {
            throw Fault(
                .invalid,
                "cannot take the config drive: it is larger than \(Self.bytesMax) bytes"
            )
        }
        for (name, value) in members {
            switch name {
            case "meta_data" where value.members != nil: metaData = value
            case "network_data" where value.members != nil: networkData = value
            case "vendor_data" where value.members != nil: vendorData = value
            case "user_data" where value.members != nil || value.text != nil: userData = value
            default:
                throw Fault(
                    .invalid,
                    "cannot take the config drive: “\(name.prefix(40))” is unknown or has the wrong type"
                )
            }
        }
    }

    /// A drive with nothing that was asked for.
    package init() {}

    /// The files of the drive: a name without a slash stands below `openstack/latest`.
    ///
    /// `agent` is what our agent needs to enrol, `nil` for an image without one.
    package func files(for node: Node, agent: BootDocument?) throws -> [String: [UInt8]] {
        var meta = metaData?.members ?? [:]
        meta["uuid"] = meta["uuid"] ?? .string(node.instanceID ?? node.id.text)
        meta["name"] = meta["name"] ?? .string(node.label)
        meta["hostname"] = meta["hostname"] ?? .string(node.label)
        var files = ["meta_data.json": Array(JSONValue.object(meta).canonicalText.utf8)]
        let network = networkData ?? (node.networkData.isEmpty ? nil : .object(node.networkData))
        if let network { files["network_data.json"] = Array(network.canonicalText.utf8) }
        if let vendorData { files["vendor_data2.json"] = Array(vendorData.canonicalText.utf8) }
        switch userData {
        case .string(let text): files["user_data"] = Array(text.utf8)
        case .some(let value): files["user_data"] = Array(value.canonicalText.utf8)
        case nil: break
        }
        if let agent { files["rdo/agent.json"] = Array(agent.text.utf8) }
        return files
    }
}

/// What an installed system's agent needs to enrol.
package struct BootDocument: Sendable, Equatable {
    package let controller: BootFragment.Controller
    package let token: Secret

    /// The JSON of `rdo/agent.json`.
    var text: String {
        JSONValue.object([
            "address": .string(controller.address),
            "enrolment_port": .integer(Int64(controller.enrolmentPort)),
            "control_port": .integer(Int64(controller.controlPort)),
            "telemetry_port": .integer(Int64(controller.telemetryPort)),
            "curve_key": .string(controller.curveKey),
            "token": .string(Data(token.revealBytes()).base64EncodedString()),
        ]).canonicalText
    }
}

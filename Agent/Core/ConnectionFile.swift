package import Basics
import FoundationEssentials
import Protocol
package import Transport

/// Where the controller is and what lets us in: `/rdo/boot.json` of the ramdisk, `rdo/agent.json` of the
/// config drive.
package struct ConnectionFile: Sendable, Equatable {
    package var address: String
    package var enrolmentPort: UInt16
    package var controlPort: UInt16
    package var telemetryPort: UInt16
    /// The controller's key.
    package var controllerKey: CurvePublicKey
    /// 32 bytes; empty once it was overwritten.
    package var token: Secret
    /// Lower case with colons; empty when it is not known.
    package var bootMAC: String

    /// A file longer than this is refused.
    package static let bytesMax = 16_384

    /// Reads the file.
    ///
    /// Unknown keys are ignored: a newer controller may write more.
    /// - Throws: `Fault` of kind `invalid` that names what is wrong, never the token.
    package init(json bytes: [UInt8], name: String) throws {
        func wrong(_ what: String) -> Fault {
            Fault(.invalid, "cannot read \(name): \(what); let the controller make it anew")
        }
        guard bytes.count <= Self.bytesMax else { throw wrong("it is too long") }
        let form: Form
        do {
            form = try JSONDecoder().decode(Form.self, from: Data(bytes))
        } catch {
            throw wrong("it is not the JSON that it should be")
        }
        guard isNetworkAddress(form.address) else { throw wrong("“address” is no IP address") }
        guard let key = CurvePublicKey(z85: form.curveKey) else {
            throw wrong("“curve_key” is no CURVE key")
        }
        let token = form.token.flatMap { Data(base64Encoded: $0) } ?? Data()
        guard token.isEmpty || token.count == 32 else { throw wrong("“token” has a wrong length") }
        address = form.address
        (enrolmentPort, controlPort) = (form.enrolmentPort, form.controlPort)
        telemetryPort = form.telemetryPort
        controllerKey = key
        // An overwritten token decodes to zeros.
        self.token = Secret(bytes: token.allSatisfy { $0 == 0 } ? [] : Array(token))
        bootMAC = (form.bootMAC ?? "").lowercased()
    }

    /// The file without its token, for keeping.
    package var jsonWithoutToken: [UInt8] {
        let form = Form(
            address: address,
            enrolmentPort: enrolmentPort,
            controlPort: controlPort,
            telemetryPort: telemetryPort,
            curveKey: controllerKey.z85,
            token: nil,
            bootMAC: bootMAC
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Never nil, as the failure says.
        guard let json = try? encoder.encode(form) else {
            preconditionFailure("texts and numbers always encode")
        }
        return Array(json)
    }

    private struct Form: Codable {
        let address: String
        let enrolmentPort: UInt16
        let controlPort: UInt16
        let telemetryPort: UInt16
        let curveKey: String
        let token: String?
        let bootMAC: String?

        enum CodingKeys: String, CodingKey {
            case address
            case enrolmentPort = "enrolment_port"
            case controlPort = "control_port"
            case telemetryPort = "telemetry_port"
            case curveKey = "curve_key"
            case token
            case bootMAC = "boot_mac"
        }
    }
}

/// Whether the text may stand in an endpoint: an IPv4 address, or an IPv6 address without brackets.
private func isNetworkAddress(_ text: String) -> Bool {
    let characters = text.utf8
    guard (3...45).contains(characters.count) else { return false }
    return characters.contains(UInt8(ascii: ":"))
        ? characters.allSatisfy {
            Character(UnicodeScalar($0)).isHexDigit || $0 == 0x3a || $0 == 0x2e
        }
        : characters.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2e }
}

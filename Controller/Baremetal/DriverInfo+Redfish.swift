import Basics
import HTTP
package import Power

extension DriverInfo {
    /// Folders of the host whose certificates `redfish_verify_ca` may name.
    static let authorityFolders = [
        "/etc/rdo/", "/etc/ssl/", "/etc/pki/", "/usr/local/share/ca-certificates/",
        "/usr/share/ca-certificates/",
    ]

    /// Where the Redfish service is; the keys are Ironic's.
    ///
    /// `label` is the node, for messages.
    /// - Throws: `Fault` of kind `invalid` that names the missing or wrong field.
    package func redfish(label: String) throws -> BMC {
        func fail(_ what: String) -> Fault {
            Fault(.invalid, "cannot reach the BMC of node \(label): \(what)")
        }
        guard let text = fields["redfish_address"]?.text, !text.isEmpty else {
            throw fail(
                "driver_info has no redfish_address; set it with --driver-info redfish_address=https://…"
            )
        }
        guard let address = RedfishAddress(text) else {
            throw fail(
                "redfish_address “\(text.prefix(80))” is no address; write it as https://host:port, without user, query and fragment"
            )
        }
        var access = RedfishAccess(isSecure: address.isSecure)
        if !address.path.isEmpty { access.root = address.path }
        if let value = fields["redfish_system_id"], value != .null {
            guard let path = value.text, RedfishAddress.isPath(path), !path.contains("?") else {
                throw fail("redfish_system_id is no path such as /redfish/v1/Systems/1")
            }
            access.system = path
        }
        let user = fields["redfish_username"]?.text ?? ""
        let password = secrets["redfish_password"] ?? Secret("")
        guard user.utf8.count <= 256, !user.contains(":"), user.utf8.allSatisfy({ $0 >= 0x20 })
        else {
            throw fail("redfish_username has a colon or control characters, or is too long")
        }
        guard user.isEmpty == password.isEmpty else {
            throw fail("redfish_username and redfish_password go together")
        }
        access.authentication = try authentication(fail)
        access.verification = try verification(fail)
        return BMC(
            host: address.host,
            port: address.port,
            user: user,
            password: password,
            redfish: access
        )
    }

    private func authentication(
        _ fail: (String) -> Fault
    ) throws -> RedfishAccess.Authentication {
        guard let value = fields["redfish_auth_type"], value != .null else { return .auto }
        guard let kind = value.text.flatMap(RedfishAccess.Authentication.init(rawValue:)) else {
            throw fail("redfish_auth_type must be basic, session or auto")
        }
        return kind
    }

    private func verification(_ fail: (String) -> Fault) throws -> RedfishAccess.Verification {
        guard let value = fields["redfish_verify_ca"], value != .null else { return .host }
        if let isOn = value.truth { return isOn ? .host : .off }
        // Who registers nodes must not find out what other files the host has.
        guard let path = value.text, RedfishAddress.isPath(path),
            Self.authorityFolders.contains(where: path.hasPrefix)
        else {
            throw fail(
                "redfish_verify_ca must be true, false or a PEM file below \(Self.authorityFolders.joined(separator: ", "))"
            )
        }
        return .file(path)
    }
}

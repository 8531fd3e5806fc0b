import HTTP

/// Reads what Redfish services answer.
///
/// The documents come from a BMC and are not trusted: each list has a limit, texts are bounded, a value of
/// another type than the schema's counts as absent. Links stay texts here; only `BMC.path(of:)` makes paths
/// of them.
enum RedfishAnswer {
    /// Members of a collection that are read at most.
    static let membersMax = 64
    /// Characters of a text that are kept at most.
    static let textMax = 1024
    /// Levels of a document at most.
    static let depthMax = JSONValue.depthMax

    /// Reads a document: a JSON object.
    /// - Throws: `RedfishTrouble.malformed` that says what it is instead.
    static func document(_ body: [UInt8]) throws(RedfishTrouble) -> JSONValue {
        let start = body.first { !$0.isSpace }
        guard let start else { throw .malformed("it is empty") }
        guard start == UInt8(ascii: "{") || start == UInt8(ascii: "[") else {
            throw .malformed(
                start == UInt8(ascii: "<") ? "it is a web page, not JSON" : "it is not JSON"
            )
        }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: body)
        } catch {
            throw .malformed("it is not JSON at byte \(error.offset): \(error.reason)")
        }
        guard value.members != nil else { throw .malformed("it is no JSON object") }
        return value
    }

    /// The links of a list: `[{"@odata.id": …}]`.
    static func links(_ value: JSONValue?) -> [String] {
        (value?.elements ?? []).prefix(membersMax).compactMap { link($0) }
    }

    /// One link: `{"@odata.id": …}`.
    static func link(_ value: JSONValue?) -> String? {
        guard let text = value?["@odata.id"]?.text, !text.isEmpty,
            text.utf8.count <= RedfishAddress.pathBytesMax
        else { return nil }
        return text
    }

    /// A text without control characters; `nil` when it is empty or none.
    static func text(_ value: JSONValue?) -> String? {
        guard let text = value?.text, !text.isEmpty else { return nil }
        return printable(text, max: textMax)
    }

    /// Short texts of a list.
    static func texts(_ value: JSONValue?) -> [String] {
        (value?.elements ?? []).prefix(membersMax).compactMap { text($0) }
    }

    /// A finite number.
    static func number(_ value: JSONValue?) -> Double? {
        switch value {
        case .integer(let number): Double(number)
        case .number(let number) where number.isFinite: number
        case .null, .bool, .number, .string, .array, .object, nil: nil
        }
    }

    /// The words of an error document, the most telling first; empty when it has none.
    static func words(_ body: [UInt8]) -> String {
        // An error page is no document, and nothing of it is worth telling.
        guard let document = try? document(body), let error = document["error"] else { return "" }
        let infos = (error["@Message.ExtendedInfo"]?.elements ?? []).prefix(4)
        let told = infos.compactMap { text($0["Message"]) }
        let words = told.isEmpty ? text(error["message"]).map { [$0] } ?? [] : told
        return printable(words.joined(separator: " "), max: 300)
    }
}

extension UInt8 {
    fileprivate var isSpace: Bool { self == 0x20 || (0x09...0x0d).contains(self) }
}

/// Where the parts of a service are.
struct RedfishRoot: Equatable {
    let systems: String?
    let sessions: String?
    let events: String?
    let updates: String?
    let accounts: String?

    init(_ document: JSONValue) {
        systems = RedfishAnswer.link(document["Systems"])
        events = RedfishAnswer.link(document["EventService"])
        updates = RedfishAnswer.link(document["UpdateService"])
        accounts = RedfishAnswer.link(document["AccountService"])
        sessions = RedfishAnswer.link(document["Links"]?["Sessions"])
    }
}

/// Something that a resource can be told to do.
struct RedfishAction: Equatable {
    let target: String
    /// What one of its parameters may be, if the service says so.
    let values: [String]
    /// Where the service says so, if elsewhere.
    let info: String?

    /// Reads the action with this name, and the values that `parameter` may have.
    init?(_ actions: JSONValue?, _ name: String, parameter: String = "") {
        guard let action = actions?["#" + name], let target = action["target"]?.text,
            !target.isEmpty,
            target.utf8.count <= RedfishAddress.pathBytesMax
        else { return nil }
        self.target = target
        values = RedfishAnswer.texts(action["\(parameter)@Redfish.AllowableValues"])
        info = action["@Redfish.ActionInfo"]?.text
    }
}

/// A machine, as its BMC describes it.
struct RedfishSystem: Equatable {
    /// What the firmware is told to boot from.
    struct Boot: Equatable {
        let target: String?
        let enabled: String?
        let mode: String?
        let targets: [String]
    }

    let id: String
    let uuid: String?
    /// The BMC's own word, such as `On` or `PoweringOn`.
    let power: String?
    let boot: Boot
    let reset: RedfishAction?
    let indicator: String?
    let biosVersion: String?
    let manufacturer: String?
    let secureBoot: String?
    let bios: String?
    let virtualMedia: String?
    let logs: String?
    let managers: [String]
    let chassis: [String]

    /// - Throws: `RedfishTrouble.malformed` when it is no computer system.
    init(_ document: JSONValue) throws(RedfishTrouble) {
        let type = document["@odata.type"]?.text ?? "#ComputerSystem."
        guard type.contains("ComputerSystem."), let id = RedfishAnswer.text(document["Id"]) else {
            throw .malformed("redfish_system_id leads to something that is no computer system")
        }
        self.id = id
        uuid = RedfishAnswer.text(document["UUID"])?.lowercased()
        power = RedfishAnswer.text(document["PowerState"])
        let override = document["Boot"]
        boot = Boot(
            target: RedfishAnswer.text(override?["BootSourceOverrideTarget"]),
            enabled: RedfishAnswer.text(override?["BootSourceOverrideEnabled"]),
            mode: RedfishAnswer.text(override?["BootSourceOverrideMode"]),
            targets: RedfishAnswer.texts(
                override?["BootSourceOverrideTarget@Redfish.AllowableValues"]
            )
        )
        reset = RedfishAction(
            document["Actions"],
            "ComputerSystem.Reset",
            parameter: "ResetType"
        )
        indicator = RedfishAnswer.text(document["IndicatorLED"])
        biosVersion = RedfishAnswer.text(document["BiosVersion"])
        manufacturer = RedfishAnswer.text(document["Manufacturer"])
        secureBoot = RedfishAnswer.link(document["SecureBoot"])
        bios = RedfishAnswer.link(document["Bios"])
        virtualMedia = RedfishAnswer.link(document["VirtualMedia"])
        logs = RedfishAnswer.link(document["LogServices"])
        managers = RedfishAnswer.links(document["Links"]?["ManagedBy"])
        chassis = RedfishAnswer.links(document["Links"]?["Chassis"])
    }

    /// A machine that is going on or off is still in the state that it leaves.
    var powerState: PowerState {
        switch power {
        case "On", "PoweringOff": .on
        case "Off", "PoweringOn": .off
        default: .unknown
        }
    }

    var bootMode: BootMode? {
        switch boot.mode {
        case "UEFI": .uefi
        case "Legacy": .bios
        default: nil
        }
    }

    var bootChoice: BootChoice {
        let isSet = boot.enabled != "Disabled" && boot.enabled != nil
        let device: BootDevice? =
            switch boot.target {
            case "Pxe": .pxe
            case "Hdd": .disk
            case "Cd", "UsbCd": .cdrom
            case "BiosSetup": .bios
            default: nil
            }
        return BootChoice(
            device: isSet ? device : nil,
            isPersistent: isSet && device != nil && boot.enabled == "Continuous"
        )
    }
}

/// A drive that the BMC shows to the machine.
struct RedfishMedium: Equatable {
    let id: String
    let types: [String]
    let image: String?
    let isInserted: Bool
    let isWriteProtected: Bool?
    let connectedVia: String?
    let insert: RedfishAction?
    let eject: RedfishAction?

    init?(_ document: JSONValue) {
        guard let id = RedfishAnswer.text(document["Id"]) else { return nil }
        self.id = id
        types = RedfishAnswer.texts(document["MediaTypes"])
        image = RedfishAnswer.text(document["Image"])
        isInserted = document["Inserted"]?.bool ?? (image != nil)
        isWriteProtected = document["WriteProtected"]?.bool
        connectedVia = RedfishAnswer.text(document["ConnectedVia"])
        insert = RedfishAction(document["Actions"], "VirtualMedia.InsertMedia")
        eject = RedfishAction(document["Actions"], "VirtualMedia.EjectMedia")
    }
}

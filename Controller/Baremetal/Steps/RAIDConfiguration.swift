import Basics
import HTTP
import Protocol
import Store

/// Target RAID configurations: Ironic's schema (`ironic/drivers/raid_config_schema.json`), and what of it software
/// RAID can do (IPA's `hardware.py`, `validate_configuration`).
enum RAIDConfiguration {
    /// What may be said of a logical disk, for people.
    static let properties = [
        "raid_level": "Level of the logical disk: \(levels.joined(separator: ", ")). Required.",
        "size_gb": "Size in GiB, or MAX for all that the other logical disks leave. Required.",
        "volume_name": "Name of the volume; one is made up without it.",
        "is_root_volume": "Whether an image goes to this logical disk. At most one does.",
        "share_physical_disks": "Whether other logical disks may use the same physical disks.",
        "disk_type": "Kind of physical disk: hdd or ssd.",
        "interface_type": "How physical disks are attached: sata, scsi or sas.",
        "number_of_physical_disks": "How many physical disks to use, above zero.",
        "controller": "The RAID controller; software for arrays of the operating system.",
        "physical_disks":
            "Names of physical disks; for software RAID a list of at least two root device hints, one for each member. Takes controller.",
    ]

    private static let levels = ["JBOD", "0", "1", "2", "5", "6", "1+0", "5+0", "6+0"]
    /// What the kernel makes, and how mdadm spells it.
    private static let softwareLevels = ["0": "0", "1": "1", "5": "5", "6": "6", "1+0": "10"]
    private static let disksMax = 64
    private static let nameBytesMax = 27

    private static func wrong(_ what: String) -> Fault {
        Fault(.invalid, "RAID config validation error: \(what)")
    }

    // MARK: - Schema

    /// Checks a configuration against Ironic's schema.
    /// - Throws: `Fault` of kind `invalid` in the words of Ironic.
    static func check(_ config: [String: JSONValue]) throws {
        if let other = config.keys.sorted().first(where: { $0 != "logical_disks" }) {
            throw wrong(
                "“\(other.prefix(40))” is not known; a configuration has logical_disks only"
            )
        }
        guard let list = config["logical_disks"] else { throw wrong("logical_disks is required") }
        guard let disks = list.elements, (1...disksMax).contains(disks.count) else {
            throw wrong("logical_disks must be a list of 1 to \(disksMax) logical disks")
        }
        for disk in disks { try check(logicalDisk: disk) }
        let roots = disks.count { $0["is_root_volume"] == true }
        guard roots <= 1 else {
            throw Fault(
                .invalid,
                "RAID config cannot have more than one root volume; \(roots) root volumes were specified"
            )
        }
    }

    private static func check(logicalDisk disk: JSONValue) throws {
        guard let members = disk.members else { throw wrong("a logical disk must be an object") }
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            func require(_ isRight: Bool, _ what: String) throws {
                guard isRight else { throw wrong("\(name) must be \(what)") }
            }
            let word = value.text ?? ""
            switch name {
            case "raid_level":
                try require(levels.contains(word), "one of \(levels.joined(separator: ", "))")
            case "size_gb":
                try require(
                    word == "MAX" || (0...(1 << 30)).contains(value.integer ?? -1),
                    "a number of GiB or MAX"
                )
            case "volume_name", "controller":
                try require(value.text != nil && word.utf8.count <= 255, "a text")
            case "is_root_volume", "share_physical_disks":
                try require(value.bool != nil, "true or false")
            case "disk_type": try require(["hdd", "ssd"].contains(word), "hdd or ssd")
            case "interface_type":
                try require(["sata", "scsi", "sas"].contains(word), "sata, scsi or sas")
            case "number_of_physical_disks":
                try require((1...1000).contains(value.integer ?? 0), "a number above zero")
            case "physical_disks":
                let disks = value.elements ?? []
                let isNames = disks.allSatisfy { $0.text != nil }
                let isHints = disks.count >= 2 && disks.allSatisfy { $0.members != nil }
                try require(
                    value.elements != nil && disks.count <= disksMax && (isNames || isHints),
                    "a list of names, or of at least two objects with hints"
                )
            default: throw wrong("“\(name.prefix(40))” is no property of a logical disk")
            }
        }
        for name in ["raid_level", "size_gb"] where members[name] == nil {
            throw wrong("\(name) is required")
        }
        guard members["physical_disks"] == nil || members["controller"] != nil else {
            throw wrong("physical_disks takes controller beside it")
        }
    }

    // MARK: - Software RAID

    /// The arrays that a configuration comes to.
    ///
    /// Number and size of the disks are the agent's to check.
    /// - Throws: `Fault` of kind `invalid` that names every rule that is broken.
    static func layout(
        of config: [String: JSONValue],
        bootMode: String
    ) throws -> WireRAIDLayout {
        let disks = config["logical_disks"]?.elements ?? []
        var broken: [String] = []
        if !(1...2).contains(disks.count) { broken.append("it takes one or two logical disks") }
        if disks.contains(where: { $0["controller"]?.text != "software" }) {
            broken.append("every logical disk must have controller “software”")
        }
        if disks.first.map({ $0["raid_level"] != "1" }) == true {
            broken.append("the first logical disk must have raid_level 1")
        }
        if disks.count(where: { $0["size_gb"] == "MAX" }) > 1 {
            broken.append("only one logical disk can have the size MAX")
        }
        let names = disks.compactMap { $0["volume_name"]?.text }
        if Set(names).count != names.count { broken.append("a volume_name is there twice") }
        var layout = WireRAIDLayout()
        layout.bootMode = bootMode
        for disk in disks { layout.volumes.append(volume(of: disk, &broken)) }
        guard broken.isEmpty else {
            throw Fault(
                .invalid,
                "could not validate the software RAID configuration: \(broken.joined(separator: "; "))"
            )
        }
        return layout
    }

    private static func volume(
        of disk: JSONValue,
        _ broken: inout [String]
    ) -> WireRAIDLayout.Volume {
        var volume = WireRAIDLayout.Volume()
        let level = disk["raid_level"]?.text ?? ""
        if let known = softwareLevels[level] {
            volume.level = known
        } else {
            broken.append("raid_level \(level.prefix(8)) is not made by software")
        }
        if disk["size_gb"] != "MAX" {
            let size = disk["size_gb"]?.integer ?? 0
            if size <= 0 { broken.append("size_gb must be above zero or MAX") }
            volume.sizeMib = UInt64(clamping: size) << 10
        }
        volume.name = disk["volume_name"]?.text ?? ""
        if !isName(volume.name) {
            broken.append(
                "volume_name “\(volume.name.prefix(40))” must have at most \(nameBytesMax) letters, digits, “-”, “_” or “.” and begin with a letter or digit"
            )
        }
        volume.isRoot = disk["is_root_volume"] == true
        if let hints = disk["physical_disks"]?.elements {
            if hints.count < 2 || hints.contains(where: { $0.members?.isEmpty != false }) {
                broken.append("physical_disks must be a list of at least two objects with hints")
            }
            volume.disks = hints.map { WireRootDeviceHints($0.members ?? [:]) }
        }
        return volume
    }

    private static func isName(_ name: String) -> Bool {
        guard let first = name.unicodeScalars.first else { return true }
        func isPlain(_ scalar: Unicode.Scalar) -> Bool {
            scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar))
        }
        return name.utf8.count <= nameBytesMax && isPlain(first)
            && name.unicodeScalars.allSatisfy { isPlain($0) || "-_.".unicodeScalars.contains($0) }
    }

    /// The arrays of a configuration that was built, with their identities and on the same disks.
    static func built(_ config: [String: JSONValue], bootMode: String) -> WireRAIDLayout {
        var layout = WireRAIDLayout()
        layout.bootMode = bootMode
        var ignored: [String] = []
        for disk in config["logical_disks"]?.elements ?? [] {
            var volume = volume(of: disk, &ignored)
            volume.array = disk["array_uuid"]?.text ?? ""
            let members = disk["member_disks"]?.elements ?? []
            volume.members = UInt32(members.count)
            let serials = members.compactMap { $0["serial"]?.text }.filter { !$0.isEmpty }
            if serials.count == members.count, Set(serials).count == serials.count {
                volume.disks = serials.map { serial in
                    var hints = WireRootDeviceHints()
                    hints.serial = "s== \(serial)"
                    return hints
                }
            }
            if !volume.array.isEmpty { layout.volumes.append(volume) }
        }
        return layout
    }

    /// What a node's `raid_config` shows once the agent built this configuration.
    static func document(
        of config: [String: JSONValue],
        _ built: WireBuiltRAID,
        at now: Timestamp
    ) -> [String: JSONValue] {
        let disks = config["logical_disks"]?.elements ?? []
        let shown = zip(disks, built.volumes).map { disk, volume -> JSONValue in
            var members = disk.members ?? [:]
            members["volume_name"] = .string(String(volume.name.prefix(40)))
            members["device"] = .string(String(volume.device.prefix(40)))
            members["array_uuid"] = .string(String(volume.array.prefix(32)))
            members["size_bytes"] = .integer(Int64(clamping: volume.bytes))
            members["member_disks"] = .array(
                zip(volume.disks, volume.serials).prefix(disksMax).map { name, serial in
                    [
                        "name": .string(String(name.prefix(100))),
                        "serial": .string(String(serial.prefix(200))),
                    ]
                }
            )
            return .object(members)
        }
        return ["logical_disks": .array(shown), "last_updated": .string(now.description)]
    }

    /// A configuration without its root volume, or without the others, as the step's arguments say.
    /// - Throws: `Fault` of kind `invalid` when nothing is left.
    static func chosen(
        _ config: [String: JSONValue],
        _ args: [String: JSONValue],
        of label: String
    ) throws -> [String: JSONValue] {
        guard let disks = config["logical_disks"]?.elements, !disks.isEmpty else {
            throw Fault(
                .invalid,
                "node \(label) has no target RAID configuration; set it with openstack baremetal node set --target-raid-config"
            )
        }
        let takesRoot = args["create_root_volume"]?.truth ?? true
        let takesOthers = args["create_nonroot_volumes"]?.truth ?? true
        let left = disks.filter { $0["is_root_volume"] == true ? takesRoot : takesOthers }
        guard !left.isEmpty else {
            throw Fault(
                .invalid,
                "node \(label) has an empty target RAID configuration after leaving volumes out by create_root_volume and create_nonroot_volumes"
            )
        }
        return ["logical_disks": .array(left)]
    }
}

/// Which RAID a node is to have, and has.
let raidTables = Migration(
    name: "baremetal-raid",
    sql: """
        ALTER TABLE node ADD COLUMN targetRAIDConfig TEXT;
        ALTER TABLE node ADD COLUMN raidConfig TEXT;
        """
)

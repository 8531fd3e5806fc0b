import Basics
import HTTP
import Images
import Power
import Protocol

/// How a disk is laid out for an image that is the file system of a root partition.
///
/// The names and defaults of `instance_info` are Ironic's (`ironic/drivers/modules/deploy_utils.py`).
package struct PartitionOrder: Sendable, Equatable, Codable {
    package let rootMiB: Int64
    /// 0 when there is none.
    package let swapMiB: Int64
    /// 0 when there is none.
    package let ephemeralMiB: Int64
    package let ephemeralFormat: String
    /// The ephemeral partition that is there keeps its content.
    package let keepsEphemeral: Bool
    /// The kind of partition table, `gpt` or `msdos`; `nil`, as older releases stored it, is `gpt`.
    package let label: String?

    /// What the agent can make, its default first.
    static let formats = ["ext4", "ext3", "ext2", "vfat"]
    /// The EFI system partition (BIOS needs less), the config drive and both ends of the table.
    static let overheadMiB: Int64 = 550 + 64 + 4
    /// No disk has more.
    private static let mebibytesMax: Int64 = 1 << 40
    /// Kinds of partition tables, as in Ironic.
    private static let labels = ["gpt", "msdos"]
    /// Where an msdos table ends.
    private static let msdosBytesMax: Int64 = 2 << 40

    var totalBytes: Int64 {
        (rootMiB + swapMiB + ephemeralMiB + Self.overheadMiB) << 20
    }

    var wire: WirePartitionLayout {
        var wire = WirePartitionLayout()
        wire.rootMib = UInt64(rootMiB)
        wire.swapMib = UInt64(swapMiB)
        wire.ephemeralMib = UInt64(ephemeralMiB)
        wire.ephemeralFormat = ephemeralFormat
        wire.preserveEphemeral = keepsEphemeral
        wire.diskLabel = label ?? ""
        return wire
    }

    /// Reads what a node's instance wants.
    /// - Throws: `Fault` of kind `invalid` that names the field.
    init(_ node: Node) throws {
        let info = node.instanceInfo
        func wrong(_ what: String) -> Fault {
            Fault(.invalid, "cannot deploy node \(node.label): \(what)")
        }
        func size(_ name: String, factor: Int64) throws -> Int64 {
            guard let value = info[name], value != .null else { return 0 }
            guard let number = value.wholeNumber, number >= 0, number <= Self.mebibytesMax / factor
            else {
                throw wrong(
                    "instance_info has \(name) “\((value.plainText ?? "").prefix(40))”, which is no size"
                )
            }
            return number * factor
        }
        rootMiB = try size("root_gb", factor: 1024)
        swapMiB = try size("swap_mb", factor: 1)
        ephemeralMiB = try size("ephemeral_gb", factor: 1024)
        guard rootMiB > 0 else {
            throw wrong(
                "instance_info has no root_gb, which an image of a partition needs; set it with openstack baremetal node set --instance-info root_gb=GIB"
            )
        }
        let format = info["ephemeral_format"]?.plainText ?? Self.formats[0]
        guard Self.formats.contains(format) else {
            throw wrong(
                "ephemeral_format “\(format.prefix(40))” is not one of \(Self.formats.joined(separator: ", "))"
            )
        }
        ephemeralFormat = format
        keepsEphemeral = try Self.keepsEphemeral(node)
        guard !keepsEphemeral || ephemeralMiB > 0 else {
            throw wrong("preserve_ephemeral is set, but ephemeral_gb is 0")
        }
        let isUEFI = node.bootMode == .uefi
        // Ironic's own choice where nobody made one.
        let label = node.diskLabel ?? (isUEFI ? "gpt" : "msdos")
        guard Self.labels.contains(label) else {
            throw wrong(
                "disk_label “\(label.prefix(40))” is not one of \(Self.labels.joined(separator: ", ")); change the capability"
            )
        }
        guard !isUEFI || label == "gpt" else {
            throw wrong("disk_label “\(label)” is not gpt, which UEFI needs")
        }
        self.label = label
        guard label == "gpt" || totalBytes <= Self.msdosBytesMax else {
            throw wrong(
                "its partitions take \(ByteCount(totalBytes)) and a table of kind msdos ends at 2 TiB; set the capability disk_label:gpt"
            )
        }
    }

    private static func keepsEphemeral(_ node: Node) throws -> Bool {
        guard let value = node.instanceInfo["preserve_ephemeral"], value != .null else {
            return false
        }
        guard let truth = value.truth else {
            throw Fault(
                .invalid,
                "cannot deploy node \(node.label): preserve_ephemeral “\((value.plainText ?? "").prefix(40))” is neither true nor false"
            )
        }
        return truth
    }
}

extension Node {
    /// The capability `disk_label`: the instance's before the node's.
    fileprivate var diskLabel: String? {
        let wish = instanceInfo["capabilities"]
        if let label = wish?["disk_label"]?.text { return label }
        // A text that is no JSON has no label.
        if let text = wish?.text, let members = try? JSONValue(parsing: text.utf8).members,
            let label = members["disk_label"]?.text
        {
            return label
        }
        return capabilities["disk_label"]
    }

    /// Whether the image is the file system of a root partition, by Ironic's rules: the instance's
    /// `image_type`, else the image's `img_type`, else whether a kernel and a ramdisk go with it.
    func takesPartitions(_ image: Image) throws -> Bool {
        let kind = instanceInfo["image_type"]?.text ?? image.properties["img_type"]
        switch kind {
        case "partition": return true
        case "whole-disk": return false
        case .some(let other):
            throw Fault(
                .invalid,
                "cannot deploy node \(label): image type “\(other.prefix(40))” is neither partition nor whole-disk"
            )
        case nil:
            func has(_ name: String) -> Bool {
                instanceInfo[name]?.text?.isEmpty == false
                    || image.properties["\(name)_id"]?.isEmpty == false
            }
            return has("kernel") && has("ramdisk")
        }
    }

    /// The layout for an image; `nil` for one of a whole disk.
    ///
    /// `imageBytes`: the size of the image's content.
    /// - Throws: `Fault` of kind `invalid` that says what does not fit.
    func partitionOrder(for image: Image, imageBytes: Int64) throws -> PartitionOrder? {
        guard try takesPartitions(image) else {
            for name in ["swap_mb", "ephemeral_gb"] {
                guard (instanceInfo[name]?.wholeNumber ?? 0) <= 0 else {
                    throw Fault(
                        .invalid,
                        "cannot deploy node \(label): image \(image.name) is of a whole disk and \(name) is set; take it out of instance_info or use an image of a partition"
                    )
                }
            }
            return nil
        }
        let order = try PartitionOrder(self)
        guard imageBytes <= order.rootMiB << 20 else {
            throw Fault(
                .invalid,
                "cannot deploy node \(label): root partition is too small for requested image \(image.name): it has \(ByteCount(order.rootMiB << 20)), the image \(ByteCount(imageBytes)); raise root_gb"
            )
        }
        return order
    }
}

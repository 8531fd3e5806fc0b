/// The UUID that a file system carries, as GRUB and the kernel's user space write it.
///
/// Read out of the superblocks of ext2 to ext4 (`fs/ext4/ext4.h`: magic at byte 1080, UUID at 1128), XFS
/// (`XFSB` at 0, UUID at 32) and btrfs (`_BHRfS_M` at 65,600, UUID at 65,568). Nothing else is looked at: the
/// file system may be anybody's.
package struct FileSystemIdentity: Sendable, Equatable {
    /// What bears such a UUID.
    package enum Kind: String, Sendable, CaseIterable {
        case ext
        case xfs
        case btrfs
    }

    /// Bytes from the beginning of the file system that are enough.
    package static let headBytes: Int64 = 68 << 10

    package let kind: Kind
    /// `e2b3c1d0-…`, lower case.
    package let uuid: String

    /// Looks at the first bytes of a file system; `nil` when it is of another kind or its UUID is zero.
    package init?(head: [UInt8]) {
        func has(_ mark: String, at offset: Int) -> Bool {
            head.count >= offset + mark.utf8.count && head[offset...].starts(with: mark.utf8)
        }
        let offset: Int
        if has("XFSB", at: 0) {
            (kind, offset) = (.xfs, 32)
        } else if has("_BHRfS_M", at: 65_600) {
            (kind, offset) = (.btrfs, 65_568)
        } else if head.count > 1082, head[1080] == 0x53, head[1081] == 0xef {
            (kind, offset) = (.ext, 1128)
        } else {
            return nil
        }
        guard head.count >= offset + 16 else { return nil }
        let bytes = head[offset..<(offset + 16)]
        guard bytes.contains(where: { $0 != 0 }) else { return nil }
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (place, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(place) { text.append(UInt8(ascii: "-")) }
            text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
        uuid = String(decoding: text, as: UTF8.self)
    }
}

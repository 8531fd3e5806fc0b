import Protocol

/// The header that makes a partition swap space (`include/linux/swap.h`, version 1).
package enum SwapSpace {
    private static let pageBytes = 4096
    private static let signature = "SWAPSPACE2"

    /// The first page of a swap partition of `bytes`, at least ten pages.
    ///
    /// `id`: its UUID. `label`: at most 15 bytes.
    package static func header(bytes: Int64, id: GUID, label: String) -> [UInt8] {
        precondition(label.utf8.count < 16, "a swap label has at most 15 bytes")
        var page = [UInt8](repeating: 0, count: pageBytes)
        let last = UInt32(clamping: bytes / Int64(pageBytes) - 1)
        let facts = littleEndian(UInt32(1)) + littleEndian(last) + littleEndian(UInt32(0))
        page.replaceSubrange(1024..<(1024 + facts.count), with: facts)
        page.replaceSubrange(1036..<1052, with: id.bytes)
        page.replaceSubrange(1052..<(1052 + label.utf8.count), with: Array(label.utf8))
        page.replaceSubrange((pageBytes - signature.utf8.count)..., with: Array(signature.utf8))
        return page
    }
}

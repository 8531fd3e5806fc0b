/// Lists where which chunk of a disk stands.
///
/// Holes, which are zero, are left out.
struct ImageManifest: Equatable {
    struct Extent: Equatable {
        /// From the disk's start; a multiple of 64 KiB.
        var offset: UInt64
        /// A multiple of 64 KiB but at the disk's end; never over a multiple of `chunkBytes`.
        var bytes: Int
        /// Of the raw bytes, in hexadecimal.
        var sha256: String
    }

    static let version = 1
    /// A disk is looked at in windows of this size, and a chunk has no more raw bytes.
    static let chunkBytes = 4 << 20

    var imageBytes: UInt64
    /// In the order of their offsets.
    var extents: [Extent]

    /// The one text form, over which the manifest's digest is made.
    ///
    /// Written by hand, because a deployment hangs on these bytes: `version`, `image_bytes`,
    /// `chunk_bytes`, `extents` in this order, no white space.
    var canonicalText: String {
        var text = "{\"version\":\(Self.version),\"image_bytes\":\(imageBytes)"
        text += ",\"chunk_bytes\":\(Self.chunkBytes),\"extents\":["
        for (index, extent) in extents.enumerated() {
            if index > 0 { text += "," }
            text += "{\"offset\":\(extent.offset),\"bytes\":\(extent.bytes)"
            text += ",\"sha256\":\"\(extent.sha256)\"}"
        }
        return text + "]}"
    }
}

/// Lower-case hexadecimal digits.
func hex(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

/// Whether a text is a SHA-256 in lower-case hexadecimal: safe as a file name.
func isDigest(_ text: String) -> Bool {
    text.utf8.count == 64
        && text.utf8.allSatisfy { byte in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
        }
}

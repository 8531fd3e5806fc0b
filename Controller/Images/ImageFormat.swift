/// What the first bytes of a file say that it is.
enum FoundFormat: Equatable {
    /// Nothing that we know: taken as a raw disk.
    case raw
    case qcow2
    /// Another container, by its name; never taken.
    case foreign(String)

    /// Bytes from the start that `detect` wants to see.
    static let headBytes = 512
    /// Bytes from the end that `detect` wants to see.
    static let tailBytes = 512

    /// Recognises a format by its magic numbers.
    ///
    /// A file that is declared raw but carries a container's magic is the attack of CVE-2024-44082: some
    /// later tool would probe it and follow what the container says.
    static func detect(head: [UInt8], tail: [UInt8]) -> FoundFormat {
        func has(_ magic: [UInt8], at offset: Int = 0) -> Bool {
            head.count >= offset + magic.count && head[offset...].starts(with: magic)
        }
        func has(_ text: String, at offset: Int = 0) -> Bool { has(Array(text.utf8), at: offset) }
        if has([0x51, 0x46, 0x49, 0xfb]) { return .qcow2 }
        if has([0x51, 0x45, 0x44, 0x00]) { return .foreign("qed") }
        if has("KDMV") || has("COWD") || has("# Disk DescriptorFile") { return .foreign("vmdk") }
        if has("conectix") { return .foreign("vhd") }
        if tail.count >= 512, tail.suffix(512).starts(with: "conectix".utf8) {
            return .foreign("vhd")
        }
        if has("vhdxfile") { return .foreign("vhdx") }
        if has([0x7f, 0x10, 0xda, 0xbe], at: 64) { return .foreign("vdi") }
        if has([0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe]) { return .foreign("luks") }
        if has("WithoutFreeSpace") || has("WithouFreSpacExt") { return .foreign("parallels") }
        if has([0x1f, 0x8b]) { return .foreign("gzip") }
        if has([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]) { return .foreign("xz") }
        if has([0x28, 0xb5, 0x2f, 0xfd]) { return .foreign("zstd") }
        if has("BZh") { return .foreign("bzip2") }
        if has([0x50, 0x4b, 0x03, 0x04]) { return .foreign("zip") }
        if has("Bochs Virtual HD Image") { return .foreign("bochs") }
        if has("ustar", at: 257) { return .foreign("tar") }
        return .raw
    }
}

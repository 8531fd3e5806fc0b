/// What an NVMe controller says about erasing: from its identify page of 4096 bytes.
package struct NVMeErasure: Sendable, Equatable {
    /// Format NVM is there.
    package let formats: Bool
    /// Formatting can throw the key away.
    package let formatsByKey: Bool
    /// Formatting erases every namespace, not only the one named.
    package let formatsAll: Bool
    /// Sanitize by key and by block erase.
    package let sanitizesByKey: Bool
    package let sanitizesBlocks: Bool

    /// `nil` for a page that is too short.
    package init?(controller page: [UInt8]) {
        guard page.count >= 532 else { return nil }
        // OACS (256), bit 1; FNA (524), bits 1 and 2; SANICAP (328), bits 0 and 1.
        formats = page[256] & 0x02 != 0
        formatsByKey = page[524] & 0x04 != 0
        formatsAll = page[524] & 0x03 != 0
        sanitizesByKey = page[328] & 0x01 != 0
        sanitizesBlocks = page[328] & 0x02 != 0
    }

    /// The index of the namespace's present format, from its identify page; kept by formatting.
    package static func formatIndex(namespace page: [UInt8]) -> UInt32? {
        guard page.count > 26 else { return nil }
        return UInt32(page[26] & 0x0f) | UInt32(page[26] & 0x60) >> 1
    }
}

/// What an ATA drive says about security: from its identify page of 256 words.
package struct ATASecurity: Sendable, Equatable {
    package let isSupported: Bool
    package let isEnabled: Bool
    package let isLocked: Bool
    package let isFrozen: Bool
    package let isEnhanced: Bool
    /// How long an erase may take; `nil` when the drive does not say.
    package let seconds: UInt32?
    /// Whether an area may be hidden behind the last block.
    package let mayHideArea: Bool
    /// Blocks that can be addressed now.
    package let blocks: UInt64

    /// `nil` for a page that is too short.
    package init?(identify page: [UInt8]) {
        guard page.count >= 512 else { return nil }
        func word(_ index: Int) -> UInt16 {
            UInt16(page[2 * index]) | UInt16(page[2 * index + 1]) << 8
        }
        let security = word(128)
        isSupported = security & 0x01 != 0
        isEnabled = security & 0x02 != 0
        isLocked = security & 0x04 != 0
        isFrozen = security & 0x08 != 0
        isEnhanced = security & 0x20 != 0
        let time = word(isEnhanced ? 90 : 89)
        // Bit 15: 15 bits of two minutes each; otherwise 8 bits. The highest value means “longer”.
        let value = time & 0x8000 != 0 ? time & 0x7fff : time & 0xff
        let isOpen = value == 0 || value == (time & 0x8000 != 0 ? 0x7fff : 0xff)
        seconds = isOpen ? nil : UInt32(value) * 120
        mayHideArea = word(82) & 0x0400 != 0
        blocks = (0..<4).reduce(0) { $0 | UInt64(word(100 + $1)) << UInt64(16 * $1) }
    }
}

/// The firmware's description of the machine (DMTF DSP0134), read from the table's bytes.
///
/// The bytes come from firmware that nobody checked: a length that reaches beyond the table ends the
/// reading, and what was read before stands.
package struct SMBIOS: Sendable, Equatable {
    /// Structures read at most.
    package static let structuresMax = 4096

    package var biosVendor = ""
    package var biosVersion = ""
    package var biosDate = ""
    package var manufacturer = ""
    package var productName = ""
    package var serialNumber = ""
    /// Lower case; empty when absent or all zeros or ones.
    package var systemUUID = ""
    /// Sum of all memory modules, in bytes; 0 when the firmware lists none.
    package var memoryBytes: UInt64 = 0
    /// Processor sockets that hold a processor.
    package var processors = 0
    /// The first four networks to the BMC that the firmware tells of; see `HostInterface`.
    package var hostInterfaces: [HostInterface] = []

    package init() {}

    /// Reads `/sys/firmware/dmi/tables/DMI`.
    package init(table: [UInt8]) {
        var rest = table[...]
        var count = 0
        while rest.count >= 4, count < Self.structuresMax {
            count += 1
            let type = rest[rest.startIndex]
            let length = Int(rest[rest.startIndex + 1])
            guard length >= 4, rest.count >= length else { return }
            let body = Array(rest.prefix(length))
            guard let end = Self.stringsEnd(rest.dropFirst(length)) else { return }
            let strings = rest[(rest.startIndex + length)..<end.strings]
            read(type, body, strings)
            if type == 127 { return }
            rest = rest[end.next...]
        }
    }

    /// Where the strings of a structure end (two zero bytes), and where the next structure begins.
    private static func stringsEnd(_ rest: ArraySlice<UInt8>) -> (strings: Int, next: Int)? {
        var index = rest.startIndex
        while index + 1 < rest.endIndex {
            if rest[index] == 0, rest[index + 1] == 0 { return (index, index + 2) }
            index += 1
        }
        return nil
    }

    private mutating func read(_ type: UInt8, _ body: [UInt8], _ strings: ArraySlice<UInt8>) {
        let texts = strings.split(separator: 0, omittingEmptySubsequences: false)
        func text(_ offset: Int) -> String {
            guard offset < body.count, body[offset] > 0, Int(body[offset]) <= texts.count else {
                return ""
            }
            return Self.printable(texts[Int(body[offset]) - 1])
        }
        switch type {
        case 0:
            (biosVendor, biosVersion, biosDate) = (text(4), text(5), text(8))
        case 1:
            (manufacturer, productName, serialNumber) = (text(4), text(5), text(7))
            if body.count >= 24 { systemUUID = Self.uuid(Array(body[8..<24])) }
        case 4:
            // Status: bit 6 says that the socket is populated.
            if body.count > 24, body[24] & 0x40 != 0 { processors += 1 }
        case 17:
            memoryBytes &+= Self.moduleBytes(body)
        case 42:
            guard hostInterfaces.count < HostInterface.countMax else { break }
            hostInterfaces += HostInterface(structure: body).map { [$0] } ?? []
        default: break
        }
    }

    /// Bytes of a memory device (type 17): 0 for an empty or unknown slot.
    private static func moduleBytes(_ body: [UInt8]) -> UInt64 {
        guard body.count >= 14 else { return 0 }
        let size = UInt64(body[12]) | UInt64(body[13]) << 8
        switch size {
        case 0, 0xffff: return 0
        case 0x7fff:
            guard body.count >= 32 else { return 0 }
            let megabytes = (0..<4).reduce(UInt64(0)) {
                $0 | UInt64(body[28 + $1]) << (8 * UInt64($1))
            }
            return (megabytes & 0x7fff_ffff) << 20
        default:
            // Bit 15 says kilobytes instead of megabytes.
            return size & 0x8000 != 0 ? (size & 0x7fff) << 10 : size << 20
        }
    }

    /// Text without control characters, at most 128 characters.
    private static func printable(_ bytes: ArraySlice<UInt8>) -> String {
        trimmed(bytes.prefix(128).filter { $0 >= 0x20 && $0 < 0x7f })
    }

    /// The UUID's text: its first three groups are little endian in the table.
    static func uuid(_ bytes: [UInt8]) -> String {
        guard !bytes.allSatisfy({ $0 == 0 }), !bytes.allSatisfy({ $0 == 0xff }) else { return "" }
        let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
        return order.enumerated().map { place, index in
            ([4, 6, 8, 10].contains(place) ? "-" : "") + hexadecimal([bytes[index]])
        }.joined()
    }
}

/// Two lower-case digits per byte.
package func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

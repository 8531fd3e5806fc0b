import Basics

/// What the dynamic loader would read of an executable or shared library (ELF, 64 bit, little endian).
package struct ElfFile: Sendable, Equatable {
    /// The names of the libraries it needs, in the order of the file.
    package let needed: [String]
    /// The path of its dynamic loader; nil for libraries and static programs.
    package let interpreter: String?

    /// Reads the headers.
    /// - Parameters:
    ///   - bytes: the whole file.
    ///   - name: what the file is called in the error's text.
    /// - Throws: `Fault` (`invalid`) when it is no such file or its tables point outside of it.
    package init(_ bytes: [UInt8], name: String) throws {
        let reader = Reader(bytes: bytes, name: name)
        guard bytes.count >= 64, bytes[0..<4] == [0x7f, 0x45, 0x4c, 0x46], bytes[4] == 2,
            bytes[5] == 1
        else { throw reader.fault("it is no 64-bit little-endian ELF file") }
        let tableOffset = try reader.number(at: 32, size: 8)
        let entryBytes = try reader.number(at: 54, size: 2)
        let entryCount = try reader.number(at: 56, size: 2)
        guard entryBytes >= 56, tableOffset < bytes.count else {
            throw reader.fault("its program headers are damaged")
        }
        var segments: [Segment] = []
        for index in 0..<entryCount {
            segments.append(try Segment(reader, at: tableOffset + index * entryBytes))
        }
        interpreter = try segments.first { $0.kind == Segment.interpreter }
            .map { try reader.text(at: $0.offset) }
        needed = try Self.needed(in: segments, reader)
    }

    /// Tells whether the bytes begin as an ELF file does.
    package static func looksLike(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46])
    }

    private static func needed(in segments: [Segment], _ reader: Reader) throws -> [String] {
        guard let dynamic = segments.first(where: { $0.kind == Segment.dynamic }) else { return [] }
        var names: [Int] = []
        var strings: Int?
        for offset in stride(from: dynamic.offset, to: dynamic.offset + dynamic.fileBytes, by: 16) {
            let tag = try reader.number(at: offset, size: 8)
            let value = try reader.number(at: offset + 8, size: 8)
            if tag == 0 { break }
            if tag == 1 { names.append(value) }
            if tag == 5 { strings = value }
        }
        guard !names.isEmpty else { return [] }
        guard let strings,
            let segment = segments.first(where: { $0.kind == Segment.load && $0.holds(strings) })
        else { throw reader.fault("its table of names is missing") }
        let start = strings - segment.address + segment.offset
        return try names.map { try reader.text(at: start + $0) }
    }
}

private struct Segment {
    static let load = 1
    static let dynamic = 2
    static let interpreter = 3

    let kind: Int
    let offset: Int
    let address: Int
    let fileBytes: Int

    init(_ reader: Reader, at start: Int) throws {
        kind = try reader.number(at: start, size: 4)
        offset = try reader.number(at: start + 8, size: 8)
        address = try reader.number(at: start + 16, size: 8)
        fileBytes = try reader.number(at: start + 32, size: 8)
        let inside = kind != Self.dynamic && kind != Self.load || offset <= reader.bytes.count
        guard inside, fileBytes <= reader.bytes.count else {
            throw reader.fault("a segment lies outside of it")
        }
    }

    func holds(_ wanted: Int) -> Bool { wanted >= address && wanted - address < fileBytes }
}

private struct Reader {
    static let textBytesMax = 4096

    let bytes: [UInt8]
    let name: String

    func number(at offset: Int, size: Int) throws -> Int {
        guard offset >= 0, offset <= bytes.count - size else { throw fault("it is cut short") }
        var value: UInt64 = 0
        for index in (0..<size).reversed() { value = value << 8 | UInt64(bytes[offset + index]) }
        guard value < 1 << 62 else {
            // Dynamic tags of the processor's and the system's own range are larger than an offset can be.
            return Int(value >> 2)
        }
        return Int(value)
    }

    func text(at offset: Int) throws -> String {
        guard offset >= 0, offset < bytes.count,
            let end = bytes[offset...].prefix(Self.textBytesMax).firstIndex(of: 0)
        else { throw fault("a name lies outside of it") }
        return String(decoding: bytes[offset..<end], as: UTF8.self)
    }

    func fault(_ reason: String) -> Fault {
        Fault(.invalid, "cannot read \(name) as a program: \(reason)")
    }
}

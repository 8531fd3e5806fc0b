import AgentSystem
import Basics
import Glibc
import HostTools

/// A raw disk image that is the same each time: 2 GiB, a GUID partition table, 30 % data.
///
/// Data stands in extents of 64 KiB to 4 MiB at random places, as files do; half of it cannot be
/// compressed, half is text-like.
enum SampleDisk {
    static let bytes: Int64 = 2 << 30
    private static let unit = 64 << 10
    private static let share = 0.30

    /// Writes the image to `path`, which must not exist.
    static func make(_ path: String) async throws {
        let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw systemFault("make \(path)") }
        defer { close(file) }
        guard ftruncate(file, Int(bytes)) == 0 else { throw systemFault("make \(path)") }
        var numbers = Numbers(state: 20_261_125)
        let units = Int(bytes) / unit
        var kinds = [UInt8](repeating: 0, count: units)
        var left = Int(Double(units) * share)
        // The table's own places at both ends stay free.
        let usable = 32..<(units - 32)
        while left > 0 {
            let start = usable.lowerBound + numbers.below(usable.count)
            let length = [1, 2, 4, 8, 16, 64][numbers.below(6)]
            let kind = UInt8(1 + numbers.below(2))
            for index in start..<min(start + length, usable.upperBound)
            where kinds[index] == 0 && left > 0 {
                kinds[index] = kind
                left -= 1
            }
        }
        let text = Self.text(&numbers)
        for (index, kind) in kinds.enumerated() where kind > 0 {
            let content: [UInt8]
            if kind == 1 {
                content = numbers.bytes(unit)
            } else {
                let start = numbers.below(text.count - unit)
                content = Array(text[start..<(start + unit)])
            }
            guard pwrite(file, content, unit, index * unit) == unit else {
                throw systemFault("write \(path)")
            }
        }
        try await Tool.require(
            "sfdisk",
            ["--quiet", "--no-reread", "--no-tell-kernel", path],
            input: Array("label: gpt\nstart=4096, size=4186112, type=linux\n".utf8),
            budget: .seconds(30),
            time: SystemTime()
        )
    }

    private static func text(_ numbers: inout Numbers) -> [UInt8] {
        let words = (0..<4000).map { _ in
            (0..<(2 + numbers.below(8))).map { _ in UInt8(97 + numbers.below(26)) }
        }
        var text: [UInt8] = []
        while text.count < 4 << 20 { text += words[numbers.below(words.count)] + [32] }
        return text
    }

    /// Fills a disk with something that is neither the image nor zero.
    static func soil(_ path: String) throws {
        let disk = try SystemDisks().open(path, exclusive: false)
        let buffer = AlignedBuffer(bytes: 4 << 20)
        var numbers = Numbers(state: 7)
        buffer.bytes.copyBytes(from: numbers.bytes(buffer.bytes.count))
        var offset: Int64 = 0
        while offset < disk.geometry.bytes {
            let count = Int(min(Int64(buffer.bytes.count), disk.geometry.bytes - offset))
            try disk.write(UnsafeRawBufferPointer(buffer.part(0..<count)), at: offset)
            offset += Int64(count)
        }
        try disk.flush()
    }

    /// Whether the disk holds the image, its partition table apart.
    static func matches(_ path: String, image: String) throws -> Bool {
        let disk = try SystemDisks().open(path, exclusive: false)
        let source = try SystemDisks().open(image, exclusive: false)
        let (left, right) = (AlignedBuffer(bytes: 4 << 20), AlignedBuffer(bytes: 4 << 20))
        var offset: Int64 = 2 << 20
        while offset < bytes - (2 << 20) {
            let count = Int(min(4 << 20, bytes - (2 << 20) - offset))
            try disk.read(left.part(0..<count), at: offset)
            try source.read(right.part(0..<count), at: offset)
            guard left.part(0..<count).elementsEqual(right.part(0..<count)) else { return false }
            offset += Int64(count)
        }
        return true
    }

    /// Xorshift: fast, and the same everywhere.
    private struct Numbers {
        var state: UInt64

        mutating func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }

        mutating func below(_ bound: Int) -> Int { Int(next() >> 33) % bound }

        mutating func bytes(_ count: Int) -> [UInt8] {
            var words = [UInt64](repeating: 0, count: count / 8)
            for index in words.indices { words[index] = next() }
            return words.withUnsafeBytes { Array($0) }
        }
    }
}

/// Makes inputs out of valid samples: number `n` of a seed is the same input for ever.
///
/// Coverage does not guide it, so that no state grows from input to input and each can be made again
/// from two numbers alone.
struct Mutator: Sendable {
    /// An input never grows beyond this.
    static let bytesMax = 1 << 20

    let samples: [[UInt8]]
    /// Words of the format, put in here and there.
    let words: [[UInt8]]
    let seed: UInt64

    init(samples: [[UInt8]], words: [String] = [], seed: UInt64) {
        precondition(!samples.isEmpty, "a mutator needs samples")
        self.samples = samples
        self.words = words.map { Array($0.utf8) }
        self.seed = seed
    }

    /// The samples as they are come first, then their descendants.
    func input(_ number: Int) -> [UInt8] {
        guard number >= samples.count else { return samples[number] }
        var dice = Dice(seed: seed &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(number) << 1 | 1)
        var bytes = samples[dice.below(samples.count)]
        for _ in 0...dice.below(4) { change(&bytes, &dice) }
        if bytes.count > Self.bytesMax { bytes.removeLast(bytes.count - Self.bytesMax) }
        return bytes
    }

    private func change(_ bytes: inout [UInt8], _ dice: inout Dice) {
        let place = dice.below(bytes.count + 1)
        let slice = dice.range(in: bytes.count)
        switch dice.below(12) {
        case 0 where place < bytes.count: bytes[place] ^= 1 << UInt8(dice.below(8))
        case 1 where place < bytes.count: bytes[place] = UInt8(dice.below(256))
        case 2: overwrite(&bytes, at: place, with: number(&dice))
        case 3: bytes.removeLast(bytes.count - place)
        case 4: bytes.removeSubrange(slice)
        case 5: bytes.insert(contentsOf: bytes[slice], at: place)
        case 6:
            let other = samples[dice.below(samples.count)]
            bytes = Array(bytes[..<place]) + other[dice.below(other.count + 1)...]
        case 7: bytes.insert(contentsOf: (0..<dice.below(16)).map { _ in dice.byte() }, at: place)
        case 8 where !words.isEmpty:
            bytes.insert(contentsOf: words[dice.below(words.count)], at: place)
        case 9:
            let run = [UInt8](repeating: dice.byte(), count: 1 << dice.below(14))
            bytes.insert(contentsOf: run, at: place)
        case 10: replaceDigits(&bytes, from: place, &dice)
        default:
            // The same piece many times over: nesting, lists, chains.
            let piece = Array(bytes[slice].prefix(32))
            for _ in 0..<dice.below(64) { bytes.insert(contentsOf: piece, at: place) }
        }
    }

    private func overwrite(_ bytes: inout [UInt8], at place: Int, with number: [UInt8]) {
        for (index, byte) in number.enumerated() where place + index < bytes.count {
            bytes[place + index] = byte
        }
    }

    private static let edges: [UInt64] = [
        0, 1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 511, 512, 4095, 4096, 65_535,
        65_536, 0x10_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000,
        0x4000_0000_0000_0000, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000,
        0xffff_ffff_ffff_fe00, 0xffff_ffff_ffff_fffe, 0xffff_ffff_ffff_ffff,
    ]

    /// A number from the edges of its width, in either order of bytes.
    private func number(_ dice: inout Dice) -> [UInt8] {
        let value = Self.edges[dice.below(Self.edges.count)]
        let width = 1 << dice.below(4)
        let bytes = withUnsafeBytes(of: value.littleEndian) { Array($0.prefix(width)) }
        return dice.below(2) == 0 ? bytes : bytes.reversed()
    }

    private static let texts = [
        "-1", "0", "00", "255", "256", "4294967296", "9223372036854775807", "9223372036854775808",
        "-9223372036854775809", "99999999999999999999999", "1e999", "0x10", "1.5", "+1", "NaN", "",
    ].map { Array($0.utf8) }

    /// Puts another number in the place of one that is written in digits.
    private func replaceDigits(_ bytes: inout [UInt8], from place: Int, _ dice: inout Dice) {
        func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
        guard let start = bytes[place...].firstIndex(where: isDigit) else { return }
        let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.count
        bytes.replaceSubrange(start..<end, with: Self.texts[dice.below(Self.texts.count)])
    }
}

/// Repeatable numbers (SplitMix64), as a value, so that an input depends on nothing before it.
struct Dice {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }

    mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: next()) }

    /// A number in `0 ..< bound`; 0 when there is none.
    mutating func below(_ bound: Int) -> Int {
        bound > 0 ? Int(next() % UInt64(bound)) : 0
    }

    mutating func range(in count: Int) -> Range<Int> {
        let (one, other) = (below(count + 1), below(count + 1))
        return min(one, other)..<max(one, other)
    }
}

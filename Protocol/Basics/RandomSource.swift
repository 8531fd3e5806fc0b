package import Protocol
import Synchronization

/// Gives bytes that nobody can guess.
///
/// Simulation puts a seeded generator in its place.
package protocol RandomSource: Sendable {
    /// Returns `count` random bytes.
    func bytes(_ count: Int) -> [UInt8]
}

extension RandomSource {
    /// Makes a new identifier.
    package func identifier<ID: Identifier>(_ type: ID.Type = ID.self) -> ID {
        ID(random: bytes(16))
    }

    /// A number in `0 ..< bound`.
    package func number(below bound: UInt64) -> UInt64 {
        let value = bytes(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return bound.multipliedFullWidth(by: value).high
    }
}

/// The kernel's random numbers.
package struct SystemRandom: RandomSource {
    package init() {}

    package func bytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            withUnsafeBytes(of: generator.next()) { word in
                bytes.append(contentsOf: word.prefix(count - bytes.count))
            }
        }
        return bytes
    }
}

/// Repeatable numbers for tests and simulation (SplitMix64, Steele and others 2014).
///
/// Never for secrets.
package final class SeededRandom: RandomSource {
    private let state: Mutex<UInt64>

    package init(seed: UInt64) { state = Mutex(seed) }

    package func bytes(_ count: Int) -> [UInt8] {
        state.withLock { state in
            var bytes: [UInt8] = []
            while bytes.count < count {
                state &+= 0x9e37_79b9_7f4a_7c15
                var word = state
                word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
                word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
                word ^= word >> 31
                withUnsafeBytes(of: word) { word in
                    bytes.append(contentsOf: word.prefix(count - bytes.count))
                }
            }
            return bytes
        }
    }
}

import Basics
import Testing

@Suite struct ZeroRunsTests {
    private static let unit = ZeroRuns.unitBytes

    private func parts(_ bytes: [UInt8]) -> [ZeroRuns.Part] {
        bytes.withUnsafeBytes { ZeroRuns.parts(of: $0) }
    }

    @Test func `only long runs of zeros are cleared`() {
        var bytes = [UInt8](repeating: 0, count: 16 * Self.unit)
        bytes[0] = 1
        // Three zero units are too few, the eleven behind them are not.
        bytes[4 * Self.unit + 7] = 1
        let found = parts(bytes)
        #expect(
            found == [
                ZeroRuns.Part(range: 0..<(5 * Self.unit), isZero: false),
                ZeroRuns.Part(range: (5 * Self.unit)..<(16 * Self.unit), isZero: true),
            ]
        )
    }

    @Test func `a short chunk of zeros is written as it is`() {
        let found = parts([UInt8](repeating: 0, count: 512))
        #expect(found == [ZeroRuns.Part(range: 0..<512, isZero: false)])
    }

    @Test func `whatever a chunk holds, its parts cover it and only zeros are cleared`() {
        let random = SeededRandom(seed: 9)
        for _ in 0..<50 {
            var bytes = [UInt8](repeating: 0, count: Int(random.number(below: 4 << 20)) + 1)
            for _ in 0..<random.number(below: 6) {
                let start = Int(random.number(below: UInt64(bytes.count)))
                let length = Int(random.number(below: 300_000))
                for index in start..<min(start + length, bytes.count) { bytes[index] = 0xff }
            }
            var end = 0
            for part in parts(bytes) {
                #expect(part.range.lowerBound == end)
                end = part.range.upperBound
                if part.isZero { #expect(bytes[part.range].allSatisfy { $0 == 0 }) }
            }
            #expect(end == bytes.count)
        }
    }
}

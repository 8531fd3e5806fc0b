import Glibc

/// Long runs of zeros inside a piece of a disk.
///
/// Files of a few MiB leave holes that are smaller than a chunk. The controller keeps them out of its
/// chunks, so that nobody has to carry, unpack and digest them; the agent clears them, which costs a disk far
/// less than taking zeros in.
package enum ZeroRuns {
    /// A part of the piece, in bytes from its start.
    package struct Part: Equatable, Sendable {
        package var range: Range<Int>
        package var isZero: Bool

        package init(range: Range<Int>, isZero: Bool) {
            self.range = range
            self.isZero = isZero
        }
    }

    /// A multiple of every block size, so that parts begin and end with blocks.
    package static let unitBytes = 64 << 10
    /// A shorter run is written with what surrounds it: each request to the disk has its price.
    package static let runBytesMin = 256 << 10

    /// Cuts a piece into parts that hold something and long ones that are zero, in order.
    package static func parts(of bytes: UnsafeRawBufferPointer) -> [Part] {
        var parts: [Part] = []
        var start = 0
        while start < bytes.count {
            let end = min(start + unitBytes, bytes.count)
            let isZero = isZero(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
            if let last = parts.last, last.isZero == isZero {
                parts[parts.count - 1].range = last.range.lowerBound..<end
            } else {
                parts.append(Part(range: start..<end, isZero: isZero))
            }
            start = end
        }
        return joined(parts)
    }

    private static func joined(_ parts: [Part]) -> [Part] {
        var joined: [Part] = []
        for part in parts {
            let isZero = part.isZero && part.range.count >= runBytesMin
            if let last = joined.last, last.isZero == isZero {
                joined[joined.count - 1].range = last.range.lowerBound..<part.range.upperBound
            } else {
                joined.append(Part(range: part.range, isZero: isZero))
            }
        }
        return joined
    }

    /// Whether all bytes are zero.
    ///
    /// All are when the first is and each equals the one before; the C library compares that at the memory's
    /// speed, also in a build for debugging.
    package static func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let first = bytes.baseAddress, !bytes.isEmpty else { return true }
        return bytes[0] == 0 && memcmp(first, first + 1, bytes.count - 1) == 0
    }
}

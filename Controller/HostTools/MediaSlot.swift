import Basics
import Glibc

/// The place in a boot image where each machine's own bytes go.
///
/// Whoever builds the image puts `filling` into it; whoever serves it finds the place and gives each machine
/// its own bytes there. Files in such images begin at multiples of `sectorBytes`.
package enum MediaSlot {
    /// What a machine can be given, in bytes.
    package static let bytes = 32 << 10
    package static let sectorBytes = 2048

    private static let mark = Array(
        "RDO-Manager: the machine's own boot archive goes here. 9b1f6f3c-57d7-4bd0-8a1e-6a52a6a3c0de"
            .utf8
    )
    private static let readBytes = 1 << 20

    /// What an image has in the slot before a machine's bytes are put there.
    package static var filling: [UInt8] {
        mark + [UInt8](repeating: 0, count: bytes - mark.count)
    }

    /// Where the slot begins in an open image.
    /// - Throws: `Fault` of kind `invalid` when it has none, or more than one; `path` is for the message.
    package static func offset(in descriptor: Int32, path: String) throws -> UInt64 {
        var found: UInt64?
        var position = 0
        var buffer = [UInt8](repeating: 0, count: readBytes)
        while true {
            let count = pread(descriptor, &buffer, buffer.count, off_t(position))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw systemFault("read \(path)") }
            for start in stride(from: 0, to: count - mark.count + 1, by: sectorBytes)
            where buffer[start] == mark[0] && buffer[start..<start + mark.count].elementsEqual(mark)
            {
                guard found == nil else {
                    throw Fault(.invalid, "cannot use \(path): it has two slots for boot archives")
                }
                found = UInt64(position + start)
            }
            guard count == buffer.count else { break }
            position += count
        }
        guard let found else {
            throw Fault(
                .invalid,
                "cannot use \(path): it has no slot for boot archives; build it with rdo-ramdisk build"
            )
        }
        return found
    }
}

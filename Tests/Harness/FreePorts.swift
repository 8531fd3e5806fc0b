import Basics
import Glibc
import HostTools
import Synchronization

/// Ports of 127.0.0.1 for programs that cannot be handed a socket.
///
/// A port that the kernel chose and that was closed again may be given to the next who asks. These lie below the
/// kernel's own range, each is given once per process, and processes begin at different places.
package enum FreePorts {
    private static let range = 20_000..<30_000
    private static let next = Mutex(Int(getpid()) &* 97 % range.count)

    /// A port that nobody listens on.
    /// - Throws: `Fault` (`unavailable`) when all are taken.
    package static func take() throws -> UInt16 {
        for _ in range {
            let port = next.withLock { next in
                defer { next = (next + 1) % range.count }
                return UInt16(range.lowerBound + next)
            }
            // A port in use cannot be opened: the next one is tried.
            guard let socket = try? ListeningSocket.open("127.0.0.1", port: port) else { continue }
            socket.close()
            return port
        }
        throw Fault(.unavailable, "cannot find a free port of 127.0.0.1 from 20000 to 29999")
    }
}

package import Basics
import Glibc

/// Asks whether something listens on a TCP port. Blocks its thread.
package struct TCPProbe: Sendable {
    private let time: any TimeSource

    package init(time: any TimeSource) { self.time = time }

    /// Connects and closes again.
    /// - Throws: `TransferFailure` that names host, port and reason.
    package func connect(
        host: String, port: UInt16, budget: Duration
    ) throws(TransferFailure) {
        let deadline = Deadline(budget, for: "\(host) port \(port)", on: time)
        close(try connectSocket(host: host, port: port, until: deadline))
    }
}

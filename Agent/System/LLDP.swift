package import Basics
import Protocol

/// One entry of a link-layer discovery frame (IEEE 802.1AB).
package struct LLDPEntry: Sendable, Equatable {
    /// 0 to 127.
    package let type: UInt8
    /// At most 511 bytes.
    package let value: [UInt8]

    package init(type: UInt8, value: [UInt8]) {
        self.type = type
        self.value = value
    }

    /// Entries taken from one frame at most.
    package static let entriesMax = 64

    /// Reads the entries of a frame, without its Ethernet header and without the end mark.
    /// - Throws: `MalformedPacket` when an entry reaches beyond the frame, the three that every frame
    ///   must begin with are missing, or there are too many.
    package static func parse(_ frame: [UInt8]) throws(MalformedPacket) -> [LLDPEntry] {
        var entries: [LLDPEntry] = []
        var rest = frame[...]
        while rest.count >= 2 {
            let head = UInt16(rest[rest.startIndex]) << 8 | UInt16(rest[rest.startIndex + 1])
            rest = rest.dropFirst(2)
            let type = UInt8(head >> 9)
            let length = Int(head & 0x1ff)
            guard rest.count >= length else { throw .short }
            if type == 0 { break }
            guard entries.count < entriesMax else { throw .badField("number of entries") }
            entries.append(LLDPEntry(type: type, value: Array(rest.prefix(length))))
            rest = rest.dropFirst(length)
        }
        // Chassis, port and time to live come first, in this order.
        guard entries.prefix(3).map(\.type) == [1, 2, 3] else { throw .badField("order") }
        return entries
    }
}

/// Listens to what switches say about themselves.
package struct LLDPListener: Sendable {
    private let network: any Network
    private let time: any TimeSource

    package init(network: any Network, time: any TimeSource) {
        self.network = network
        self.time = time
    }

    /// Hears one frame per interface with a carrier and keeps it, all at once, until each has heard one
    /// or `span` is over.
    /// - Throws: `CancellationError`.
    package func listen(for span: Duration, into memory: LLDPMemory) async throws {
        var waiting: [(name: String, channel: any FrameChannel)] = []
        for interface in network.interfaces() where interface.hasCarrier {
            // An interface that cannot be listened to has heard nothing.
            guard let channel = try? network.openLLDP(interface.name) else { continue }
            waiting.append((interface.name, channel))
        }
        let end = time.elapsed + span
        while !waiting.isEmpty, time.elapsed < end {
            waiting.removeAll { name, channel in
                while let frame = channel.receive() {
                    // Foreign bytes; a frame that does not parse says nothing.
                    guard let entries = try? LLDPEntry.parse(frame) else { continue }
                    memory.keep(entries, of: name)
                    return true
                }
                return false
            }
            try await time.sleep(for: .milliseconds(500))
        }
    }
}

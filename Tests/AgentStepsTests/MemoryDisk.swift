import AgentSystem
import Basics
import Glibc
import Synchronization

/// A disk in memory with a volatile cache, whose power can be cut before any of its changes.
///
/// Wherever the real ones leave something open, this one does the worst: a discarded range reads as
/// rubbish, a request that is not aligned is refused, and after a cut every change since the last flush
/// is there, missing or torn, as the seed says.
final class MemoryDisk: Disk {
    /// What changes the content.
    enum Change: Sendable {
        case write(Int64, [UInt8])
        case fill(Range<Int64>, UInt8)

        var range: Range<Int64> {
            switch self {
            case .write(let offset, let bytes): offset..<(offset + Int64(bytes.count))
            case .fill(let range, _): range
            }
        }
    }

    /// Content by page; a page that is missing is zero.
    struct Pages: Sendable {
        private static let pageBytes: Int64 = 64 << 10
        private static let zero = [UInt8](repeating: 0, count: Int(pageBytes))
        private static let rubbish = [UInt8](repeating: 0xdb, count: Int(pageBytes))
        private var pages: [Int64: [UInt8]] = [:]

        mutating func apply(_ change: Change) {
            let range = change.range
            var offset = range.lowerBound
            while offset < range.upperBound {
                let page = offset / Self.pageBytes
                let start = Int(offset - page * Self.pageBytes)
                let count = Int(min(Self.pageBytes - Int64(start), range.upperBound - offset))
                switch change {
                case .fill(_, let byte) where count == Int(Self.pageBytes):
                    pages[page] = byte == 0 ? nil : Self.rubbish
                case .fill(_, let byte):
                    pages[page, default: Self.zero].replaceSubrange(
                        start..<(start + count),
                        with: repeatElement(byte, count: count)
                    )
                case .write(let origin, let bytes):
                    let from = Int(offset - origin)
                    pages[page, default: Self.zero].replaceSubrange(
                        start..<(start + count),
                        with: bytes[from..<(from + count)]
                    )
                }
                offset += Int64(count)
            }
        }

        func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int64) {
            var done = 0
            while done < bytes.count {
                let place = offset + Int64(done)
                let page = place / Self.pageBytes
                let start = Int(place - page * Self.pageBytes)
                let count = min(Int(Self.pageBytes) - start, bytes.count - done)
                let content = pages[page] ?? Self.zero
                UnsafeMutableRawBufferPointer(rebasing: bytes[done..<(done + count)])
                    .copyBytes(from: content[start..<(start + count)])
                done += count
            }
        }
    }

    private struct State {
        var current = Pages()
        var durable = Pages()
        var unflushed: [Change] = []
        var changes: [Range<Int64>] = []
        var cutBefore = Int.max
        var isOff = false
        var lies: Range<Int64>?
        var longestRead = 0
    }

    let geometry: DiskGeometry
    private let state: Mutex<State>

    init(bytes: Int64, blockBytes: Int = 512, clearsQuickly: Bool = true) {
        geometry = DiskGeometry(
            path: "/dev/vda",
            bytes: bytes,
            blockBytes: blockBytes,
            clearsQuickly: clearsQuickly
        )
        state = Mutex(State())
    }

    private init(_ geometry: DiskGeometry, _ content: Pages) {
        self.geometry = geometry
        state = Mutex(State(current: content, durable: content))
    }

    // MARK: - Disk

    func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        try check("read", offset, Int64(bytes.count))
        // SAFETY: the buffer is the caller's own and outlives this call.
        nonisolated(unsafe) let bytes = bytes
        let isOff = state.withLock { state in
            if !state.isOff { state.current.read(bytes, at: offset) }
            state.longestRead = max(state.longestRead, bytes.count)
            return state.isOff
        }
        if isOff { throw SystemFailure("read", code: EIO) }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        try check("write", offset, Int64(bytes.count))
        try change(.write(offset, Array(bytes)))
    }

    func clear(_ range: Range<Int64>, by method: ClearMethod) throws(SystemFailure) {
        switch method {
        case .zero:
            try check("empty", range.lowerBound, Int64(range.count))
            try change(.fill(range, 0))
        case .discard:
            // A device that cannot is no failure.
            let block = Int64(geometry.blockBytes)
            guard range.lowerBound % block == 0, range.upperBound % block == 0 else { return }
            try change(.fill(range, 0xdb))
        }
    }

    func flush() throws(SystemFailure) {
        let isOff = state.withLock { state in
            if !state.isOff {
                state.durable = state.current
                state.unflushed = []
            }
            return state.isOff
        }
        if isOff { throw SystemFailure("flush", code: EIO) }
    }

    func rereadPartitions() throws(SystemFailure) {}

    private func check(_ verb: String, _ offset: Int64, _ count: Int64) throws(SystemFailure) {
        let block = Int64(geometry.blockBytes)
        guard offset % block == 0, count % block == 0 else {
            throw SystemFailure("\(verb) at byte \(offset)", code: EINVAL)
        }
        guard offset >= 0, offset + count <= geometry.bytes else {
            throw SystemFailure("\(verb) at byte \(offset)", code: EIO)
        }
    }

    private func change(_ change: Change) throws(SystemFailure) {
        let isOff = state.withLock { state in
            if state.changes.count >= state.cutBefore { state.isOff = true }
            guard !state.isOff else { return true }
            state.changes.append(change.range)
            state.unflushed.append(change)
            state.current.apply(change)
            if let lies = state.lies, lies.overlaps(change.range) {
                state.current.apply(.write(lies.lowerBound, [0xee]))
            }
            return false
        }
        if isOff { throw SystemFailure("write", code: EIO) }
    }

    // MARK: - What tests do to it

    /// Ranges that were changed so far.
    var changes: [Range<Int64>] { state.withLock { $0.changes } }

    /// Bytes of the longest read.
    var longestRead: Int { state.withLock { $0.longestRead } }

    /// The power goes off before the change with this number, from 0.
    func cut(before number: Int) { state.withLock { $0.cutBefore = number } }

    /// Writes that touch the range go wrong silently.
    func lie(about range: Range<Int64>) { state.withLock { $0.lies = range } }

    /// Another disk with what is stored on this one.
    var copy: MemoryDisk { state.withLock { MemoryDisk(geometry, $0.durable) } }

    /// The disk after the power came back.
    func afterPowerCut(_ random: SeededRandom) -> MemoryDisk {
        state.withLock { state in
            var content = state.durable
            for change in state.unflushed {
                switch (random.number(below: 3), change) {
                case (0, _): continue
                case (1, .write(let offset, let bytes)):
                    let blocks = UInt64(bytes.count / geometry.blockBytes)
                    let kept = Int(random.number(below: blocks + 1)) * geometry.blockBytes
                    content.apply(.write(offset, Array(bytes[..<kept])))
                default: content.apply(change)
                }
            }
            return MemoryDisk(geometry, content)
        }
    }
}

/// Hands out the disks that a test made.
struct DiskShelf: DiskAccess {
    var disks: [String: any Disk]

    func open(_ path: String, exclusive: Bool) throws(SystemFailure) -> any Disk {
        guard let disk = disks[path] else { throw SystemFailure("open \(path)", code: EBUSY) }
        return disk
    }
}

/// The machine's list of disks, as a test wants it.
struct DeviceList: BlockDevices {
    var devices: [BlockDevice]

    func list() -> [BlockDevice] { devices }
    func open(_ path: String) throws -> Int32 { throw SystemFailure("open", code: ENOTSUP) }
}

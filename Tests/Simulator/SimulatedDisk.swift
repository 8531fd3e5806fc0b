import AgentSystem
import Basics
import Glibc
import Protocol

/// One disk of a machine, with a write-back cache that a power cut loses or tears.
///
/// Content is kept in pages; a page that is zero takes no memory.
final class DiskHardware: Sendable {
    private struct State {
        /// On the medium.
        var medium: [Int64: [UInt8]] = [:]
        /// In the disk's cache; empty bytes are a page of zeros.
        var cache: [Int64: [UInt8]] = [:]
        var exclusive: UInt64?
        var opened: UInt64 = 0
    }

    static let pageBytes: Int64 = 64 << 10

    let device: BlockDevice
    /// Whether the node's hints leave it out.
    let isExcluded: Bool
    private let state = Confined(State())

    init(device: BlockDevice, isExcluded: Bool) {
        self.device = device
        self.isExcluded = isExcluded
    }

    var bytes: Int64 { Int64(device.bytes) }

    /// Claims the disk for one writer; `nil` when another has it.
    func claim() -> UInt64? {
        guard state.value.exclusive == nil else { return nil }
        state.value.opened += 1
        state.value.exclusive = state.value.opened
        return state.value.opened
    }

    func release(_ claim: UInt64) {
        if state.value.exclusive == claim { state.value.exclusive = nil }
    }

    /// The kernel that had claimed it is gone.
    func releaseAll() { state.value.exclusive = nil }

    var holder: UInt64? { state.value.exclusive }

    func read(_ output: UnsafeMutableRawBufferPointer, at offset: Int64, durably: Bool = false) {
        forEachPage(offset, output.count) { page, inside, range in
            let content = durably ? state.value.medium[page] ?? [] : visible(page)
            let target = UnsafeMutableRawBufferPointer(rebasing: output[range])
            guard !content.isEmpty else {
                if let start = target.baseAddress { memset(start, 0, target.count) }
                return
            }
            content.withUnsafeBytes {
                target.copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: $0[inside..<(inside + range.count)])
                )
            }
        }
    }

    func write(_ input: UnsafeRawBufferPointer, at offset: Int64) {
        forEachPage(offset, input.count) { page, inside, range in
            let part = UnsafeRawBufferPointer(rebasing: input[range])
            if range.count == Int(Self.pageBytes) {
                state.value.cache[page] = ZeroRuns.isZero(part) ? [] : Array(part)
                return
            }
            var content = visible(page)
            if content.isEmpty {
                if ZeroRuns.isZero(part) { return }
                content = [UInt8](repeating: 0, count: Int(Self.pageBytes))
            }
            content.withUnsafeMutableBytes {
                UnsafeMutableRawBufferPointer(rebasing: $0[inside..<(inside + range.count)])
                    .copyMemory(from: part)
            }
            state.value.cache[page] = content
        }
    }

    /// Makes a range zero, or anything at all.
    func clear(_ range: Range<Int64>, to filling: UInt8) {
        let pages = (range.lowerBound / Self.pageBytes)...((range.upperBound - 1) / Self.pageBytes)
        for page in knownPages where pages.contains(page) {
            let start = page * Self.pageBytes
            let low = max(range.lowerBound, start)
            let high = min(range.upperBound, start + Self.pageBytes)
            let bytes = [UInt8](repeating: filling, count: Int(high - low))
            bytes.withUnsafeBytes { write($0, at: low) }
        }
    }

    func flush() {
        for (page, content) in state.value.cache { settle(page, content) }
        state.value.cache = [:]
    }

    /// The power is cut: each page in the cache is lost, torn or saved.
    func cutPower(_ dice: inout Dice, losesWrites: Bool) {
        for (page, content) in state.value.cache.sorted(by: { $0.key < $1.key }) {
            guard losesWrites else {
                settle(page, content)
                continue
            }
            switch dice.below(3) {
            case 0: settle(page, content)
            case 1:
                let sectors = dice.below(Int(Self.pageBytes) / 512)
                settle(page, torn(content, over: state.value.medium[page] ?? [], at: sectors * 512))
            default: break
            }
        }
        state.value.cache = [:]
    }

    /// The bytes of a range, as they are now or as they would be after a power cut at this moment.
    func content(_ range: Range<Int64>, durably: Bool) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
            read(UnsafeMutableRawBufferPointer(buffer), at: range.lowerBound, durably: durably)
            count = range.count
        }
    }

    /// Whether a part of these bytes stands at an offset.
    func holds(_ bytes: [UInt8], _ part: Range<Int>, at offset: Int64, durably: Bool) -> Bool {
        let found = UnsafeMutableRawBufferPointer.allocate(byteCount: part.count, alignment: 16)
        defer { found.deallocate() }
        read(found, at: offset, durably: durably)
        return bytes.withUnsafeBytes { wanted in
            guard let left = found.baseAddress, let right = wanted.baseAddress else { return true }
            return memcmp(left, right + part.lowerBound, part.count) == 0
        }
    }

    /// Whether a range is zero.
    func isZero(_ range: Range<Int64>, durably: Bool) -> Bool {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let page = offset / Self.pageBytes
            let end = min(range.upperBound, (page + 1) * Self.pageBytes)
            let known = durably ? state.value.medium[page] : visible(page)
            if known?.isEmpty == false {
                let isZero = content(offset..<end, durably: durably).withUnsafeBytes {
                    ZeroRuns.isZero($0)
                }
                guard isZero else { return false }
            }
            offset = end
        }
        return true
    }

    private var knownPages: [Int64] {
        Set(state.value.medium.keys).union(state.value.cache.keys).sorted()
    }

    private func settle(_ page: Int64, _ content: [UInt8]) {
        state.value.medium[page] = content.isEmpty ? nil : content
    }

    private func torn(_ new: [UInt8], over old: [UInt8], at count: Int) -> [UInt8] {
        let zeros = [UInt8](repeating: 0, count: Int(Self.pageBytes))
        let (new, old) = (new.isEmpty ? zeros : new, old.isEmpty ? zeros : old)
        return Array(new[..<count] + old[count...])
    }

    private func visible(_ page: Int64) -> [UInt8] {
        state.value.cache[page] ?? state.value.medium[page] ?? []
    }

    /// Calls with each page that a range touches, where it begins inside it, and the part of the range.
    private func forEachPage(
        _ offset: Int64,
        _ count: Int,
        _ body: (_ page: Int64, _ inside: Int, _ range: Range<Int>) -> Void
    ) {
        var done = 0
        while done < count {
            let at = offset + Int64(done)
            let inside = Int(at % Self.pageBytes)
            let part = min(count - done, Int(Self.pageBytes) - inside)
            body(at / Self.pageBytes, inside, done..<(done + part))
            done += part
        }
    }
}

/// What a program on a machine opened: a whole disk, or a part of one.
final class OpenDisk: Disk {
    let geometry: DiskGeometry
    private let hardware: DiskHardware
    private let start: Int64
    private let life: Life
    private let claim: UInt64?
    private let watch: DiskWatch

    init(
        _ hardware: DiskHardware,
        part: Range<Int64>,
        path: String,
        clearsQuickly: Bool,
        claim: UInt64?,
        life: Life,
        watch: DiskWatch
    ) {
        self.hardware = hardware
        self.claim = claim
        self.life = life
        self.watch = watch
        start = part.lowerBound
        geometry = DiskGeometry(
            path: path,
            bytes: Int64(part.count),
            blockBytes: 512,
            clearsQuickly: clearsQuickly
        )
    }

    deinit { if let claim { hardware.release(claim) } }

    func read(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        try check("read", offset, bytes.count, writes: false)
        hardware.read(bytes, at: start + offset)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(SystemFailure) {
        try check("write", offset, bytes.count, writes: true)
        hardware.write(bytes, at: start + offset)
        try survive()
    }

    func clear(_ range: Range<Int64>, by method: ClearMethod) throws(SystemFailure) {
        guard !range.isEmpty else { return }
        if Task.isCancelled { throw SystemFailure("empty \(geometry.path)", code: ECANCELED) }
        try check("empty", range.lowerBound, range.count, writes: true)
        let filling: UInt8
        switch method {
        case .zero: filling = 0
        case .discard: filling = watch.discardedByte()
        }
        hardware.clear((start + range.lowerBound)..<(start + range.upperBound), to: filling)
        try survive()
    }

    func flush() throws(SystemFailure) {
        try check("flush", 0, 0, writes: false)
        hardware.flush()
    }

    func rereadPartitions() throws(SystemFailure) {}

    private func check(
        _ verb: String,
        _ offset: Int64,
        _ count: Int,
        writes: Bool
    ) throws(SystemFailure) {
        guard life.isAlive, offset >= 0, offset + Int64(count) <= geometry.bytes else {
            throw SystemFailure("\(verb) \(geometry.path)", code: EIO)
        }
        if watch.fails(hardware) {
            throw SystemFailure("\(verb) \(geometry.path) at byte \(offset)", code: EIO)
        }
        if writes { watch.wrote(hardware, claim) }
    }

    /// The power may be cut by this very write.
    private func survive() throws(SystemFailure) {
        watch.afterWrite()
        guard life.isAlive else { throw SystemFailure("write \(geometry.path)", code: EIO) }
    }
}

/// What a machine wants to know of the use of its disks.
struct DiskWatch: Sendable {
    let wrote: @Sendable (DiskHardware, UInt64?) -> Void
    let afterWrite: @Sendable () -> Void
    let fails: @Sendable (DiskHardware) -> Bool
    let discardedByte: @Sendable () -> UInt8
}

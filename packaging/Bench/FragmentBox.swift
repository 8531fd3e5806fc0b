import Synchronization

/// Boot fragments, put at their place by several threads.
final class FragmentBox: Sendable {
    private let files: Mutex<[[UInt8]]>

    init(_ count: Int) { files = Mutex([[UInt8]](repeating: [], count: count)) }

    func put(_ bytes: [UInt8], at index: Int) { files.withLock { $0[index] = bytes } }

    var all: [[UInt8]] { files.withLock { $0 } }
}

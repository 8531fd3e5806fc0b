import Synchronization

/// Topics in the order they were published.
final class SampleTopics: Sendable {
    private let topics = Mutex<[String]>([])
    var all: [String] { topics.withLock { $0 } }
    func add(_ topic: String) { topics.withLock { $0.append(topic) } }
}

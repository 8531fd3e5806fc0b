import Synchronization

/// A bounded queue between a thread that must not wait and one task that does.
///
/// It is bounded twice, by count and by bytes, because frames differ in size by a factor of a million.
/// What happens when it is full is part of its making: the newest is refused (control frames: the
/// sender repeats what matters) or the oldest is dropped (metrics: the newest says most).
package final class Inbox<Element: Sendable>: AsyncSequence, Sendable {
    /// What gives way when the queue is full.
    package enum Overflow: Sendable {
        case refuseNewest
        case dropOldest
    }

    private struct State {
        var elements: [(element: Element, bytes: Int)] = []
        var first = 0
        var bytes = 0
        var dropped: UInt64 = 0
        var finished = false
        var waiting: CheckedContinuation<Element?, Never>?

        var count: Int { elements.count - first }

        mutating func pop() -> Element? {
            guard first < elements.count else { return nil }
            let (element, size) = elements[first]
            first += 1
            bytes -= size
            if first == elements.count {
                elements.removeAll(keepingCapacity: elements.capacity <= 256)
                first = 0
            } else if first >= 64, first * 2 >= elements.count {
                elements.removeFirst(first)
                first = 0
            }
            return element
        }
    }

    private let state = Mutex(State())
    private let countMax: Int
    private let bytesMax: Int
    private let overflow: Overflow

    /// Makes an empty queue.
    /// - Parameters:
    ///   - countMax: elements that wait at most.
    ///   - bytesMax: their size at most; a single larger element is refused.
    ///   - overflow: what gives way.
    package init(countMax: Int, bytesMax: Int = .max, overflow: Overflow) {
        self.countMax = countMax
        self.bytesMax = bytesMax
        self.overflow = overflow
    }

    /// Elements that wait now.
    package var count: Int { state.withLock { $0.count } }

    /// Elements that were refused or dropped since the queue was made.
    package var dropped: UInt64 { state.withLock { $0.dropped } }

    /// Appends an element; never waits.
    /// - Returns: false when this element was refused.
    @discardableResult
    package func push(_ element: Element, bytes: Int = 0) -> Bool {
        let (accepted, waiting) = state.withLock {
            state -> (Bool, CheckedContinuation<Element?, Never>?) in
            guard !state.finished else { return (false, nil) }
            if let waiting = state.waiting {
                state.waiting = nil
                return (true, waiting)
            }
            guard bytes <= bytesMax else {
                state.dropped += 1
                return (false, nil)
            }
            while state.count >= countMax || state.bytes > bytesMax - bytes {
                state.dropped += 1
                guard overflow == .dropOldest, state.pop() != nil else { return (false, nil) }
            }
            state.elements.append((element, bytes))
            state.bytes += bytes
            return (true, nil)
        }
        waiting?.resume(returning: element)
        return accepted
    }

    /// Takes the oldest element if there is one; never waits.
    package func poll() -> Element? { state.withLock { $0.pop() } }

    /// Ends the sequence after what is queued.
    package func finish() {
        let waiting = state.withLock { state in
            state.finished = true
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume(returning: nil)
    }

    /// Waits for the oldest element; `nil` at the end and when the task is cancelled.
    package func next() async -> Element? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Element?? = state.withLock { state in
                    precondition(state.waiting == nil, "an inbox has one consumer")
                    if let element = state.pop() { return .some(element) }
                    if state.finished || Task.isCancelled { return .some(nil) }
                    state.waiting = continuation
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiting = state.withLock { state in
                defer { state.waiting = nil }
                return state.waiting
            }
            waiting?.resume(returning: nil)
        }
    }

    /// Iterates; only one iteration may run at a time.
    package struct Iterator: AsyncIteratorProtocol {
        let inbox: Inbox

        package mutating func next() async -> Element? { await inbox.next() }
    }

    package func makeAsyncIterator() -> Iterator { Iterator(inbox: self) }
}

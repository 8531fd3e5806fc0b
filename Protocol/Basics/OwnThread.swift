import Glibc
import Synchronization

/// A serial executor with a thread of its own, for work that blocks: SQLite, disk writes, `waitpid`.
///
/// An actor uses it by returning `asUnownedSerialExecutor()` from `unownedExecutor`. The thread ends when
/// the executor is released and its queue is empty.
package final class OwnThread: SerialExecutor, TaskExecutor {
    private enum Work {
        case job(UnownedJob)
        case call(@Sendable () -> Void)
    }

    private final class Queue: Sendable {
        struct State {
            var work: [Work] = []
            var closed = false
            /// What is called when the thread has nothing else to do, at the latest at `due`.
            var spare: (due: ContinuousClock.Instant, body: @Sendable () -> Void)?
        }

        let state = Mutex(State())
        // SAFETY: semaphores are made to be shared by threads; this one lives as long as the queue.
        nonisolated(unsafe) let ready: UnsafeMutablePointer<sem_t>

        init() {
            ready = .allocate(capacity: 1)
            sem_init(ready, 0, 0)
        }

        deinit {
            sem_destroy(ready)
            ready.deallocate()
        }

        func push(_ work: Work) {
            state.withLock { $0.work.append(work) }
            sem_post(ready)
        }

        func put(spare body: @escaping @Sendable () -> Void, within delay: Duration) {
            state.withLock { state in
                if state.spare == nil { state.spare = (.now + delay, body) }
            }
            sem_post(ready)
        }

        func close() {
            state.withLock { $0.closed = true }
            sem_post(ready)
        }

        /// Waits for the next batch; `nil` when the queue was closed and is empty.
        func next() -> [Work]? {
            while true {
                let (work, closed, due) = state.withLock { state in
                    var work = state.work
                    state.work = []
                    if let spare = state.spare, state.closed || spare.due <= .now {
                        work.append(.call(spare.body))
                        state.spare = nil
                    }
                    return (work, state.closed, state.spare?.due)
                }
                if !work.isEmpty { return work }
                if closed { return nil }
                wait(until: due)
            }
        }

        private func wait(until due: ContinuousClock.Instant?) {
            guard let due else {
                while sem_wait(ready) != 0, errno == EINTR {}
                return
            }
            // Glibc hides `sem_clockwait` from Swift. Should the clock be set back just now, the next work wakes us.
            let left = max(due - .now, .zero).components
            var end = timespec()
            clock_gettime(CLOCK_REALTIME, &end)
            let nanoseconds = end.tv_nsec + Int(left.attoseconds / 1_000_000_000)
            end.tv_sec += Int(left.seconds) + nanoseconds / 1_000_000_000
            end.tv_nsec = nanoseconds % 1_000_000_000
            _ = sem_timedwait(ready, &end)
        }
    }

    private let queue = Queue()

    /// Starts the thread.
    /// - Parameter name: at most 15 bytes; shown by `ps -L` and debuggers.
    package init(name: String) {
        let queue = queue
        let executor = Unmanaged.passUnretained(self).toOpaque()
        startThread(name: name) { [address = UInt(bitPattern: executor)] in
            while let batch = queue.next() {
                for work in batch {
                    switch work {
                    case .call(let body): body()
                    case .job(let job):
                        guard let pointer = UnsafeRawPointer(bitPattern: address) else { return }
                        let executor = Unmanaged<OwnThread>.fromOpaque(pointer)
                            .takeUnretainedValue()
                        job.runSynchronously(on: executor.asUnownedSerialExecutor())
                    }
                }
            }
        }
    }

    deinit { queue.close() }

    package func enqueue(_ job: consuming ExecutorJob) { queue.push(.job(UnownedJob(job))) }

    /// Calls `body` on the thread, after everything that waits there already.
    package func afterQueued(_ body: @escaping @Sendable () -> Void) { queue.push(.call(body)) }

    /// Calls `body` on the thread `delay` from now; a body that waits for that already is not joined by another.
    ///
    /// When the executor is released, it is called before the thread ends.
    package func later(within delay: Duration, _ body: @escaping @Sendable () -> Void) {
        queue.put(spare: body, within: delay)
    }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }
}

/// Starts a detached thread with a name.
package func startThread(name: String, _ body: @escaping @Sendable () -> Void) {
    final class Box {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(name: name, body: body))
    let status = pthread_create(
        &thread,
        nil,
        { context in
            guard let context else { return nil }
            let box = Unmanaged<Box>.fromOpaque(context).takeRetainedValue()
            nameThread(String(box.name.prefix(15)))
            box.body()
            return nil
        },
        box.toOpaque()
    )
    precondition(status == 0, "cannot start thread \(name): error \(status)")
    pthread_detach(thread)
}

/// Names the calling thread; Glibc's own call hides behind a feature macro that Swift's import does not set.
private func nameThread(_ name: String) {
    let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    _ = name.withCString { write(file, $0, strlen($0)) }
    close(file)
}

import Basics
import Glibc

/// Makes sure that one process at a time works on a state directory; held until it is released.
///
/// The kernel lets go of it when the process ends, however it ends.
package final class StateLock: Sendable {
    private let descriptor: CInt

    /// Takes the lock.
    /// - Throws: `Fault` of kind `conflict` when another process has it; `unavailable` when the
    ///   directory cannot be written.
    package init(directory: String) throws {
        let path = directory + "/lock"
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw Fault(
                .unavailable,
                "cannot use the state directory \(directory): \(String(cString: strerror(errno))); check that it exists and belongs to the service's user"
            )
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw Fault(
                .conflict,
                "cannot use the state directory \(directory): another controller uses it; stop that one first"
            )
        }
    }

    deinit { close(descriptor) }
}

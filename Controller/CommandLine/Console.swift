import Glibc

/// Where the command line prints: results on standard output, progress and warnings on standard error.
struct Console: Sendable {
    private let descriptor: Int32

    static let output = Console(descriptor: STDOUT_FILENO)
    static let progress = Console(descriptor: STDERR_FILENO)

    private init(descriptor: Int32) { self.descriptor = descriptor }

    /// Whether a person at a terminal reads it, so that lines can be drawn over.
    var isTerminal: Bool { isatty(descriptor) == 1 }

    /// Columns of the terminal; 100 when there is none.
    var width: Int {
        var size = winsize()
        guard isTerminal, ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
            return 100
        }
        return Int(size.ws_col)
    }

    /// Writes a line.
    func line(_ text: String) { write(text + "\n") }

    /// Writes the text as it is; what a closed pipe refuses is lost.
    func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { return }
            bytes = bytes.dropFirst(written)
        }
    }
}

import Glibc

/// Where the bench prints.
package enum Console {
    /// Prints a line at once, also into a file.
    package static func line(_ text: String) {
        print(text)
        fflush(nil)
    }
}

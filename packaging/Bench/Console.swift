/// Where the bench prints.
package enum Console {
    /// Prints a line at once.
    package static func line(_ text: String) { print(text) }
}

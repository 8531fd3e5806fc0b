import Basics
import RamdiskBuilder

/// Where the parts of an image are looked for when nobody names them.
package enum ImageLocations {
    /// Where packages install the elements.
    package static let installedElements = "/usr/share/rdo/elements"

    /// The agent's executable in the directory of another program.
    /// - Parameter program: absolute path.
    /// - Returns: a path; whether something is there is not looked at.
    package static func agent(beside program: String) -> String {
        directory(of: program) + "/rdo-agent"
    }

    /// The directory with the elements: the installed one, or that of the source tree the program was
    /// built in.
    /// - Parameter program: absolute path.
    /// - Returns: an absolute path.
    /// - Throws: `Fault` (`notFound`) when there is neither.
    package static func elements(beside program: String) throws -> String {
        var directory = directory(of: program)
        while !directory.isEmpty {
            let candidate = "\(directory)/packaging/elements"
            if HostFile.exists("\(candidate)/\(ImageRecipe.element)") { return candidate }
            directory = Self.directory(of: directory)
        }
        guard HostFile.exists("\(installedElements)/\(ImageRecipe.element)") else {
            throw Fault(
                .notFound,
                "cannot find the image elements: they are not in \(installedElements); name their"
                    + " directory by --elements"
            )
        }
        return installedElements
    }

    private static func directory(of path: String) -> String {
        path.split(separator: "/").dropLast().map { "/\($0)" }.joined()
    }
}

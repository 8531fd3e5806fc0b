import Basics
import Glibc
import HostTools
import RamdiskBuilder

/// Runs diskimage-builder and keeps the tree of files it makes, as a tar archive.
struct TreeBuild<Time: TimeSource>: Sendable {
    private static var budget: Duration { .seconds(45 * 60) }

    private let recipe: ImageRecipe
    private let time: Time

    init(_ recipe: ImageRecipe, time: Time) {
        self.recipe = recipe
        self.time = time
    }

    /// Builds the tree.
    /// - Parameter archive: path of the tar archive to make; it appears there only when it is complete.
    /// - Throws: `Fault` that names diskimage-builder's log.
    func run(to archive: String) async throws {
        let listing = try await Tool.require(
            "apt-get",
            PackageMirrors.listingArguments,
            budget: .seconds(60),
            time: time
        )
        let mirrors = try PackageMirrors(listing: listing.output, release: ImageRecipe.release)
        let directory = "\(recipe.cache)/diskimage-builder"
        let work = "\(directory)/work"
        let result = "\(directory)/tree"
        let log = "\(directory)/build.log"
        for path in ["\(directory)/packages", work] { try makeDirectories(path) }
        var environment = mirrors.environment
        environment["ELEMENTS_PATH"] = recipe.elements
        environment["DIB_IMAGE_CACHE"] = "\(directory)/packages"
        environment["TMP_DIR"] = work
        let build = try await Tool.run(
            "disk-image-create",
            [
                "-n", "-a", "amd64", "-t", "tar", "--logfile", log, "-o", result, "debian-minimal",
                ImageRecipe.element,
            ],
            environment: environment,
            directory: directory,
            budget: Self.budget,
            outputMax: 16 << 20,
            time: time
        )
        guard build.exitCode == 0, HostFile.exists("\(result).tar") else {
            throw Fault(
                .internalError,
                "cannot build the image's files: diskimage-builder ended with code"
                    + " \(build.exitCode); its log is \(log)",
                detail: build.lastWords
            )
        }
        guard rename("\(result).tar", archive) == 0 else { throw systemFault("write \(archive)") }
        try await Tool.require(
            "rm",
            ["-rf", "--", "\(result).d", work],
            budget: .seconds(60),
            time: time
        )
    }
}

import Basics

/// Where Debian's packages come from, as apt is configured on the build host.
///
/// The addresses are never written down in the repository: each site has its own.
package struct PackageMirrors: Sendable, Equatable {
    /// One suite of packages.
    package struct Suite: Sendable, Equatable {
        package let address: String
        package let name: String
        package let component: String
    }

    /// The arguments with which `apt-get` lists its sources for `init(listing:release:)`.
    package static let listingArguments = [
        "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages",
    ]

    /// The release's own suite, first.
    package let main: Suite
    /// Updates and security, as far as the host has them.
    package let others: [Suite]

    /// Reads apt's list of sources.
    /// - Parameters:
    ///   - listing: lines of address, suite and component.
    ///   - release: code name; suites are the release, its updates and its security fixes.
    /// - Throws: `Fault` (`unavailable`) when the host has no source for the release.
    package init(listing: String, release: String) throws {
        var suites: [Suite] = []
        for line in listing.split(whereSeparator: \.isNewline) {
            let words = line.split(separator: " ").map(String.init)
            guard words.count == 3, words[2] == "main" else { continue }
            suites.append(Suite(address: words[0], name: words[1], component: words[2]))
        }
        guard let main = suites.first(where: { $0.name == release }) else {
            throw Fault(
                .unavailable,
                "cannot find a source of Debian \(release): apt has none configured; run apt-get update"
                    + " or add one"
            )
        }
        self.main = main
        others = ["\(release)-updates", "\(release)-security"].compactMap { name in
            suites.first { $0.name == name }
        }
    }

    /// The environment with which diskimage-builder uses these sources.
    package var environment: [String: String] {
        let lines = ([main] + others).map { suite in
            "\(suite.name):deb \(suite.address) \(suite.name) \(suite.component)"
        }
        return [
            "DIB_DISTRIBUTION_MIRROR": main.address,
            "DIB_DEBIAN_SECURITY_MIRROR": (others.last ?? main).address,
            "DIB_APT_SOURCES_CONF": lines.joined(separator: "\n"),
        ]
    }
}

/// Where a step's files go and which program applies them.
package struct PuppetPaths: Sendable {
    /// Hiera's data files.
    package var hieradata: String
    /// Hiera's own configuration.
    package var hieraConfiguration: String
    /// The manifests that were applied, one per deployment and step.
    package var manifests: String
    /// Puppet's report and log of the last run.
    package var reports: String
    package var puppet: String
    /// Arguments that come first, after `apply`.
    package var arguments: [String]

    package init(
        hieradata: String = "/etc/puppet/hieradata",
        hieraConfiguration: String = "/etc/puppet/hiera.yaml",
        manifests: String = "/var/lib/rdo-agent/manifests",
        reports: String = "/var/lib/rdo-agent/puppet",
        puppet: String = "puppet",
        arguments: [String] = []
    ) {
        self.hieradata = hieradata
        self.hieraConfiguration = hieraConfiguration
        self.manifests = manifests
        self.reports = reports
        self.puppet = puppet
        self.arguments = arguments
    }
}

/// Hiera's files for one step: checked names, rendered content.
struct HieraConfiguration: Sendable, Equatable {
    /// The highest level; it holds nothing but the step's number.
    static let stepFile = "rdo_step.yaml"
    static let filesMax = 256
    static let levelsMax = 64

    /// Why the names are not taken.
    struct Malformed: Error, Equatable {
        let reason: String
    }

    /// Name and content of every data file, sorted by name.
    let files: [(name: String, content: [UInt8])]
    /// The text of `hiera.yaml`.
    let configuration: String

    static func == (left: Self, right: Self) -> Bool {
        left.configuration == right.configuration
            && left.files.map(\.name) == right.files.map(\.name)
            && left.files.map(\.content) == right.files.map(\.content)
    }

    /// - Parameters:
    ///   - data: content by file name; a name is `[A-Za-z0-9_.-]+.yaml`, never a path.
    ///   - hierarchy: levels without extension, highest first; `%{facts.x}` and `%{::x}` are filled in by
    ///     Hiera, its functions are not allowed.
    init(
        step: UInt32, data: [String: [UInt8]], hierarchy: [String], directory: String
    ) throws(Malformed) {
        guard data.count <= Self.filesMax, hierarchy.count <= Self.levelsMax else {
            throw Malformed(reason: "there are too many Hiera files or levels")
        }
        for name in data.keys.sorted() {
            guard Self.isFileName(name), name != Self.stepFile else {
                throw Malformed(reason: "“\(name.prefix(80))” is no name for a Hiera data file")
            }
        }
        for level in hierarchy where !Self.isLevel(level) {
            throw Malformed(reason: "“\(level.prefix(80))” is no name for a Hiera level")
        }
        let number = Array("---\nstep: \(step)\n".utf8)
        files =
            [(Self.stepFile, number)]
            + data.sorted { $0.key < $1.key }.map { (name: $0.key, content: $0.value) }
        var text = "---\nversion: 5\ndefaults:\n  datadir: \"\(directory)\"\n"
        text += "  data_hash: yaml_data\nhierarchy:\n"
        text += "  - name: \"step\"\n    path: \"\(Self.stepFile)\"\n"
        var seen: Set<String> = ["step"]
        for level in hierarchy where seen.insert(level).inserted {
            text += "  - name: \"\(level)\"\n    path: \"\(level).yaml\"\n"
        }
        configuration = text
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte)
            || (0x61...0x7a).contains(byte) || [0x2d, 0x2e, 0x5f].contains(byte)
    }

    private static func isFileName(_ name: String) -> Bool {
        let stem = name.utf8.dropLast(5)
        return name.hasSuffix(".yaml") && (1...100).contains(stem.count)
            && stem.allSatisfy(isPlain) && stem.first != UInt8(ascii: ".")
    }

    /// Plain characters and simple interpolations such as `%{::osfamily}`.
    private static func isLevel(_ level: String) -> Bool {
        var rest = Substring(level)
        guard (1...100).contains(level.utf8.count), !level.hasPrefix(".") else { return false }
        while let first = rest.utf8.first {
            if rest.hasPrefix("%{") {
                guard let end = rest.firstIndex(of: "}") else { return false }
                let inner = rest[..<end].utf8.dropFirst(2)
                guard !inner.isEmpty,
                    inner.allSatisfy({ isPlain($0) || $0 == UInt8(ascii: ":") })
                else { return false }
                rest = rest[rest.index(after: end)...]
            } else {
                guard isPlain(first) else { return false }
                rest = rest.dropFirst()
            }
        }
        return true
    }
}

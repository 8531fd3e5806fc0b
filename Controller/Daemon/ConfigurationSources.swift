import Basics
import Configuration
import Yams

/// The three places where a value may stand: flag over environment over file.
package struct ConfigurationSources: Sendable {
    /// By key, with where it was found.
    private struct Found {
        var value: String
        var place: String
    }

    private let reader: ConfigReader
    private let places: [String: String]

    /// Checks every key and keeps the values.
    /// - Parameters:
    ///   - flags: `KEY=VALUE` from `--set`.
    ///   - environment: the process's variables; those that begin with `RDO_` count.
    ///   - file: the YAML text; `nil` without a file.
    ///   - path: the file's name, for messages.
    /// - Throws: `Fault` that names the key, where it stands and the nearest known key.
    package init(
        flags: [String],
        environment: [String: String],
        file: String?,
        path: String
    ) throws {
        let layers: [[String: Found]] = [
            try Self.read(flags: flags), try Self.read(environment: environment),
            try Self.read(file: file ?? "", path: path),
        ]
        var places: [String: String] = [:]
        for layer in layers.reversed() {
            for (key, found) in layer { places[key] = found.place }
        }
        for (key, found) in layers.flatMap({ $0.sorted { $0.key < $1.key } }) {
            guard let setting = Setting.all.first(where: { $0.key == key }),
                let problem = setting.problem(with: found.value)
            else { continue }
            throw Fault(
                .invalid,
                "cannot use “\(found.value)” for \(key) (\(found.place)): \(problem)"
            )
        }
        self.places = places
        reader = ConfigReader(
            providers: layers.map { layer in
                var values: [AbsoluteConfigKey: ConfigValue] = [:]
                for (key, found) in layer {
                    values[AbsoluteConfigKey(Self.words(key), context: [:])] = ConfigValue(
                        .string(found.value),
                        isSecret: false
                    )
                }
                return InMemoryProvider(values: values)
            }
        )
    }

    /// The value of a known key.
    package subscript(key: String) -> String {
        guard let setting = Setting.all.first(where: { $0.key == key }) else {
            preconditionFailure("there is no setting \(key)")
        }
        return reader.string(forKey: ConfigKey(Self.words(key), context: [:])) ?? setting.standard
    }

    /// Where the value stands: a flag, a variable, the file; `default` when nowhere.
    package func place(of key: String) -> String { places[key] ?? "default" }

    private static func words(_ key: String) -> [String] {
        key.split(separator: ".").map(String.init)
    }

    private static func read(flags: [String]) throws -> [String: Found] {
        var values: [String: Found] = [:]
        for flag in flags {
            let parts = flag.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw Fault(.invalid, "cannot use --set \(flag): write it as KEY=VALUE")
            }
            let key = String(parts[0])
            try require(key, in: "--set", among: Setting.all.map(\.key))
            values[key] = Found(value: String(parts[1]), place: "--set")
        }
        return values
    }

    /// Variables of our own that set nothing here: `Package.swift` reads it.
    private static let foreignVariables: Set<String> = ["RDO_ONLY"]

    private static func read(environment: [String: String]) throws -> [String: Found] {
        var values: [String: Found] = [:]
        for (name, value) in environment.sorted(by: { $0.key < $1.key })
        where name.hasPrefix("RDO_") && !foreignVariables.contains(name) {
            try require(name, in: "the environment", among: Setting.all.map(\.variable))
            guard let setting = Setting.all.first(where: { $0.variable == name }) else { continue }
            values[setting.key] = Found(value: value, place: name)
        }
        return values
    }

    private static func read(file text: String, path: String) throws -> [String: Found] {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw Fault(.invalid, "cannot read \(path): it is not YAML (\(error))", cause: error)
        }
        guard let root, root != Node("") else { return [:] }
        guard let mapping = root.mapping else {
            throw Fault(
                .invalid,
                "cannot read \(path): it holds no keys; see rdo-controller --print-sample-configuration"
            )
        }
        var values: [String: Found] = [:]
        try flatten(mapping, prefix: "", path: path, into: &values)
        return values
    }

    private static func flatten(
        _ mapping: Node.Mapping,
        prefix: String,
        path: String,
        into values: inout [String: Found]
    ) throws {
        let known = Setting.all.map(\.key)
        for (name, node) in mapping {
            let key = prefix + (name.string ?? "?")
            let line = name.mark.map { ":\($0.line)" } ?? ""
            if let section = node.mapping, known.contains(where: { $0.hasPrefix(key + ".") }) {
                try flatten(section, prefix: key + ".", path: path, into: &values)
                continue
            }
            try require(key, in: path + line, among: known)
            guard let value = node.scalar?.string else {
                throw Fault(.invalid, "cannot use \(key) (\(path)\(line)): it must be one value")
            }
            guard values[key] == nil else {
                throw Fault(.invalid, "cannot use \(key) (\(path)\(line)): it stands there twice")
            }
            values[key] = Found(value: value, place: path + line)
        }
    }

    private static func require(_ key: String, in place: String, among known: [String]) throws {
        guard !known.contains(key) else { return }
        let nearest = known.min { distance($0, key) < distance($1, key) } ?? ""
        throw Fault(
            .invalid,
            "cannot use the key “\(key)” (\(place)): there is none; did you mean “\(nearest)”?"
        )
    }

    /// The number of letters to change, insert or remove (Levenshtein).
    static func distance(_ left: String, _ right: String) -> Int {
        let right = Array(right)
        var row = Array(0...right.count)
        for (index, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in right.indices {
                let change = diagonal + (letter == right[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(change, diagonal + 1, row[column] + 1)
            }
        }
        return row[right.count]
    }
}

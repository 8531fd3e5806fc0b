import Basics

/// What `depmod` says about a kernel's modules: which there are, what each needs and what it drives.
///
/// A module's name has no path and no suffix, and `_` where its file may have `-`, as in the kernel.
package struct ModuleIndex: Sendable, Equatable {
    /// One module.
    package struct Module: Sendable, Equatable {
        /// Below `/lib/modules/VERSION`: `kernel/drivers/net/virtio_net.ko`.
        package let path: String
        /// Names of all modules to be loaded before it, by `modules.dep`.
        package let needs: [String]
    }

    /// What became of a wish list.
    package struct Closure: Sendable, Equatable {
        /// Names of the modules to take along, sorted.
        package var modules: Set<String> = []
        /// Wishes that the kernel has built in, sorted.
        package var builtIn: [String] = []
        /// Wishes that this kernel does not have, sorted.
        package var missing: [String] = []
    }

    package private(set) var modules: [String: Module] = [:]
    private var builtIn: Set<String> = []
    private var softly: [String: [String]] = [:]
    private let aliasLines: [Substring]
    private let symbolLines: [Substring]
    private let softLines: [Substring]

    /// Reads the texts that `depmod` wrote.
    /// - Parameters:
    ///   - dependencies: `modules.dep`.
    ///   - builtIn: `modules.builtin`.
    ///   - soft: `modules.softdep`, what a module wants before or after it but can do without.
    ///   - aliases: `modules.alias`.
    ///   - symbols: `modules.symbols`.
    package init(
        dependencies: String,
        builtIn: String,
        soft: String = "",
        aliases: String = "",
        symbols: String = ""
    ) {
        for line in dependencies.split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let path = String(line[..<colon])
            let needs = line[line.index(after: colon)...].split(separator: " ")
            modules[Self.name(ofPath: path)] = Module(
                path: path,
                needs: needs.map { Self.name(ofPath: String($0)) }
            )
        }
        self.builtIn = Set(
            builtIn.split(whereSeparator: \.isNewline).map { Self.name(ofPath: String($0)) }
        )
        aliasLines = aliases.split(whereSeparator: \.isNewline)
        symbolLines = symbols.split(whereSeparator: \.isNewline)
        softLines = soft.split(whereSeparator: \.isNewline)
        for line in softLines {
            let words = line.split(separator: " ").map(String.init)
            guard words.count > 2, words[0] == "softdep" else { continue }
            softly[Self.normalized(words[1])] = words[2...].filter { !$0.hasSuffix(":") }
                .map(Self.normalized)
        }
    }

    /// Reads what `depmod` wrote into `/lib/modules/VERSION`.
    /// - Throws: `Fault` when a file that must be there is missing.
    package init(directory: String) throws {
        func text(_ name: String, needed: Bool = false) throws -> String {
            guard needed || HostFile.exists("\(directory)/\(name)") else { return "" }
            return String(decoding: try HostFile.read("\(directory)/\(name)"), as: UTF8.self)
        }
        self.init(
            dependencies: try text("modules.dep", needed: true),
            builtIn: try text("modules.builtin", needed: true),
            soft: try text("modules.softdep"),
            aliases: try text("modules.alias"),
            symbols: try text("modules.symbols")
        )
    }

    /// The modules of a wish list with everything they need.
    /// - Parameter wanted: names of modules. One that is not there is reported, not an error: kernels of
    ///   one distribution differ in what they bring.
    /// - Returns: what to take along, and what became of each wish.
    package func closure(of wanted: some Sequence<String>) -> Closure {
        var closure = Closure()
        var waiting: [String] = []
        for name in Set(wanted.map(Self.normalized)).sorted() {
            if modules[name] != nil {
                waiting.append(name)
            } else if builtIn.contains(name) {
                closure.builtIn.append(name)
            } else {
                closure.missing.append(name)
            }
        }
        while let name = waiting.popLast() {
            guard let module = modules[name], closure.modules.insert(name).inserted else {
                continue
            }
            waiting.append(contentsOf: module.needs)
            // What is wanted softly may be built in or absent.
            waiting.append(contentsOf: softly[name, default: []])
        }
        return closure
    }

    /// `modules.dep`, `modules.alias`, `modules.symbols` and `modules.softdep` for some of the modules,
    /// each sorted, by file name.
    package func texts(for chosen: Set<String>) -> [String: String] {
        let dependencies = chosen.compactMap { name -> String? in
            guard let module = modules[name] else { return nil }
            let needs = module.needs.compactMap { modules[$0].map { Self.plainPath($0.path) } }
            return ([Self.plainPath(module.path) + ":"] + needs).joined(separator: " ")
        }
        func lines(_ all: [Substring], module word: Int) -> String {
            let kept = all.filter { line in
                let words = line.split(separator: " ")
                return words.count > word && chosen.contains(Self.normalized(String(words[word])))
            }
            return kept.sorted().map { $0 + "\n" }.joined()
        }
        return [
            "modules.dep": dependencies.sorted().map { $0 + "\n" }.joined(),
            "modules.alias": lines(aliasLines, module: 2),
            "modules.symbols": lines(symbolLines, module: 2),
            "modules.softdep": lines(softLines, module: 1),
        ]
    }

    /// The path of a module after decompression: nothing follows `.ko`.
    static func plainPath(_ path: String) -> String {
        for suffix in [".xz", ".zst", ".gz"] where path.hasSuffix(".ko" + suffix) {
            return String(path.dropLast(suffix.count))
        }
        return path
    }

    /// `kernel/drivers/net/virtio-net.ko.xz` is `virtio_net`.
    static func name(ofPath path: String) -> String {
        let file = path.split(separator: "/").last.map(String.init) ?? path
        return normalized(String(file.prefix { $0 != "." }))
    }

    private static func normalized(_ name: String) -> String {
        String(name.map { $0 == "-" ? "_" : $0 })
    }
}

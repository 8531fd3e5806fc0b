import CLinux
import Glibc

/// What `depmod` wrote about the modules of a kernel: which need which, and which drive what.
package struct ModuleIndex: Sendable {
    /// Path below the modules' directory and the paths it needs, in the order to load them.
    private struct Entry: Sendable {
        let path: String
        let needs: [String]
    }

    private var entries: [String: Entry] = [:]
    private var aliases: [(pattern: [UInt8], module: String)] = []

    /// Reads `modules.dep` and `modules.alias`.
    ///
    /// Lines that make no sense are skipped.
    package init(dependencies: String, aliases text: String) {
        for line in dependencies.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { continue }
            let path = String(parts[0])
            // The file lists what is needed nearest first; it must be loaded last.
            let needs = parts[1].split(separator: " ").reversed().map(String.init)
            entries[Self.name(ofPath: path)] = Entry(path: path, needs: needs)
        }
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ")
            guard parts.count == 3, parts[0] == "alias" else { continue }
            aliases.append((Array(parts[1].utf8), Self.normal(parts[2])))
        }
    }

    /// Modules that drive the device with this alias, sorted by name.
    package func modules(for modalias: String) -> [String] {
        let text = Array(modalias.utf8)
        var found: Set<String> = []
        for (pattern, module) in aliases
        where text.first == pattern.first && Self.matches(pattern[...], text[...]) {
            found.insert(module)
        }
        return found.sorted()
    }

    /// Paths to load for a module, itself last; empty when it is built in or unknown.
    package func loadOrder(_ module: String) -> [String] {
        guard let entry = entries[Self.normal(module)] else { return [] }
        return entry.needs + [entry.path]
    }

    /// Module names are written with either hyphens or underscores.
    static func normal(_ name: some StringProtocol) -> String {
        String(name.map { $0 == "-" ? "_" : $0 })
    }

    /// `kernel/net/virtio_net.ko.xz` is `virtio_net`.
    static func name(ofPath path: String) -> String {
        let file = path.split(separator: "/").last ?? ""
        return normal(file.split(separator: ".").first ?? "")
    }

    /// Shell patterns of `*`, `?` and `[…]`; the only ones that depmod writes.
    static func matches(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
        var (pattern, text) = (pattern, text)
        // Where to go on when the text after the last star turned out to be longer.
        var star: (pattern: ArraySlice<UInt8>, text: ArraySlice<UInt8>)?
        while true {
            if pattern.first == UInt8(ascii: "*") {
                pattern = pattern.dropFirst()
                star = (pattern, text)
                continue
            }
            if text.isEmpty, pattern.isEmpty { return true }
            if let byte = text.first, let after = step(pattern, byte) {
                pattern = after
                text = text.dropFirst()
                continue
            }
            guard let last = star, !last.text.isEmpty else { return false }
            star = (last.pattern, last.text.dropFirst())
            (pattern, text) = (last.pattern, last.text.dropFirst())
        }
    }

    /// The pattern after one byte was matched by its first element, or `nil`.
    private static func step(_ pattern: ArraySlice<UInt8>, _ byte: UInt8) -> ArraySlice<UInt8>? {
        guard let head = pattern.first else { return nil }
        if head == UInt8(ascii: "?") { return pattern.dropFirst() }
        guard head == UInt8(ascii: "["),
            let end = pattern.firstIndex(of: UInt8(ascii: "]"))
        else { return head == byte ? pattern.dropFirst() : nil }
        var set = pattern[(pattern.startIndex + 1)..<end]
        while let low = set.popFirst() {
            if set.count >= 2, set.first == UInt8(ascii: "-") {
                let high = set[set.startIndex + 1]
                set = set.dropFirst(2)
                if low <= byte, byte <= high { return pattern[(end + 1)...] }
            } else if low == byte {
                return pattern[(end + 1)...]
            }
        }
        return nil
    }
}

/// Loads kernel modules.
package protocol KernelModules: Sendable {
    /// Loads a module and what it needs.
    /// - Returns: false when there is no such module (it may be built in).
    /// - Throws: `SystemFailure`.
    @discardableResult
    func load(_ name: String) throws -> Bool

    /// Loads the drivers of every device that has none yet, until no new device appears.
    /// - Returns: the names of the modules that were loaded, in order.
    func loadDrivers() -> [String]
}

/// Modules below `/lib/modules`, loaded by `finit_module`.
///
/// Not for several threads at once.
package struct SystemKernelModules: KernelModules {
    /// Rounds of looking for new devices: a bus driver shows a bus, whose devices need drivers.
    private static let roundsMax = 5

    private let tree: FileTree
    private let directory: String
    private let index: ModuleIndex

    /// Reads the running kernel's index; empty when it has none.
    package init(tree: FileTree = FileTree()) {
        self.tree = tree
        let release = tree.text("/proc/sys/kernel/osrelease") ?? ""
        let directory = "/lib/modules/\(release)"
        func text(_ name: String) -> String {
            let bytes = tree.bytes("\(directory)/\(name)", bytesMax: 8 << 20) ?? []
            return String(decoding: bytes, as: UTF8.self)
        }
        self.directory = directory
        index = ModuleIndex(dependencies: text("modules.dep"), aliases: text("modules.alias"))
    }

    @discardableResult
    package func load(_ name: String) throws -> Bool {
        let order = index.loadOrder(name)
        for path in order { try insert("\(directory)/\(path)") }
        return !order.isEmpty
    }

    package func loadDrivers() -> [String] {
        var loaded: [String] = []
        var seen: Set<String> = []
        for _ in 0..<Self.roundsMax {
            let fresh = deviceAliases().filter { seen.insert($0).inserted }
            if fresh.isEmpty { break }
            for module in Set(fresh.flatMap(index.modules)).sorted() where !loaded.contains(module)
            {
                // A driver that does not start leaves its device unused; the others matter.
                if (try? load(module)) == true { loaded.append(module) }
            }
        }
        return loaded
    }

    private func insert(_ path: String) throws {
        let name = ModuleIndex.name(ofPath: path)
        guard !tree.exists("/sys/module/\(name)") else { return }
        let file = open(tree.path(path), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw SystemFailure("open \(path)", code: errno) }
        defer { close(file) }
        let result = rdo_load_module(file, "")
        if result != -EEXIST { try SystemFailure.check(result, "load \(path)") }
    }

    /// The aliases of all devices, sorted.
    private func deviceAliases() -> [String] {
        var aliases: Set<String> = []
        for bus in tree.names(in: "/sys/bus") {
            for device in tree.names(in: "/sys/bus/\(bus)/devices") {
                let path = "/sys/bus/\(bus)/devices/\(device)/modalias"
                if let alias = tree.text(path), !alias.isEmpty { aliases.insert(alias) }
            }
        }
        return aliases.sorted()
    }
}

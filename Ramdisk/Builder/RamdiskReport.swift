/// What a finished build consists of, and what takes the space.
package struct RamdiskReport: Sendable {
    package let kernelVersion: String
    /// Size of the kernel in bytes.
    package let kernelBytes: Int
    /// Everything but modules.
    package let base: CpioArchive
    /// Compressed size of the base in bytes.
    package let baseBytes: Int
    package let modules: CpioArchive
    /// Compressed size of the modules in bytes.
    package let moduleBytes: Int
    /// Which wishes for modules came true.
    package let closure: ModuleIndex.Closure

    /// Files named one by one in the table are at least this large, in bytes.
    private static let shownBytesMin = 400 << 10

    /// The table of sizes, for people.
    package var table: String {
        var rows: [(name: String, bytes: Int)] = []
        rows += Self.rows(base, other: "other files of the base")
        rows += Self.moduleRows(modules)
        rows.sort { ($1.bytes, $0.name) < ($0.bytes, $1.name) }
        var lines = ["kernel \(kernelVersion)", "    unpacked  what"]
        lines += rows.map { Self.cell($0.bytes) + "  " + $0.name }
        lines += [
            "  compressed",
            Self.cell(baseBytes) + "  base: agent, libraries, busybox",
            Self.cell(moduleBytes) + "  \(closure.modules.count) modules",
            Self.cell(baseBytes + moduleBytes) + "  initrd",
            Self.cell(kernelBytes) + "  kernel",
        ]
        if !closure.missing.isEmpty {
            lines.append("not in this kernel: " + closure.missing.joined(separator: " "))
        }
        return lines.joined(separator: "\n")
    }

    private static func rows(_ archive: CpioArchive, other: String) -> [(name: String, bytes: Int)]
    {
        var rows: [(name: String, bytes: Int)] = []
        var rest = 0
        for (path, entry) in archive.entries {
            guard case .file(let bytes) = entry.content else { continue }
            if bytes.count >= shownBytesMin {
                rows.append((path, bytes.count))
            } else {
                rest += bytes.count
            }
        }
        return rows + [(other, rest)]
    }

    /// Modules by the directory of the kernel that they come from.
    private static func moduleRows(_ archive: CpioArchive) -> [(name: String, bytes: Int)] {
        var sizes: [String: Int] = [:]
        for (path, entry) in archive.entries {
            guard case .file(let bytes) = entry.content else { continue }
            let parts = path.split(separator: "/").drop { $0 != "kernel" }.dropFirst()
            let group =
                parts.isEmpty
                ? "module lists" : "modules " + parts.dropLast().prefix(2).joined(separator: "/")
            sizes[group, default: 0] += bytes.count
        }
        return sizes.map { ($0.key, $0.value) }
    }

    /// A size in KiB, right-aligned.
    private static func cell(_ bytes: Int) -> String {
        let text = "\((bytes + 1023) >> 10) KiB"
        return String(repeating: " ", count: max(0, 12 - text.count)) + text
    }
}

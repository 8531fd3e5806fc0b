package import AgentSystem
package import Protocol

/// Which disk an image goes to, and why.
package struct RootDeviceChoice: Sendable, Equatable {
    package let disk: BlockDevice
    /// One sentence for every disk of the machine.
    package let explanations: [String]
}

/// Why there is no disk for an image.
package struct NoRootDevice: Error, Sendable, Equatable {
    /// A clause: what was asked for.
    package let reason: String
    /// One sentence for every disk of the machine.
    package let explanations: [String]
}

/// Chooses the disk that an image goes to, as Ironic does.
///
/// With hints: the first disk, by name, that satisfies all of them. Without: the smallest that holds 4 GiB
/// and is not removable. A disk that is read-only or a member of a software RAID array is never chosen. Pure; the order of `disks` does not
/// matter.
/// - Throws: `NoRootDevice` when no disk fits or a hint makes no sense.
package func chooseRootDevice(
    _ disks: [BlockDevice],
    hints: WireRootDeviceHints
) throws(NoRootDevice) -> RootDeviceChoice {
    let disks = disks.sorted { $0.path < $1.path }
    let hints = try parse(hints)
    guard !disks.isEmpty else {
        throw NoRootDevice(reason: "the machine has no disk", explanations: [])
    }
    let arrays = Dictionary(
        disks.flatMap { disk in disk.members.map { ($0, disk.path) } },
        uniquingKeysWith: { first, _ in first }
    )
    let obstacles = disks.map { disk -> String? in
        if let array = arrays[disk.path] { return "it is a member of the array \(array)" }
        return hints.isEmpty ? defaultObstacle(disk) : obstacle(disk, hints)
    }
    let fitting = disks.indices.filter { obstacles[$0] == nil }
    let chosen: Int? =
        hints.isEmpty
        ? fitting.min { disks[$0].bytes < disks[$1].bytes } : fitting.first
    let explanations = disks.indices.map { index in
        let title = title(disks[index])
        if index == chosen {
            return hints.isEmpty
                ? "\(title) is chosen: the smallest that holds an image (no hints were given)"
                : "\(title) is chosen: it satisfies \(list(hints))"
        }
        if let obstacle = obstacles[index] { return "\(title) is not: \(obstacle)" }
        return hints.isEmpty
            ? "\(title) is not: it is larger than the chosen one or comes after it"
            : "\(title) is not: it satisfies the hints as well but comes after the chosen one"
    }
    guard let chosen else {
        let reason =
            hints.isEmpty
            ? "no disk of at least 4 GiB can be written" : "no disk satisfies \(list(hints))"
        throw NoRootDevice(reason: reason, explanations: explanations)
    }
    return RootDeviceChoice(disk: disks[chosen], explanations: explanations)
}

/// The disks that satisfy all hints, by name.
/// - Throws: `NoRootDevice` when a hint makes no sense or none is given.
func matching(
    _ disks: [BlockDevice],
    _ hints: WireRootDeviceHints
) throws(NoRootDevice) -> [BlockDevice] {
    let hints = try parse(hints)
    guard !hints.isEmpty else {
        throw NoRootDevice(reason: "the hints of a disk are empty", explanations: [])
    }
    return disks.sorted { $0.path < $1.path }.filter { obstacle($0, hints) == nil }
}

/// Hints for people: “serial “s== 1”, rotational “true””.
/// - Throws: `NoRootDevice` when a hint makes no sense.
func described(_ hints: WireRootDeviceHints) throws(NoRootDevice) -> String {
    list(try parse(hints))
}

/// Ironic's `root_disk_min_size`.
private let rootBytesMin: UInt64 = 4 << 30

private func parse(_ hints: WireRootDeviceHints) throws(NoRootDevice) -> [RootDeviceHint] {
    var parsed: [RootDeviceHint] = []
    for property in RootDeviceHint.Property.allCases {
        let text = text(property, hints)
        guard !text.isEmpty else { continue }
        do throws(RootDeviceHint.Malformed) {
            parsed.append(try RootDeviceHint(property, text))
        } catch {
            throw NoRootDevice(
                reason: "the hint \(property.rawValue) “\(text)” makes no sense: \(error.reason)",
                explanations: []
            )
        }
    }
    return parsed
}

private func text(
    _ property: RootDeviceHint.Property,
    _ hints: WireRootDeviceHints
) -> String {
    switch property {
    case .name: hints.name
    case .model: hints.model
    case .vendor: hints.vendor
    case .serial: hints.serial
    case .size: hints.size
    case .wwn: hints.wwn
    case .wwnWithExtension: hints.wwnWithExtension
    case .wwnVendorExtension: hints.wwnVendorExtension
    case .hctl: hints.hctl
    case .byPath: hints.byPath
    case .rotational: hints.rotational
    }
}

private func value(_ property: RootDeviceHint.Property, _ disk: BlockDevice) -> String {
    switch property {
    case .name: disk.path
    case .model: disk.model
    case .vendor: disk.vendor
    case .serial: disk.serial
    case .size: "\(Double(disk.bytes) / Double(1 << 30))"
    case .wwn: disk.wwn
    case .wwnWithExtension: disk.wwnWithExtension
    case .wwnVendorExtension: disk.wwnVendorExtension
    case .hctl: disk.hctl
    case .byPath: disk.byPath
    case .rotational: disk.rotational ? "true" : "false"
    }
}

/// Why the hints do not mean this disk; `nil` when they do.
private func obstacle(_ disk: BlockDevice, _ hints: [RootDeviceHint]) -> String? {
    if disk.readOnly { return "it is read-only" }
    for hint in hints {
        let value = value(hint.property, disk)
        guard !hint.matches(value) else { continue }
        let name = hint.property.rawValue
        let shown = hint.property == .size ? "\(value) GiB" : "“\(value)”"
        return value.isEmpty
            ? "it has no \(name), the hint asks for “\(hint.text)”"
            : "its \(name) is \(shown), the hint asks for “\(hint.text)”"
    }
    return nil
}

/// Why the disk is not taken when nobody said which; `nil` when it may be.
private func defaultObstacle(_ disk: BlockDevice) -> String? {
    if disk.readOnly { return "it is read-only" }
    if disk.removable { return "it is removable" }
    if disk.bytes < rootBytesMin { return "it is smaller than 4 GiB" }
    return nil
}

private func title(_ disk: BlockDevice) -> String {
    let size = ByteCount(Int64(clamping: disk.bytes))
    return disk.serial.isEmpty
        ? "\(disk.path) (\(size))" : "\(disk.path) (\(size), serial \(disk.serial))"
}

private func list(_ hints: [RootDeviceHint]) -> String {
    hints.map { "\($0.property.rawValue) “\($0.text)”" }.joined(separator: ", ")
}

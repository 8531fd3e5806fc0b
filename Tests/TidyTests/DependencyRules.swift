/// Each module imports only modules before it.
enum DependencyRules {
    /// Controller modules in the order of CONVENTIONS.
    static let controller = [
        "Protocol", "Basics", "HostTools", "Transport", "Store", "HTTP", "Power", "Boot",
        "Identity",
        "Images", "Agents", "Baremetal", "Introspection", "Scheduling", "Orchestration", "Planning",
        "Deployment", "Telemetry", "Dashboard", "ControllerDaemon",
    ]
    static let agent = [
        "Protocol", "Basics", "Transport", "CLinux", "AgentSystem", "AgentSteps", "AgentCore",
        "AgentDaemon",
    ]
    static let tools = [
        "Protocol", "Basics", "HostTools", "Transport", "RamdiskBuilder", "RamdiskCommand",
        "ImageBuilder",
        "Lab", "Undercloud", "CommandLine",
    ]
    /// Which module a path belongs to and which order holds for it.
    static func order(of path: String) -> (module: String, order: [String])? {
        let parts = path.split(separator: "/").map(String.init)
        guard parts.count >= 3 else { return nil }
        let folder = parts[0] + "/" + parts[1]
        let special = [
            "Protocol/Messages": "Protocol", "Controller/Daemon": "ControllerDaemon",
            "Ramdisk/Builder": "RamdiskBuilder", "Ramdisk/Command": "RamdiskCommand",
        ]
        let module =
            special[folder]
            ?? (parts[0] == "Agent" && parts[1] != "CLinux" ? "Agent" + parts[1] : parts[1])
        if parts[0] == "Agent" { return (module, agent) }
        if tools.contains(module),
            !controller.contains(module) || parts[0] != "Controller" && parts[0] != "Protocol"
        {
            return (module, tools)
        }
        return controller.contains(module) ? (module, controller) : nil
    }

    /// Modules that a module may import although they are not before it, with the reason in its README.
    static let exceptions: [String: Set<String>] = ["Undercloud": ["Boot", "Identity"]]

    static func violations(in file: SourceFile) -> [Violation] {
        guard !file.isTest, let (module, order) = order(of: file.path) else { return [] }
        let ours = Set(controller + agent + tools)
        let position = order.firstIndex(of: module) ?? 0
        let allowed = Set(order.prefix(position)).union(exceptions[module] ?? [])
        return imports(of: file).compactMap { line, name in
            if ours.contains(name), !allowed.contains(name) {
                return Violation(
                    path: file.path,
                    line: line,
                    message:
                        "\(module) may not import \(name): declare a small protocol and let Daemon connect it"
                )
            }
            if file.path.hasPrefix("Agent/"), name == "Foundation" {
                return Violation(
                    path: file.path,
                    line: line,
                    message: "the agent imports FoundationEssentials at most"
                )
            }
            return nil
        }
    }

    static func imports(of file: SourceFile) -> [(line: Int, name: String)] {
        SwiftText(file.text).lines.enumerated().compactMap { index, line in
            let words = line.split(separator: " ")
            guard let keyword = words.firstIndex(of: "import"), keyword + 1 < words.count,
                words[..<keyword].allSatisfy({
                    ["package", "internal", "private"].contains($0) || $0.hasPrefix("@")
                })
            else { return nil }
            var name = words[keyword + 1]
            if ["struct", "class", "enum", "func", "protocol", "typealias"].contains(name),
                keyword + 2 < words.count
            {
                name = words[keyword + 2]
            }
            return (index + 1, String(name.prefix { $0 != "." }))
        }
    }
}

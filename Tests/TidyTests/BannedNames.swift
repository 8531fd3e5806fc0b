/// A name that only live implementations may use, and what stands in its place.
struct BannedName {
    let name: String
    let replacement: String
    /// Banned in tests as well.
    var everywhere = false

    static let all = [
        BannedName(name: "Date()", replacement: "a TimeSource's now"),
        BannedName(name: "ContinuousClock", replacement: "a TimeSource"),
        BannedName(name: "SuspendingClock", replacement: "a TimeSource"),
        BannedName(name: "Task.sleep", replacement: "a TimeSource's sleep(for:)", everywhere: true),
        BannedName(name: "UUID()", replacement: "a RandomSource's identifier(_:)"),
        BannedName(name: "SystemRandomNumberGenerator", replacement: "a RandomSource"),
        BannedName(name: "Task {", replacement: "a task group's addTask(name:)"),
        BannedName(name: "Task.detached", replacement: "a task group's addTask(name:)"),
        BannedName(name: "Task.immediate", replacement: "a task group's addTask(name:)"),
        BannedName(name: "DispatchQueue", replacement: "an actor on an OwnThread"),
        BannedName(name: "Thread", replacement: "an actor on an OwnThread"),
        BannedName(name: "print(", replacement: "a Logger, or the program's Console"),
    ]

    /// Live implementations of time, randomness and threads; and the one small type by which a program
    /// for a terminal prints.
    static func isLive(_ file: SourceFile) -> Bool {
        file.path.hasPrefix("Protocol/Basics/") || file.name == "Console.swift"
    }

    static func violations(in file: SourceFile) -> [Violation] {
        guard !isLive(file) else { return [] }
        let text = SwiftText(file.text)
        return all.filter { $0.everywhere || !file.isTest }.flatMap { banned in
            text.code.positions(of: banned.name).map { position in
                Violation(
                    path: file.path,
                    line: text.code.line(at: position),
                    message: "“\(banned.name)” is banned here: use \(banned.replacement)"
                )
            }
        }
    }
}

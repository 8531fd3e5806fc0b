import Basics
import Glibc
import HostTools

/// What the figures were made on.
enum MachineFacts {
    /// Lines for the head of the report.
    static func lines(_ options: BenchOptions) async -> [String] {
        let cpu =
            (readText("/proc/cpuinfo") ?? "").split(separator: "\n")
            .first { $0.hasPrefix("model name") }?.split(separator: ":").last
            .map { $0.drop { $0 == " " } } ?? "unknown processor"
        let kilobytes =
            (readText("/proc/meminfo") ?? "").split(separator: "\n").first
            .flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Double($0) } ?? 0
        let kernel = (readText("/proc/sys/kernel/osrelease") ?? "").filter { $0 != "\n" }
        let load = (readText("/proc/loadavg") ?? "").split(separator: " ").first ?? ""
        let commit = await word("git", ["-C", options.repository, "rev-parse", "--short", "HEAD"])
        let date = await word("date", ["--utc", "+%Y-%m-%d %H:%M UTC"])
        let swift = await word("swift", ["--version"])
        return [
            "machine: \(sysconf(Int32(_SC_NPROCESSORS_ONLN))) cores (\(cpu)), \(number(kilobytes * 1024 / 1e9)) GB, Linux \(kernel); load before the start \(load)",
            "time: \(date); \(options.runs) runs of everything that has runs",
            "version: commit \(commit); \(swift); release build",
        ]
    }

    /// The first line that a program says.
    private static func word(_ program: String, _ arguments: [String]) async -> String {
        do {
            let result = try await Tool.run(
                program,
                arguments,
                budget: .seconds(20),
                time: SystemTime()
            )
            return String(result.output.split(separator: "\n").first ?? "unknown")
        } catch {
            return "unknown"
        }
    }
}

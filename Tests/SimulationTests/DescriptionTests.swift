import Basics
import Glibc
import Simulator
import Testing

@Suite struct DescriptionTests {
    @Test func `the README names every invariant with its sentence`() throws {
        let readme = try text(of: "Tests/README.md")
        for invariant in Invariant.allCases {
            let row = "| `\(invariant.rawValue)` | \(invariant.sentence) |"
            #expect(readme.contains(row), "Tests/README.md lacks: \(row)")
        }
    }

    @Test func `every kind of fault is drawn by some seed and left out by others`() {
        let plans = (1...400).map { FaultPlan(seed: $0) }
        for kind in FaultKind.allCases {
            let count = plans.filter { $0.kinds.contains(kind) }.count
            #expect((20...300).contains(count), "\(kind.rawValue) is drawn \(count) times of 400")
        }
        #expect(plans.contains { $0.kinds.isEmpty })
    }

    private func text(of path: String) throws -> String {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        guard let file = fopen("\(root)/\(path)", "r") else {
            throw Fault(.notFound, "cannot read \(path)")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}

import Testing

/// The rules find what they are made for; a rule that never fires would prove nothing.
@Suite struct RuleTests {
    private func file(_ text: String, path: String = "Controller/Store/Sample.swift") -> SourceFile
    {
        SourceFile(path: path, text: text)
    }

    @Test(arguments: [
        "let now = Date()", "let clock = ContinuousClock()",
        "try await Task.sleep(for: .seconds(1))",
        "let id = UUID()", "var g = SystemRandomNumberGenerator()", "Task { work() }", "Task  {",
        "Task.detached { }", "Task.immediate { }", "let q = DispatchQueue.main", "Thread.sleep(1)",
        "print(\"x\")",
    ])
    func `a banned name is found`(line: String) {
        #expect(BannedName.violations(in: file(line)).count == 1)
    }

    @Test(arguments: [
        "let text = \"Date() and print(\"", "// Task { }", "let ownThread = OwnThread(name: \"x\")",
        "blueprint(x)", "let x = #\"print(\\\"\"#", "/* Task.sleep /* nested */ print( */",
        "withTask { }",
    ])
    func `a banned name in a text, a comment or a longer word is let be`(line: String) {
        #expect(BannedName.violations(in: file(line)).isEmpty)
    }

    @Test func `a banned name inside an interpolation is found`() {
        #expect(
            BannedName.violations(in: file(#"let t = "now \(Date()) and \("print(")""#)).count == 1
        )
    }

    @Test func `live implementations may use every name`() {
        let sample = file("let now = Date()", path: "Protocol/Basics/TimeSource.swift")
        #expect(BannedName.violations(in: sample).isEmpty)
    }

    @Test func `a long function is found at its line`() {
        let body = Array(repeating: "    work()", count: 70).joined(separator: "\n")
        let text = "struct A {\nfunc f(\n    _ x: () -> Void = { }\n) {\n\(body)\n}\n}\n"
        #expect(SizeRules.violations(in: file(text)).map(\.line) == [2])
    }

    @Test func `a short function and a protocol's requirement are fine`() {
        let rest = Array(repeating: "    let x: Int", count: 80).joined(separator: "\n")
        let text = "protocol P {\n    func f()\n    var y: Int { get }\n}\nstruct A {\n\(rest)\n}\n"
        #expect(SizeRules.violations(in: file(text)).isEmpty)
    }

    @Test func `a long file is found`() {
        let text = String(repeating: "\n", count: 501)
        #expect(SizeRules.violations(in: file(text)).count == 1)
    }

    @Test(arguments: [
        "package struct A {}", "    package func f() {}", "package enum A: String {",
        "@MainActor package func f() {}", "package static func f<T>(x: T) {}",
    ])
    func `a package declaration without a comment is found`(line: String) {
        #expect(DocumentationRules.violations(in: file(line)).count == 1)
        #expect(DocumentationRules.violations(in: file("/// Says what.\n" + line)).isEmpty)
        #expect(
            DocumentationRules.violations(in: file("/// Says what.\n@discardableResult\n" + line))
                .isEmpty
        )
    }

    @Test(arguments: [
        "package import Basics", "package init(a: Int) {}",
        "package static func == (a: A, b: A) -> Bool {",
        "package var description: String {", "let package = 1", "package let x: Int",
    ])
    func `what needs no comment is let be`(line: String) {
        #expect(DocumentationRules.violations(in: file(line)).isEmpty)
    }

    @Test(arguments: [
        "public struct A {}", "let x = try! f()", "let x = try? f()", "let x = y!",
        "let x = f()!.g",
        "var x: String!", "let x = y as! Z", "final class A: @unchecked Sendable {}",
        "nonisolated(unsafe) var x = 1", "// TO" + "DO: later", "import XCTest",
    ])
    func `an unsafe line is found`(line: String) {
        #expect(SafetyRules.violations(in: file(line)).count == 1)
    }

    @Test(arguments: [
        "// The text is a constant.\nlet x = try! f()", "let x = y != z", "if !x { }",
        "let t = \"a!\"",
        "// SAFETY: only one thread.\nnonisolated(unsafe) var x = 1",
        "let x = y! // never nil: made above",
    ])
    func `an explained line is let be`(line: String) {
        #expect(SafetyRules.violations(in: file(line)).isEmpty)
    }

    @Test func `a shell is found`() {
        #expect(SafetyRules.shells(in: file("run(\"/bin/sh\", [\"-c\", x])")).count == 1)
        #expect(SafetyRules.shells(in: file("run(\"bash\", [\"-x\", \"-c\"])")).count == 1)
        #expect(SafetyRules.shells(in: file("run(\"shred\")")).isEmpty)
    }

    @Test func `an import against the order is found`() {
        #expect(DependencyRules.violations(in: file("import Baremetal")).count == 1)
        #expect(
            DependencyRules.violations(in: file("import Basics\npackage import Protocol")).isEmpty
        )
        let agent = file("import Foundation", path: "Agent/Core/Session.swift")
        #expect(DependencyRules.violations(in: agent).count == 1)
        let line = file("import Store", path: "Controller/CommandLine/Rdo.swift")
        #expect(DependencyRules.violations(in: line).count == 1)
        let builder = file("import Store", path: "Ramdisk/Builder/Image.swift")
        #expect(DependencyRules.violations(in: builder).count == 1)
    }

    @Test func `a README without decisions is found`() {
        let ending = "# A\n\n## Decisions\n\n- 2026-11-23: this, because.\n"
        #expect(ReadmeRules.decisions(in: file(ending, path: "A/README.md")).isEmpty)
        #expect(
            ReadmeRules.decisions(in: file("# A\n\n## Decisions\n\n", path: "A/README.md")).count
                == 1
        )
        #expect(
            ReadmeRules.decisions(in: file(ending + "\n## More\n", path: "A/README.md")).count == 1
        )
    }

    @Test func `the table's paths and broken links are found`() {
        let text = """
            ## Follow one deployment
            | step | file |
            | 1 | `Controller/A.swift` asks |
            ## Map
            | x | `Other/B.swift` |
            [a](docs/a.md) [b](../b.md#part) [c](https://example.org/)
            """
        let readme = file(text, path: "README.md")
        #expect(ReadmeRules.deploymentPaths(in: readme) == ["Controller/A.swift"])
        let broken = ReadmeRules.brokenLinks(in: readme) { $0 == "b.md" }
        #expect(broken.map(\.message) == ["the link to “docs/a.md” leads nowhere"])
    }
}

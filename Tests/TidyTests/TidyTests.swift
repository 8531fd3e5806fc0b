import Testing

/// The checkable rules of this code base, over the repository itself.
@Suite struct TidyTests {
    private func expectNone(_ violations: [Violation]) {
        for violation in violations { Issue.record("\(violation)") }
    }

    @Test func `the repository is found and holds sources`() {
        #expect(Repository.exists("Package.swift"))
        #expect(Repository.swiftFiles.count > 50)
    }

    @Test func `banned names stand only in live implementations`() {
        expectNone(Repository.swiftFiles.flatMap(BannedName.violations))
    }

    @Test func `no file and no function is too long`() {
        expectNone(Repository.swiftFiles.flatMap(SizeRules.violations))
    }

    @Test func `every package declaration is documented`() {
        let files = Repository.swiftFiles.filter { !$0.isTest }
        let requirements = DocumentationRules.requirements(in: files)
        #expect(requirements.contains("sleep"))
        expectNone(
            files.flatMap { DocumentationRules.violations(in: $0, requirements: requirements) }
        )
    }

    @Test func `nothing unsafe goes unexplained`() {
        expectNone(Repository.swiftFiles.flatMap(SafetyRules.violations))
    }

    @Test func `no shell interprets a text`() {
        expectNone(Repository.swiftFiles.flatMap(SafetyRules.shells))
    }

    @Test func `no package registry is named`() {
        expectNone(Repository.files.flatMap(SafetyRules.registryHosts))
    }

    @Test func `modules import only what is before them`() {
        expectNone(Repository.swiftFiles.flatMap(DependencyRules.violations))
    }

    @Test(arguments: ["Controller", "Agent", "Ramdisk", "Protocol", "Tests", "packaging"])
    func `a top-level folder says what is in it and why`(folder: String) throws {
        let readme = try #require(
            Repository.files.first { $0.path == "\(folder)/README.md" },
            "\(folder) has no README.md"
        )
        expectNone(ReadmeRules.decisions(in: readme))
    }

    @Test func `folder descriptions end with their decisions`() {
        let readmes = Repository.files.filter {
            $0.name == "README.md" && $0.path != "README.md"
                && !$0.path.hasPrefix("packaging/examples/")
        }
        expectNone(readmes.flatMap(ReadmeRules.decisions))
    }

    @Test func `the README's path through one deployment exists`() throws {
        let readme = try #require(Repository.files.first { $0.path == "README.md" })
        let paths = ReadmeRules.deploymentPaths(in: readme)
        #expect(paths.count >= 7)
        for path in paths where !Repository.exists(path) {
            Issue.record("README.md: the path “\(path)” does not exist")
        }
    }

    @Test func `links between documents lead somewhere`() {
        let documents = Repository.files.filter { $0.name.hasSuffix(".md") }
        expectNone(documents.flatMap { ReadmeRules.brokenLinks(in: $0, exists: Repository.exists) })
    }
}

import Basics
import FoundationEssentials
import Harness
import HostTools
import Testing

/// What a running controller answers, beside what its `/openapi.json` says.
@Suite struct DocumentTests {
    private struct Document: Decodable {
        var paths: [String: [String: Ignored]]
    }

    private struct Ignored: Decodable {
        init(from decoder: any Decoder) throws {}
    }

    /// One request and what came of it.
    private struct Answer {
        let method: String
        let path: String
        let status: Int
        let body: Substring
        /// Whether the controller knows the path.
        var isKnown: Bool { !(status == 404 && body.contains("there is no such resource")) }
    }

    private static let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]

    /// Makes all requests in one run of curl, with a token that may do everything.
    private func ask(
        _ requests: [(method: String, path: String)],
        _ token: String,
        _ controller: RunningController
    ) async throws -> [Answer] {
        let config = requests.map { method, path in
            """
            url = "\(controller.url)\(path)"
            request = "\(method)"
            header = "X-Auth-Token: \(token)"
            header = "X-OpenStack-Ironic-API-Version: latest"
            header = "Content-Type: application/json"
            \(method == "GET" ? "" : #"data = "{}""#)
            cacert = "\(controller.authority)"
            max-time = 10
            silent
            write-out = "\\n#%{http_code} \(method) \(path)\\n"
            """
        }
        let result = try await Tool.run(
            "curl",
            ["--config", "-"],
            input: Array(config.joined(separator: "\nnext\n").utf8),
            budget: .seconds(240),
            outputMax: 64 << 20,
            time: SystemTime()
        )
        var answers: [Answer] = []
        var body: [Substring] = []
        for line in result.output.split(separator: "\n", omittingEmptySubsequences: false) {
            let words = line.dropFirst().split(separator: " ")
            guard line.hasPrefix("#"), words.count == 3, let status = Int(words[0]) else {
                body.append(line)
                continue
            }
            answers.append(
                Answer(
                    method: String(words[1]),
                    path: String(words[2]),
                    status: status,
                    body: Substring(body.joined(separator: "\n"))
                )
            )
            body = []
        }
        return answers
    }

    /// What the document says that a path takes; a name that it spells out hides a parameter in its place.
    private func methods(of path: String, _ document: Document) -> Set<String>? {
        let templates = document.paths.keys.filter { matches(path, $0) }
        let literal = templates.max { left, right in
            func places(_ text: String) -> [Int] {
                text.split(separator: "/").map { $0.hasPrefix("{") ? 0 : 1 }
            }
            return places(left).lexicographicallyPrecedes(places(right))
        }
        return literal.flatMap { document.paths[$0] }.map { Set($0.keys.map { $0.uppercased() }) }
    }

    /// Whether a path is one that the document names.
    private func matches(_ path: String, _ template: String) -> Bool {
        let (parts, wanted) = (path.split(separator: "/"), template.split(separator: "/"))
        return parts.count == wanted.count
            && zip(parts, wanted).allSatisfy { $1.hasPrefix("{") || $0 == $1 }
    }

    @Test func `a running controller answers what its document names, and nothing else`()
        async throws
    {
        let controller = try await RunningController()
        try await controller.start()
        let token = try await controller.token()
        let text = try await ask([("GET", "/openapi.json")], token, controller)
        let bytes = Data((text.first?.body ?? "").utf8)
        let document = try JSONDecoder().decode(Document.self, from: bytes)
        #expect(document.paths.count > 150)
        var requests: [(method: String, path: String)] = []
        for template in document.paths.keys.sorted() {
            let parts = template.split(separator: "/").map { $0.hasPrefix("{") ? "x" : String($0) }
            let path = "/" + parts.joined(separator: "/")
            requests += Self.methods.map { ($0, path) }
            requests.append(("GET", (path == "/" ? "" : path) + "/unheard-of"))
        }
        let answers = try await ask(requests, token, controller)
        #expect(answers.count == requests.count)
        var refused = 0
        for answer in answers {
            let methods = methods(of: answer.path, document)
            let words =
                "\(answer.method) \(answer.path): \(answer.status) \(answer.body.prefix(300))"
            #expect(answer.status > 0, "\(words)")
            guard let methods else {
                #expect(!answer.isKnown, "\(words)")
                continue
            }
            if methods.contains(answer.method) {
                #expect(answer.isKnown && answer.status != 405, "\(words)")
            } else {
                #expect(answer.status == 405, "\(words)")
                refused += 1
            }
        }
        #expect(refused > 300)
        #expect(try await controller.stop())
    }
}

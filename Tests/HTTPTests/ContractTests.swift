import Basics
import HTTPTypes
import Hummingbird
import Logging
import Testing

@testable import HTTP

extension HTTP.Operation {
    /// For routes of tests.
    static let sample = HTTP.Operation("Do something", answers: .text("text/plain"))
}

@Suite struct ContractTests {
    private func surface() -> Surface {
        Surface(
            authenticator: nil,
            logger: Logger(label: "test"),
            time: SystemTime(),
            random: SeededRandom(seed: 1)
        )
    }

    @Test func `a route's declaration is its operation in the document`() throws {
        let surface = surface()
        surface.addDocument(at: "/openapi.json", title: "T", version: "1", publicURL: "https://x")
        let thing = Schema.object(["name": .text], required: ["name"]).named("Thing")
        surface.area("/v1/things", dialect: .plain).put(
            "/:id/name",
            .role(.member),
            Operation(
                "Name a thing",
                [.init("loud", .truth)],
                takes: .json(thing),
                answers: .ok(thing),
                refusals: [.notImplemented]
            )
        ) { _, _ in .empty() }
        let document = try #require(surface.makeDocument())
        let item = try #require(document["paths"]?["/v1/things/{id}/name"])
        #expect(item["parameters"]?.elements?.first?["name"] == "id")
        let operation = try #require(item["put"])
        #expect(operation["summary"] == "Name a thing")
        #expect(operation["operationId"] == "putV1ThingsByIdName")
        #expect(operation["tags"] == ["RDO-Manager"])
        #expect(operation["security"] == [["token": []]])
        #expect(operation["parameters"]?.elements?.first?["in"] == "query")
        let reference: JSONValue = ["$ref": "#/components/schemas/Thing"]
        #expect(
            operation["requestBody"]?["content"]?["application/json"]?["schema"] == reference
        )
        #expect(
            operation["responses"]?.members?.keys.sorted() == [
                "200", "400", "401", "403", "404", "409", "413", "415", "501", "503", "504",
            ]
        )
        #expect(
            operation["responses"]?["200"]?["content"]?["application/json"]?["schema"]
                == reference
        )
        #expect(
            document["components"]?["schemas"]?["Thing"]?["required"] == ["name"]
        )
        #expect(document["paths"]?["/openapi.json"]?["get"] != nil)
    }

    @Test(arguments: [
        (Schema.text.orNull, #"{"type":["string","null"]}"#),
        (
            Schema.words(["a"]).orNull,
            #"{"anyOf":[{"enum":["a"],"type":"string"},{"type":"null"}]}"#
        ),
        (Schema.integer(1...3), #"{"maximum":3,"minimum":1,"type":"integer"}"#),
        (
            Schema.list(of: .truth, max: 2),
            #"{"items":{"type":"boolean"},"maxItems":2,"type":"array"}"#
        ),
    ])
    func `shapes are written in JSON Schema's words`(schema: Schema, text: String) {
        #expect(schema.json.canonicalText == text)
    }
}

/// The shape of a JSON value, as JSON Schema (draft 2020-12) in the document at `/openapi.json`.
///
/// Shapes are put together from smaller ones; those with a name are written once, under `components`.
package struct Schema: Sendable, Equatable {
    /// As it stands where it is used.
    let json: JSONValue
    /// Named shapes that it refers to, directly or not.
    let named: [String: JSONValue]

    private init(_ json: JSONValue, named: [String: JSONValue] = [:]) {
        self.json = json
        self.named = named
    }

    /// A shape in JSON Schema's own words.
    package init(raw json: JSONValue) { self.init(json) }

    /// Anything.
    package static let any = Schema([:])
    package static let text = Schema(["type": "string"])
    package static let truth = Schema(["type": "boolean"])
    package static let integer = Schema(["type": "integer"])
    package static let number = Schema(["type": "number"])
    package static let uuid = Schema(["type": "string", "format": "uuid"])
    /// A time such as `2026-12-31T23:59:59Z`.
    package static let time = Schema(["type": "string", "format": "date-time"])
    /// An object whose members are free.
    package static let document = Schema(["type": "object"])

    /// A text of bounded length.
    package static func text(max: Int, min: Int = 0) -> Schema {
        var json: JSONValue = ["type": "string", "maxLength": .integer(Int64(max))]
        if min > 0 { json["minLength"] = .integer(Int64(min)) }
        return Schema(json)
    }

    /// A text that fits a pattern (ECMA-262).
    package static func text(pattern: String) -> Schema {
        Schema(["type": "string", "pattern": .string(pattern)])
    }

    /// One of a few words.
    package static func words(_ words: [String]) -> Schema {
        Schema(["type": "string", "enum": .array(words.map(JSONValue.string))])
    }

    /// A whole number within bounds.
    package static func integer(_ range: ClosedRange<Int64>) -> Schema {
        Schema([
            "type": "integer", "minimum": .integer(range.lowerBound),
            "maximum": .integer(range.upperBound),
        ])
    }

    /// An object; members that are not named are allowed only when it is `open`.
    package static func object(
        _ members: [String: Schema],
        required: [String] = [],
        open: Bool = false
    ) -> Schema {
        var json: JSONValue = [
            "type": "object", "properties": .object(members.mapValues(\.json)),
        ]
        if !required.isEmpty { json["required"] = .array(required.sorted().map(JSONValue.string)) }
        if !open { json["additionalProperties"] = false }
        return Schema(json, named: merged(Array(members.values)))
    }

    /// An object with any names, whose values have one shape.
    package static func map(of values: Schema) -> Schema {
        Schema(
            ["type": "object", "additionalProperties": values.json],
            named: values.named
        )
    }

    /// A list.
    package static func list(of elements: Schema, max: Int? = nil, min: Int? = nil) -> Schema {
        var json: JSONValue = ["type": "array", "items": elements.json]
        if let max { json["maxItems"] = .integer(Int64(max)) }
        if let min { json["minItems"] = .integer(Int64(min)) }
        return Schema(json, named: elements.named)
    }

    /// A value of any of some shapes.
    package static func either(_ shapes: Schema...) -> Schema {
        Schema(["anyOf": .array(shapes.map(\.json))], named: merged(shapes))
    }

    /// The same, or null.
    package var orNull: Schema {
        guard let type = json["type"]?.text, json["enum"] == nil else {
            return Schema(["anyOf": [json, ["type": "null"]]], named: named)
        }
        var nullable = json
        nullable["type"] = [.string(type), "null"]
        return Schema(nullable, named: named)
    }

    /// The same, with a sentence for people.
    package func note(_ sentence: String) -> Schema {
        var noted = json
        noted["description"] = .string(sentence)
        return Schema(noted, named: named)
    }

    /// Gives it a name, under which the document's `components` hold it.
    ///
    /// One name means one shape in the whole document.
    package func named(_ name: String) -> Schema {
        var all = named
        all[name] = json
        return Schema(["$ref": .string("#/components/schemas/\(name)")], named: all)
    }

    private static func merged(_ shapes: [Schema]) -> [String: JSONValue] {
        shapes.reduce(into: [:]) { all, shape in
            all.merge(shape.named) { first, _ in first }
        }
    }
}

// Shapes that several areas use.
extension Schema {
    /// A text or null.
    package static let textOrNull = Schema.text.orNull
    /// A time or null.
    package static let timeOrNull = Schema.time.orNull

    /// A JSON Patch (RFC 6902), as OpenStack's clients send it.
    package static let patch = Schema.list(
        of: .object(
            [
                "op": .words(["add", "replace", "remove", "test"]),
                "path": .text(pattern: "^/.+").note("Which member; `/` parts the levels."),
                "value": .any,
            ],
            required: ["op", "path"]
        ).named("PatchOperation")
    )
}

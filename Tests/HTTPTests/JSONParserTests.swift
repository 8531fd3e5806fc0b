import Basics
import HTTP
import Testing

@Suite struct JSONParserTests {
    @Test(
        arguments: [
            ("null", JSONValue.null), (" true ", true), ("-12", -12), ("1.5e1", 15.0),
            (#""a\u00e9\n\ud83d\ude00""#, "aé\n😀"), ("[]", []), ("[1,[2]]", [1, [2]]),
            (#"{"b":1,"a":{}}"#, ["a": [:], "b": 1]),
            ("9223372036854775807", 9_223_372_036_854_775_807),
        ] as [(String, JSONValue)]
    )
    func `well-formed text becomes its value`(text: String, value: JSONValue) throws {
        #expect(try JSONValue(parsing: text.utf8) == value)
    }

    @Test(arguments: [
        "", "  ", "nul", "tru", "01", "-", "1.", "1e", "+1", "\"", "\"\u{1}\"", #""\x""#,
        #""\ud800""#,
        #""\udc00x""#, "[1,]", "[1 2]", "{1:2}", #"{"a"}"#, #"{"a":1,}"#, #"{"a":1,"a":2}"#, "1 2",
        "1e999", "]", "NaN", "'a'",
    ])
    func `malformed text is refused`(text: String) {
        #expect(throws: MalformedJSON.self) { try JSONValue(parsing: text.utf8) }
    }

    @Test func `text that is not UTF-8 is refused`() {
        #expect(throws: MalformedJSON.self) { try JSONValue(parsing: [0x22, 0xff, 0x22]) }
    }

    @Test func `nesting is bounded`() throws {
        let depth = JSONValue.depthMax
        let allowed = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        _ = try JSONValue(parsing: allowed.utf8)
        let deep = String(repeating: "[", count: 100_000)
        #expect(throws: MalformedJSON.self) { try JSONValue(parsing: deep.utf8) }
    }

    @Test func `canonical text is read back as the same value`() throws {
        let value: JSONValue = [
            "ü": ["\"\\\u{7}\t"], "a": [1, -2.5, true, .null], "z": [:],
            "deep": ["er": ["est": ""]],
        ]
        let text = value.canonicalText
        #expect(try JSONValue(parsing: text.utf8) == value)
        #expect(text.hasPrefix(#"{"a":[1,-2.5,true,null],"deep":"#))
    }

    @Test func `a text that grows has the bytes that JSON demands`() {
        var text = JSONText()
        text.append(raw: "{")
        text.append("a\"b\\c\n\r\t\u{1}\u{1f}é\u{7f}")
        text.append(raw: ":")
        text.append([1, 2.5, true, .null, "", .number(.infinity), ["z": "1", "a": []]])
        text.append(raw: "}")
        let expected =
            #"{"a\"b\\c\n\r\t\u0001\u001fé"#.utf8 + [0x7f]
            + #"":[1,2.5,true,null,"",null,{"a":[],"z":"1"}]}"#.utf8
        #expect(text.bytes == Array(expected))
    }

    @Test func `seeded noise never traps`() {
        let random = SeededRandom(seed: 7)
        let alphabet = Array(#"{}[]",:\u0eE+-.1 truefalsn"#.utf8) + [0x00, 0xff, 0xc3]
        var accepted = 0
        for _ in 0..<3000 {
            let bytes = random.bytes(24).map { alphabet[Int($0) % alphabet.count] }
            // Only that it returns matters; most noise is refused.
            if (try? JSONValue(parsing: bytes)) != nil { accepted += 1 }
        }
        #expect(accepted < 300)
    }
}

import Basics
import HTTP
import Testing

@Suite struct JSONPatchTests {
    private let document: JSONValue = [
        "name": "c0", "driver_info": ["address": "192.0.2.201"], "traits": ["a", "b"], "a/b": 1,
    ]

    private func patched(_ text: String) throws -> JSONValue {
        var value = document
        for operation in try JSONPatchOperation.list(from: try JSONValue(parsing: text.utf8)) {
            try value.apply(operation)
        }
        return value
    }

    @Test(
        arguments: [
            (#"[{"op":"replace","path":"/name","value":"c1"}]"#, "name", JSONValue.string("c1")),
            (#"[{"op":"add","path":"/extra","value":{"x":1}}]"#, "extra", ["x": 1]),
            (
                #"[{"op":"add","path":"/driver_info/port","value":623}]"#, "driver_info",
                ["address": "192.0.2.201", "port": 623]
            ),
            (#"[{"op":"add","path":"/traits/-","value":"c"}]"#, "traits", ["a", "b", "c"]),
            (#"[{"op":"add","path":"/traits/0","value":"c"}]"#, "traits", ["c", "a", "b"]),
            (#"[{"op":"remove","path":"/traits/0"}]"#, "traits", ["b"]),
            (#"[{"op":"replace","path":"/a~1b","value":2}]"#, "a/b", 2),
            (#"[{"op":"test","path":"/name","value":"c0"}]"#, "name", "c0"),
        ] as [(String, String, JSONValue)]
    )
    func `an operation changes its member`(
        patch: String,
        member: String,
        expected: JSONValue
    ) throws {
        #expect(try patched(patch)[member] == expected)
    }

    @Test(arguments: [
        "{}", #"[{"op":"copy","path":"/a","from":"/b"}]"#, #"[{"op":"add","path":"a","value":1}]"#,
        #"[{"op":"add","path":"/a"}]"#, #"[{"op":"replace","path":"/missing","value":1}]"#,
        #"[{"op":"remove","path":"/driver_info/missing"}]"#,
        #"[{"op":"remove","path":"/traits/2"}]"#, #"[{"op":"add","path":"/traits/-1","value":1}]"#,
        #"[{"op":"add","path":"/name/x","value":1}]"#,
        #"[{"op":"test","path":"/name","value":"c1"}]"#, #"[{"op":"add","path":"/","value":1}, 3]"#,
    ])
    func `an operation that cannot be done is refused`(patch: String) {
        #expect(throws: Fault.self) { try patched(patch) }
    }

    @Test func `a patch has a bounded number of operations`() {
        let one = #"{"op":"add","path":"/x","value":1}"#
        let many = "[" + Array(repeating: one, count: 257).joined(separator: ",") + "]"
        #expect(throws: Fault.self) { try patched(many) }
    }
}

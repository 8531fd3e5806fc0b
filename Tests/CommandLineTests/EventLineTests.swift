import CommandLine
import Testing

@Suite struct EventLineTests {
    private let event: JSON = [
        "sequence": 7, "time": "2026-11-23T02:44:27+00:00", "kind": "node", "id": "c0",
        "before": "enroll", "after": "verifying", "cause": "asked by admin",
    ]

    @Test func `an event is one line for people`() {
        #expect(
            EventLine.text(event)
                == "2026-11-23T02:44:27+00:00 node c0 enroll → verifying: asked by admin"
        )
    }

    @Test func `an event without states is told without an arrow`() {
        #expect(
            EventLine.text(["kind": "security", "id": "x", "cause": "two keys"])
                == "security x two keys"
        )
    }

    @Test(arguments: [": still here", "id: 3", "", "event: change", "data: {"])
    func `a line that holds no event is left out`(line: String) {
        #expect(EventLine.event(in: line) == nil)
    }

    @Test func `a line with an event is read`() {
        #expect(EventLine.event(in: "data: \(EventLine.json(event))") == event)
    }
}

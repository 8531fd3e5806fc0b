import Testing

@testable import CommandLine

@Suite struct BulkTests {
    @Test func `all nodes are a filter, named nodes a list`() {
        let target = NodePowerCommand.Target.softOff.word
        let all = BulkJobView.request("power", ["target": .text(target)], nodes: nil)
        #expect(all["filter"] == .object([:]))
        #expect(all["nodes"] == .null)
        #expect(all["request"]["target"].string == "soft power off")
        let named = BulkJobView.request("power", ["target": .text(target)], nodes: ["c0", "c1"])
        #expect(named["nodes"].array == [.text("c0"), .text("c1")])
        #expect(named["filter"] == .null)
    }

    @Test func `each node that was not taken has a line`() {
        let job = BulkJobView([
            "uuid": "j", "state": "done", "progress": ["total": 3, "accepted": 1],
            "results": [
                ["name": "c0", "result": "accepted", "message": .null],
                ["name": "c1", "result": "refused", "message": "cannot switch it"],
                ["name": "c2", "result": "cancelled", "message": .null],
            ],
            "next": "https://192.0.2.1:6385/v1/bulk/j?limit=3&marker=2",
        ])
        #expect(job.accepted == 1 && job.total == 3)
        #expect(
            job.refusals == [
                "node c1: cannot switch it", "node c2: it was not asked: the job is over",
            ]
        )
        #expect(job.nextPage == "/v1/bulk/j?limit=3&marker=2")
    }
}

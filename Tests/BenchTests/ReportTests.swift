import Bench
import Testing

@Suite struct ReportTests {
    @Test(arguments: [
        ([Double](), 0.0), ([3.0], 3.0), ([4.0, 1.0, 3.0], 3.0), ([4.0, 1.0, 3.0, 2.0], 2.5),
    ])
    func `the median is the middle`(values: [Double], expected: Double) {
        #expect(median(values) == expected)
    }

    @Test(arguments: [
        (0.0, "0"), (7.0, "7"), (0.1234, "0.123"), (1.234, "1.23"), (9.876, "9.88"),
        (12.34, "12.3"), (123.4, "123"), (5350.0, "5,350"), (1_234_567.0, "1,234,567"),
        (-2.5, "-2.50"),
    ])
    func `a number has three digits that count`(value: Double, text: String) {
        #expect(number(value) == text)
    }

    @Test func `a target is met on its good side`() {
        var figure = Figure("a", "a", "ms", .lower, values: [1, 9, 5], target: 5)
        #expect(figure.verdict == .met)
        figure.target = 4.9
        #expect(figure.verdict == .missed)
        figure.better = .higher
        #expect(figure.verdict == .met)
        figure.target = nil
        #expect(figure.verdict == nil)
    }

    @Test func `a ratio above one says that ours is better, whichever way is good`() {
        let fast = Figure("a", "a", "ms", .lower, values: [2])
        let slow = Figure("a", "a", "ms", .lower, values: [10])
        #expect(fast.ratio(to: slow) == 5)
        let many = Figure("a", "a", "/s", .higher, values: [10])
        let few = Figure("a", "a", "/s", .higher, values: [2])
        #expect(many.ratio(to: few) == 5)
        #expect(many.ratio(to: Figure("a", "a", "/s", .higher, values: [])) == nil)
    }

    @Test func `what cannot be compared has no ratio in the table`() {
        var report = Report(head: ["machine: any"])
        report.figures = [
            Figure("a", "a thing", "ms", .lower, values: [2], cpuMilliseconds: 1, target: 3)
        ]
        let peer = Figure("a", "a thing (peer)", "ms", .lower, values: [10], cpuMilliseconds: 4)
        report.comparisons = [
            Report.Comparison(key: "a", peer: peer),
            Report.Comparison(key: "a", peer: peer, incomparable: "it asks for no password"),
        ]
        let lines = report.markdown.split(separator: "\n").map(String.init)
        #expect(lines.contains("| a thing | 2 ms | 2 – 2 | 1 | 1 ms | ≤ 3 ms | met |"))
        #expect(lines.contains("| a thing (peer) | 2 ms | 10 ms | 5 × | 1 / 4 ms | 4 × |"))
        #expect(lines.last?.contains("not comparable: it asks for no password") == true)
    }

    @Test func `machines have addresses and leases of their own`() {
        let lines = Swarm.leases(5000).split(separator: "\n")
        #expect(Set(lines.map { $0.split(separator: " ")[1] }).count == 5000)
        #expect(Set(lines.map { $0.split(separator: " ")[2] }).count == 5000)
        #expect(lines[0].hasPrefix("0 52:54:99:00:00:00 127.100.0.1 "))
    }
}

import Basics
import Testing

@testable import Transport

struct InboxTests {
    @Test func `elements come out in the order they went in`() async {
        let inbox = Inbox<Int>(countMax: 200, overflow: .refuseNewest)
        for number in 0..<200 { inbox.push(number) }
        inbox.finish()
        var seen: [Int] = []
        for await number in inbox { seen.append(number) }
        #expect(seen == Array(0..<200))
    }

    @Test func `a full inbox refuses the newest or drops the oldest, as it was made`() {
        let refusing = Inbox<Int>(countMax: 2, overflow: .refuseNewest)
        #expect([1, 2, 3].map { refusing.push($0) } == [true, true, false])
        #expect([refusing.poll(), refusing.poll(), refusing.poll()] == [1, 2, nil])
        #expect(refusing.dropped == 1)
        let dropping = Inbox<Int>(countMax: 2, overflow: .dropOldest)
        #expect([1, 2, 3].map { dropping.push($0) } == [true, true, true])
        #expect([dropping.poll(), dropping.poll(), dropping.poll()] == [2, 3, nil])
        #expect(dropping.dropped == 1)
    }

    @Test func `bytes are bounded as well as the count`() {
        let inbox = Inbox<Int>(countMax: 100, bytesMax: 10, overflow: .refuseNewest)
        #expect(inbox.push(1, bytes: 6))
        #expect(!inbox.push(2, bytes: 6))
        #expect(inbox.push(3, bytes: 4))
        #expect(!inbox.push(4, bytes: 11))
        _ = inbox.poll()
        #expect(inbox.push(5, bytes: 6))
        let dropping = Inbox<Int>(countMax: 100, bytesMax: 10, overflow: .dropOldest)
        #expect(dropping.push(1, bytes: 6))
        #expect(dropping.push(2, bytes: 10))
        #expect(dropping.count == 1)
        #expect(!dropping.push(3, bytes: 11))
        #expect(dropping.poll() == 2)
    }

    @Test func `a cancelled consumer gets nothing and the next one goes on`() async {
        let inbox = Inbox<Int>(countMax: 2, overflow: .refuseNewest)
        await withTaskGroup(of: Int?.self) { group in
            group.addTask { await inbox.next() }
            group.cancelAll()
            #expect(await group.next() == .some(nil))
        }
        inbox.push(7)
        #expect(await inbox.next() == 7)
    }

    @Test func `a finished inbox takes nothing more but gives what it has`() async {
        let inbox = Inbox<Int>(countMax: 2, overflow: .refuseNewest)
        inbox.push(1)
        inbox.finish()
        #expect(!inbox.push(2))
        #expect(await inbox.next() == 1)
        #expect(await inbox.next() == nil)
    }

    @Test func `a hundred thousand elements from several threads arrive once each`() async {
        let inbox = Inbox<Int>(countMax: 1_000_000, overflow: .refuseNewest)
        let sum = await withTaskGroup(of: Int.self) { group in
            for part in 0..<4 {
                group.addTask {
                    for number in 0..<25_000 { inbox.push(part * 25_000 + number) }
                    return 0
                }
            }
            group.addTask {
                var sum = 0
                for _ in 0..<100_000 { sum += await inbox.next() ?? 0 }
                return sum
            }
            return await group.reduce(0, +)
        }
        #expect(sum == 99_999 * 100_000 / 2)
    }
}

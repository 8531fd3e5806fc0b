import Testing

@testable import AgentSystem

struct LocalBMCTests {
    @Test func `a machine without a BMC says so`() {
        let bmc = KernelBMC(tree: FileTree(root: "/nonexistent"))
        let failure = #expect(throws: LocalBMCFailure.self) {
            try bmc.addEvent(type: 0xeb, data: [])
        }
        #expect(failure?.reason == "the kernel found no BMC")
    }

    @Test func `the record's number is read from the answer`() throws {
        #expect(try KernelBMC.number([0, 0x34, 0x12]) == 0x1234)
    }

    @Test(
        arguments: [
            ([], "makes no sense"), ([0], "makes no sense"), ([0, 1], "makes no sense"),
            ([0xc1], "takes no records"), ([0xc4], "is full"), ([0x81], "erasing"),
            ([0xff, 1, 2], "code 255"),
        ] as [([UInt8], String)]
    )
    func `a refusal is told as a clause`(answer: [UInt8], words: String) {
        let failure = #expect(throws: LocalBMCFailure.self) { try KernelBMC.number(answer) }
        #expect(failure?.reason.contains(words) == true)
    }
}

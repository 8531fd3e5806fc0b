import Lab
import Testing

struct BootSelectionTests {
    @Test func `the network counts for one start and the disk from then on`() {
        var selection = BootSelection()
        let before = selection.takeForStart()
        let accepted = selection.select("pxe")
        let word = selection.word
        let wanted = selection.takeForStart()
        let after = selection.takeForStart()
        #expect(accepted)
        #expect(word == "pxe")
        #expect([before, wanted, after] == [.disk, .network, .disk])
        #expect(selection.word == "default")
    }

    @Test(arguments: ["default", "none"])
    func `a later wish replaces an earlier one`(word: String) {
        var selection = BootSelection()
        let accepted = [selection.select("pxe"), selection.select(word)]
        #expect(accepted == [true, true])
        #expect(selection.device == .disk)
    }

    @Test(arguments: ["cdrom", "bios", "floppy", "", "PXE"])
    func `a device that the machines do not have changes nothing`(word: String) {
        var selection = BootSelection()
        let accepted = [selection.select("pxe"), selection.select(word)]
        #expect(accepted == [true, false])
        #expect(selection.device == .network)
    }

    @Test(arguments: [
        (["get", "power"], ChassisHook.Request.getPower), (["get", "boot"], .getBoot),
        (["set", "power", "1"], .setPower(true)), (["set", "power", "0"], .setPower(false)),
        (["set", "reset", "1"], .reset), (["set", "shutdown", "1"], .shutDown),
        (["set", "boot", "pxe"], .setBoot("pxe")), (["check", "boot", "pxe"], .check),
    ])
    func `what the BMC says is understood`(words: [String], request: ChassisHook.Request) {
        #expect(ChassisHook.Request(words) == request)
    }

    @Test(arguments: [
        [], ["get"], ["get", "identify"], ["set", "power"], ["set", "power", "2"],
        ["set", "boot"], ["set", "identify", "1"], ["power", "on"],
    ])
    func `what the BMC does not say is refused`(words: [String]) {
        #expect(ChassisHook.Request(words) == nil)
    }
}

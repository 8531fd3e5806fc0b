import Basics
import Testing

@testable import AgentSystem

private let mac: [UInt8] = [0x52, 0x54, 0x00, 0xc0, 0x00, 0x01]

private func server(
    _ kind: DHCPMessage.Kind,
    transaction: UInt32 = 7,
    address: UInt32 = 0xc000_0264
) -> DHCPMessage {
    var message = DHCPMessage(kind: kind, transaction: transaction, mac: mac)
    message.yourAddress = IPv4(bits: address)
    message.options = [53: [kind.rawValue], 54: [192, 0, 2, 1], 51: [0, 0, 0, 120]]
    return message
}

struct `A DHCP conversation` {
    @Test func `goes from discovery to a lease`() throws {
        var conversation = DHCPConversation(mac: mac, transaction: 7)
        #expect(conversation.message(secondsElapsed: 0).kind == .discover)
        #expect(conversation.receive(server(.offer)) == .sendNow)
        let request = conversation.message(secondsElapsed: 1)
        #expect(request.kind == .request)
        #expect(request.options[50] == [192, 0, 2, 100])
        #expect(request.options[54] == [192, 0, 2, 1])
        let lease = try server(.acknowledge).lease()
        #expect(conversation.receive(server(.acknowledge)) == .bound(lease))
        #expect(conversation.state == .bound(lease))
    }

    @Test func `ignores what is meant for another machine`() {
        var conversation = DHCPConversation(mac: mac, transaction: 7)
        #expect(conversation.receive(server(.offer, transaction: 8)) == .ignored)
        var foreign = server(.offer)
        foreign.mac[5] = 9
        #expect(conversation.receive(foreign) == .ignored)
    }

    @Test(arguments: [DHCPMessage.Kind.acknowledge, .refuse, .discover, .request, .release])
    func `ignores what comes out of turn`(kind: DHCPMessage.Kind) {
        var conversation = DHCPConversation(mac: mac, transaction: 7)
        #expect(conversation.receive(server(kind)) == .ignored)
    }

    @Test func `begins again when the server takes its offer back`() {
        var conversation = DHCPConversation(mac: mac, transaction: 7)
        _ = conversation.receive(server(.offer))
        #expect(conversation.receive(server(.refuse)) == .lost)
        #expect(conversation.message(secondsElapsed: 0).kind == .discover)
    }

    @Test func `gives up an offer after four requests`() {
        var conversation = DHCPConversation(mac: mac, transaction: 7)
        _ = conversation.receive(server(.offer))
        for _ in 0..<4 {
            #expect(conversation.message(secondsElapsed: 0).kind == .request)
            conversation.timeOut()
        }
        #expect(conversation.state == .selecting)
    }

    @Test func `an acknowledgement of another address than the offered is ignored`() {
        var conversation = DHCPConversation(mac: mac, transaction: 7)
        _ = conversation.receive(server(.offer))
        #expect(conversation.receive(server(.acknowledge, address: 0xc000_0265)) == .ignored)
    }

    @Test func `a renewal speaks from its address and names no server`() throws {
        var conversation = DHCPConversation(mac: mac, transaction: 7)
        conversation.hold(try server(.acknowledge).lease())
        conversation.renew(transaction: 9)
        let message = conversation.message(secondsElapsed: 0)
        #expect(message.clientAddress.description == "192.0.2.100")
        #expect(message.options[50] == nil)
        #expect(message.options[54] == nil)
        #expect(
            conversation.receive(server(.acknowledge, transaction: 9))
                == .bound(try server(.acknowledge).lease())
        )
    }
}

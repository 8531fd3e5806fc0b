import Basics
import Testing

@testable import Transport

struct CurveKeysTests {
    @Test func `the example of the Z85 specification is read and written`() {
        let bytes: [UInt8] = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B]
        #expect(Z85.encode(bytes) == "HelloWorld")
        #expect(Z85.decode("HelloWorld") == bytes)
    }

    @Test(arguments: ["Hello", "HelloWorl", "Hello\u{e9}orl", "~~~~~", "#####", "Hello Worl"])
    func `a text that is no Z85 of 32 bytes is refused`(text: String) {
        #expect(CurvePublicKey(z85: text) == nil)
    }

    @Test func `a pair is read back from its secret half`() throws {
        let pair = CurveKeyPair()
        let secret = Secret("  \(pair.secretKey.reveal())\n")
        #expect(try CurveKeyPair(secret: secret) == pair)
        #expect(CurvePublicKey(z85: pair.publicKey.z85) == pair.publicKey)
        #expect(!"\(pair)".contains(pair.secretKey.reveal()))
    }

    @Test func `a damaged secret is named without being repeated`() {
        let fault = #expect(throws: Fault.self) {
            try CurveKeyPair(secret: Secret("not a key"))
        }
        #expect(fault?.message.contains("not a key") == false)
        #expect(fault?.kind == .invalid)
    }
}

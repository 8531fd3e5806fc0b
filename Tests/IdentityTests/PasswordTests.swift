import Basics
import Protocol
import Testing

@testable import Identity

@Suite struct PasswordTests {
    @Test func `only the right password matches, also after the text form`() throws {
        let hash = try #require(PasswordHash(try World.hash(Secret("secret"))))
        #expect(hash.matches(Secret("secret")))
        for wrong in ["", "Secret", "secret ", String(repeating: "a", count: 2000)] {
            #expect(!hash.matches(Secret(wrong)))
        }
    }

    @Test func `equal passwords have other hashes`() throws {
        let random = SeededRandom(seed: 3)
        let first = try PasswordHash(of: Secret("x"), random: random)
        let second = try PasswordHash(of: Secret("x"), random: random)
        #expect(first.text != second.text)
    }

    @Test(arguments: [0, 1025])
    func `a password of no or too great length is refused`(count: Int) {
        let password = Secret(String(repeating: "a", count: count))
        #expect(throws: Fault.self) { try World.hash(password) }
    }

    @Test(arguments: [
        "", "secret", "$scrypt$", "$bcrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAA$AAAA",
        "$scrypt$ln=30,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "$scrypt$ln=15,r=8,p=1$$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "$scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA==$",
        "$scrypt$ln=15,x=8$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ])
    func `a text that is no hash, or asks for too much work, is refused`(text: String) {
        #expect(PasswordHash(Secret(text)) == nil)
    }

    @Test func `a hash does not print`() throws {
        let hash = try World.hash(Secret("secret"))
        #expect("\(hash)" == "***")
        #expect(!"\(String(reflecting: PasswordHash(hash)))".contains(hash.reveal()))
    }
}

@Suite struct LoginGuardTests {
    private let start = Timestamp(seconds: 1_800_000_000)

    @Test func `a few failures are free, then each costs more`() {
        var guardian = LoginGuard()
        var now = start
        for _ in 1..<LoginGuard.freeFailures {
            guardian.failed(user: "u", address: "a", at: now)
            #expect(guardian.lockedUntil(user: "u", address: "a", at: now) == nil)
        }
        var last = Duration.zero
        for _ in 0..<5 {
            guardian.failed(user: "u", address: "a", at: now)
            let until = guardian.lockedUntil(user: "u", address: "a", at: now)
            let wait = (until ?? now) - now
            #expect(wait > last)
            last = wait
            now = until ?? now
        }
    }

    @Test func `the wait is bounded and failures are forgotten`() {
        var guardian = LoginGuard()
        for _ in 0..<40 { guardian.failed(user: "u", address: "a", at: start) }
        let until = guardian.lockedUntil(user: "u", address: "a", at: start)
        #expect(until == start + LoginGuard.lockMax)
        let later = start + LoginGuard.memory + .seconds(1)
        guardian.failed(user: "u", address: "a", at: later)
        #expect(guardian.lockedUntil(user: "u", address: "a", at: later) == nil)
    }

    @Test func `failures from one place do not lock the user out elsewhere`() {
        var guardian = LoginGuard()
        for _ in 0..<20 { guardian.failed(user: "admin", address: "evil", at: start) }
        #expect(guardian.lockedUntil(user: "admin", address: "evil", at: start) != nil)
        #expect(guardian.lockedUntil(user: "admin", address: "good", at: start) == nil)
    }

    @Test func `an address that tries many names is slowed down`() {
        var guardian = LoginGuard()
        for index in 0..<LoginGuard.freeAddressFailures {
            guardian.failed(user: "user-\(index)", address: "evil", at: start)
        }
        #expect(guardian.lockedUntil(user: "another", address: "evil", at: start) != nil)
    }

    @Test func `success forgets the failures`() {
        var guardian = LoginGuard()
        for _ in 0..<6 { guardian.failed(user: "u", address: "a", at: start) }
        guardian.succeeded(user: "u", address: "a")
        #expect(guardian.lockedUntil(user: "u", address: "a", at: start) == nil)
    }
}

import FoundationEssentials
import Protocol
import Testing

@Suite struct IdentifierTests {
    @Test func `sixteen random bytes make a version 4 UUID`() {
        let id = NodeID(random: Array(0..<16))
        #expect(id.text == "00010203-0405-4607-8809-0a0b0c0d0e0f")
    }

    @Test func `upper case is folded, so that one object has one text`() {
        #expect(NodeID("00010203-0405-4607-8809-0A0B0C0D0E0F")?.text.last == "f")
    }

    @Test(
        arguments: [
            "", "00010203-0405-4607-8809-0a0b0c0d0e0", "00010203-0405-4607-8809-0a0b0c0d0e0f0",
            "0001020310405-4607-8809-0a0b0c0d0e0f", "0001020g-0405-4607-8809-0a0b0c0d0e0f",
            "00010203-0405-4607-8809-0a0b0c0d0e0\n", "../../../../../../../../../etc/passwd",
        ])
    func `a text that is no UUID makes no identifier`(text: String) {
        #expect(NodeID(text) == nil)
    }

    @Test func `a dictionary by identifier is a JSON object with sorted keys`() throws {
        let ids = [
            NodeID(random: Array(repeating: 2, count: 16)),
            NodeID(random: Array(repeating: 1, count: 16)),
        ]
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let data = try encoder.encode([ids[0]: 2, ids[1]: 1])
        #expect(
            String(decoding: data, as: UTF8.self)
                == "{\"01010101-0101-4101-8101-010101010101\":1,\"02020202-0202-4202-8202-020202020202\":2}"
        )
        let back = try JSONDecoder().decode([NodeID: Int].self, from: data)
        #expect(back == [ids[0]: 2, ids[1]: 1])
    }

    @Test func `an identifier that is malformed in JSON is refused`() {
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([NodeID].self, from: Data("[\"x\"]".utf8))
        }
    }
}

@Suite struct UnitTests {
    @Test(
        arguments: [
            (0.0, "1970-01-01T00:00:00+00:00"), (951_782_400, "2000-02-29T00:00:00+00:00"),
            (1_795_401_867, "2026-11-23T02:44:27+00:00"), (-1, "1969-12-31T23:59:59+00:00"),
            (4_102_444_799.9, "2099-12-31T23:59:59+00:00"),
        ])
    func `a time is written as RFC 3339 in UTC`(seconds: Double, text: String) {
        #expect(Timestamp(seconds: seconds).description == text)
    }

    @Test(
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"), (5 << 30, "5.0 GiB"), (1 << 40, "1.0 TiB"),
        ])
    func `bytes are written in binary units`(bytes: Int64, text: String) {
        #expect(ByteCount(bytes).description == text)
    }

    @Test func `time arithmetic is exact in nanoseconds`() {
        let start = Timestamp(nanoseconds: 1)
        #expect(start + .nanoseconds(2) == Timestamp(nanoseconds: 3))
        #expect((start + .seconds(10)) - start == .seconds(10))
        #expect(Duration.seconds(Int64.max).wholeNanoseconds == .max)
    }
}

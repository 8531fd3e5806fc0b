/// A sensor that a lab machine's BMC pretends to have: a fixed reading, and what describes it (IPMI 2.0, table 43-1).
struct LabSensor: Sendable {
    let number: UInt8
    /// IPMI's number of what it measures.
    let type: UInt8
    /// IPMI's number of the unit.
    let unit: UInt8
    /// The reading is `raw × factor × 10^exponent`.
    let factor: UInt8
    let exponent: Int8
    let raw: UInt8
    let name: String

    static let all = [
        LabSensor(
            number: 1,
            type: 0x01,
            unit: 1,
            factor: 1,
            exponent: 0,
            raw: 42,
            name: "Board Temp"
        ),
        LabSensor(
            number: 2,
            type: 0x04,
            unit: 18,
            factor: 100,
            exponent: 0,
            raw: 37,
            name: "Fan 1"
        ),
        LabSensor(number: 3, type: 0x02, unit: 4, factor: 6, exponent: -2, raw: 55, name: "P3V3"),
        LabSensor(number: 4, type: 0x03, unit: 6, factor: 2, exponent: 0, raw: 60, name: "Power"),
    ]

    /// The lines that make it, for `ipmi_sim`; its upper limits are 112, 144 and 160 times its factor.
    var commands: String {
        """
        main_sdr_add 0x20 \(record.map(String.init).joined(separator: " "))
        sensor_add 0x20 0 \(number) \(type) 1
        sensor_set_value 0x20 0 \(number) \(raw) 0
        sensor_set_threshold 0x20 0 \(number) settable 111000 160 144 112 0 0 0
        sensor_set_event_support 0x20 0 \(number) enable scanning per-state \
        000111111000000 000111111000000 000111111000000 000111111000000

        """
    }

    /// A full sensor record: whose it is, what it is, how its reading becomes a number, its name.
    private var record: [UInt8] {
        let exponents = UInt8(bitPattern: exponent) << 4
        let body: [UInt8] =
            [0x20, 0, number] + [7, 1, 0x45, 0, type, 1]
            + [UInt8](repeating: 0, count: 6)
            + [0, unit, 0, 0, factor, 0, 0, 1, 1, exponents, 0, 0, 0, 0, 255]
            + [UInt8](repeating: 0, count: 12)
            + [0xc0 | UInt8(name.utf8.count)] + Array(name.utf8)
        return [0, 0, 0x51, 1, UInt8(body.count)] + body
    }
}

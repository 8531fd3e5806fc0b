import Basics
import HTTP

// The event logs of DMTF's DSP2046 (LogService, LogEntry), as far as they show whole records of IPMI's event log.

extension RedfishPower: EventSearchControl {
    /// Looks of one search at most: a record shows a moment after it was written.
    private static let looksMax = 4

    package func search(for record: EventRecord, of bmc: BMC) async throws -> EventSearch {
        try await client.call(bmc, to: "read the event log") { [client] call in
            let logs = try await call.eventLogs()
            guard !logs.isEmpty else { throw RedfishTrouble.unsupported("event logs of its own") }
            var seen = EventSearch.nothing
            for look in 1...Self.looksMax {
                seen = .nothing
                for log in logs {
                    switch try await call.search(log, for: record) {
                    case .found: return .found
                    case .others: seen = .others
                    case .nothing: break
                    }
                }
                if look < Self.looksMax { try await client.time.sleep(for: client.settings.pause) }
            }
            return seen
        }
    }
}

extension RedfishCall {
    /// Logs of a machine that are looked at; it has some five.
    private static let logsMax = 16
    /// Pages of a log that are read, oldest first as services have them; OpenBMC's hold 1000 entries each.
    static let pagesMax = 16
    /// Entries of a page at most.
    private static let entriesMax = 10_000

    /// Where the entries of the machine's event logs are.
    ///
    /// Only those of the system: a manager may have several machines, whose records then stand in one log.
    fileprivate func eventLogs() async throws -> [String] {
        let list = try await find(try await findSystem().machine.logs)
        var found: [String] = []
        for link in RedfishAnswer.links(list?.value["Members"]).prefix(Self.logsMax) {
            guard let service = try await find(link)?.value,
                service["ServiceEnabled"]?.bool != false,
                let entries = RedfishAnswer.link(service["Entries"])
            else { continue }
            let holdsEvents = ["SEL", "Event", "Multiple"].contains(service["LogEntryType"]?.text)
            let name = service["Id"]?.text?.lowercased()
            // The others hold dumps and codes of the firmware.
            if holdsEvents || name == "eventlog" || name == "sel" { found.append(entries) }
        }
        return found
    }

    /// Looks through one log.
    fileprivate func search(_ log: String, for record: EventRecord) async throws -> EventSearch {
        var pages: Set<String> = []
        var next: String? = log
        var hasOthers = false
        while let link = next {
            let path = try bmc.path(of: link)
            guard !pages.contains(path) else {
                throw RedfishTrouble.malformed("the pages of its event log lead round in a circle")
            }
            guard pages.count < Self.pagesMax else { return .nothing }
            pages.insert(path)
            guard let page = try await find(path)?.value else { break }
            let entries = page["Members"]?.elements ?? []
            for entry in entries.prefix(Self.entriesMax) {
                guard let shown = RedfishAnswer.record(entry), shown.type == record.type else {
                    continue
                }
                if shown == record { return .found }
                hasOthers = true
            }
            guard entries.count <= Self.entriesMax else { return .nothing }
            next = page["Members@odata.nextLink"]?.text
        }
        return hasOthers ? .others : .nothing
    }
}

extension RedfishAnswer {
    /// The record that a log entry shows, when it is one that the machine itself wrote with IPMI's Add SEL Entry.
    ///
    /// `SELEntryAdded` of OpenBMC's message registry, whose only argument is the command's 16 bytes in hexadecimal
    /// (openbmc/intel-ipmi-oem, `ipmi_to_redfish_hooks.cpp`). No other form counts, and above all no text: an entry
    /// about a refused log-in repeats a user name that anybody on the network can choose.
    static func record(_ entry: JSONValue) -> EventRecord? {
        guard let name = entry["MessageId"]?.text, name.utf8.count <= 64,
            name.hasPrefix("OpenBMC."), name.hasSuffix(".SELEntryAdded"),
            let arguments = entry["MessageArgs"]?.elements, arguments.count == 1,
            let text = arguments.first?.text, text.utf8.count <= 64
        else { return nil }
        var digits: [UInt8] = []
        for byte in text.utf8 where byte != UInt8(ascii: " ") {
            guard let digit = hexDigit(byte) else { return nil }
            digits.append(digit)
        }
        // Its number, which is of no use here, its type and its data.
        guard digits.count == 32 else { return nil }
        let bytes = stride(from: 0, to: 32, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
        return EventRecord(type: bytes[2], data: Array(bytes[3...]))
    }
}

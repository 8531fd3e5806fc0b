import HTTP
import Synchronization

// The service's half that faces its machine: what that writes with IPMI's Add SEL Entry shows in the event log.
extension RedfishDouble {
    static let log = "/redfish/v1/Systems/437XR/LogServices/EventLog/Entries"

    /// Keeps a record as OpenBMC does with Intel's additions: as an event that shows the command's bytes; numbers it has
    /// none for the machine.
    ///
    /// `page`: the part of the log that it shows in.
    @discardableResult
    func addEvent(type: UInt8, data: [UInt8], page: String = log) -> UInt16 {
        let digits = ([0, 0, type] + data).map { byte in
            let text = String(byte, radix: 16, uppercase: true)
            return byte < 16 ? "0" + text : text
        }
        add(
            [
                "@odata.type": "#LogEntry.v1_9_0.LogEntry", "EntryType": "Event",
                "Severity": "OK", "MessageId": "OpenBMC.0.1.SELEntryAdded",
                "Message": .string("SEL Entry Added: " + digits.joined()),
                "MessageArgs": [.string(digits.joined())],
            ],
            page: page
        )
        return 0xffff
    }

    /// Adds an entry to the log.
    func add(_ entry: JSONValue, page: String = log) {
        state.withLock { state in
            let members = state.documents[page]?["Members"]?.elements ?? []
            state.documents[page]?["Members"] = .array(members + [entry])
        }
    }
}

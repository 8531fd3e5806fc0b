import Basics
import HTTP

// DSP0266 and the schemas UpdateService (action SimpleUpdate) and Task.

extension RedfishPower: FirmwareUpdateControl {
    package func update(from url: String, of bmc: BMC) async throws -> String? {
        try await client.call(bmc, to: "update the firmware") { call in
            do {
                return try await call.startUpdate(url)
            } catch RedfishTrouble.refused(let status, let words) {
                // The address may hold what lets others fetch the image.
                throw RedfishTrouble.refused(status, words.replacing(url, with: "the image"))
            }
        }
    }

    package func state(ofUpdate task: String, of bmc: BMC) async throws -> FirmwareUpdateState {
        try await client.call(bmc, to: "look at the update of the firmware") { call in
            do {
                return try await call.taskState(task)
            } catch RedfishTrouble.absent {
                return .gone
            }
        }
    }
}

extension RedfishCall {
    fileprivate func startUpdate(_ url: String) async throws -> String? {
        guard let service = try await find(try await root().updates),
            service.value["ServiceEnabled"]?.bool != false,
            let action = RedfishAction(
                service.value["Actions"],
                "UpdateService.SimpleUpdate",
                parameter: "TransferProtocol"
            )
        else { throw RedfishTrouble.unsupported("updates of its firmware") }
        let scheme = url.prefix { $0 != ":" }.uppercased()
        guard action.values.isEmpty || action.values.contains(scheme) else {
            throw RedfishTrouble.unknown("it fetches images by \(action.values.prefix(8)) only")
        }
        var order: JSONValue = ["ImageURI": .string(url)]
        if !action.values.isEmpty { order["TransferProtocol"] = .string(scheme) }
        // A BMC of several machines has to know which is meant.
        let system = try await findSystem().document.path
        if try await systemsCount() > 1 { order["Targets"] = [.string(system)] }
        do {
            return try await start(action.target, order)
        } catch RedfishTrouble.refused(400, let words)
            where words.contains("Targets") && order["Targets"] == nil
        {
            order["Targets"] = [.string(system)]
            return try await start(action.target, order)
        }
    }

    private func systemsCount() async throws -> Int {
        guard let list = try await find(try await root().systems) else { return 1 }
        return RedfishAnswer.links(list.value["Members"]).count
    }

    fileprivate func taskState(_ path: String) async throws -> FirmwareUpdateState {
        let (status, body) = try await look(path)
        // A monitor answers 202 until its task is over, and then as the request would have.
        guard !body.isEmpty else { return status == 202 ? .running(percent: nil) : .done }
        let task = try RedfishAnswer.document(body)
        let percent = task["PercentComplete"]?.integer.flatMap { (0...100).contains($0) ? $0 : nil }
        switch RedfishAnswer.text(task["TaskState"]) {
        case "New", "Starting", "Running", "Stopping", "Cancelling", "Service":
            return .running(percent: percent.map(Int.init))
        case "Pending", "Suspended": return .waiting
        case "Exception", "Killed", "Cancelled", "Interrupted":
            return .failed(words(of: task))
        case "Completed":
            let isWrong = task["TaskStatus"]?.text == "Critical"
            return isWrong ? .failed(words(of: task)) : .done
        default: return status == 202 ? .running(percent: nil) : .done
        }
    }

    private func words(of task: JSONValue) -> String {
        let words = (task["Messages"]?.elements ?? []).prefix(4)
            .compactMap { RedfishAnswer.text($0["Message"]) }.joined(separator: " ")
        return words.isEmpty ? "it gives no reason" : redacted(printable(words, max: 300))
    }
}

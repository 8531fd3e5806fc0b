import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Synchronization

// The service's updates: an order makes a task, which the test moves on.
extension RedfishDouble {
    static let task = "/redfish/v1/TaskService/Tasks/9"

    /// What the BMC was told to fetch.
    var images: [JSONValue] { state.withLock(\.images) }

    /// Says how far the update is; `nil` forgets the task.
    func setTask(_ task: JSONValue?) {
        state.withLock { $0.documents[Self.task] = task }
    }

    func startUpdate(_ body: JSONValue, _ state: inout State) -> Response {
        guard let image = body["ImageURI"]?.text else {
            return .json(error("ImageURI is missing"), status: .badRequest)
        }
        if way("update-needs-target")?.bool == true, body["Targets"] == nil {
            return .json(error("Missing ImageURI and/or Targets."), status: .badRequest)
        }
        if way("update-refused")?.bool == true {
            return .json(error("cannot read \(image)"), status: .badRequest)
        }
        state.images.append(body)
        state.documents[Self.task] = ["Id": "9", "TaskState": "Running", "PercentComplete": 5]
        var response = Response.json(["@odata.id": .string(Self.task)], status: .accepted)
        response.headers[.location] = Self.task
        return response
    }
}

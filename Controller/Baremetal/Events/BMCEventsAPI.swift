package import HTTP
import HTTPTypes
import Hummingbird
import Basics

/// Where BMCs post their events (DMTF DSP0266, “Eventing”): `/v1/redfish_events/{node}/{capability}`.
///
/// The capability proves the sender before anything of the body is read.
package struct BMCEventsAPI: RouteArea {
    /// Bytes of one message at most; BMCs send some kilobytes.
    static let bodyBytesMax = 64 << 10

    private let service: NodesService

    package init(service: NodesService) { self.service = service }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("/v1/redfish_events", dialect: .plain)
        routes.post("/:node/:capability", .handler(.capability), .tellEvents) { request, context in
            let node = try await service.admitEvents(
                try context.parameter("node"),
                try context.parameter("capability")
            )
            let bytes = try await request.bytes(context, max: Self.bodyBytesMax)
            guard let events = BMCEvents(try JSONValue(parsing: bytes)) else {
                throw Fault(.invalid, "cannot take events: the body has no list of Events")
            }
            try await service.take(events, of: node)
            return Response(status: .noContent)
        }
    }
}

extension HTTP.Operation {
    fileprivate static let tellEvents = HTTP.Operation(
        "Tell what a BMC noticed, for the BMC",
        takes: .json(.object(["Events": .list(of: .document)], required: ["Events"], open: true)),
        answers: .nothing,
        refusals: [.tooManyRequests]
    )
}

import Basics
package import HTTP
import Hummingbird
import Protocol

/// Routes of measurements: `/metrics` for Prometheus, `/v1/telemetry/nodes/{id}` for people.
package struct TelemetryAPI: RouteArea {
    private struct SampleDocument: Encodable {
        var name: String
        var instance: String
        var value: Double
        var time: String
    }

    private let service: TelemetryService

    package init(service: TelemetryService) { self.service = service }

    package func addRoutes(to surface: Surface) {
        let service = service
        surface.area("/metrics", dialect: .plain).get("", .scrape, .scrape) { _, _ in
            .text(try await service.exposition(), type: "text/plain; version=0.0.4; charset=utf-8")
        }
        surface.area("/v1/telemetry", dialect: .plain).get(
            "/nodes/:id",
            .installation(.reader),
            .listSamples
        ) { _, context in
            let text = try context.parameter("id")
            guard let node = NodeID(text) else {
                throw Fault(.notFound, "cannot find samples of node “\(text)”: it is not a UUID")
            }
            let samples = service.board.points(of: node).map { series, point in
                SampleDocument(
                    name: series.name,
                    instance: series.instance,
                    value: point.value,
                    time: point.time.description
                )
            }
            return try .json(encoding: ["samples": samples])
        }
    }
}

extension Operation {
    fileprivate static let scrape = Operation(
        "Read all metrics, as Prometheus does",
        answers: .text("text/plain; version=0.0.4; charset=utf-8")
    )
    fileprivate static let listSamples = Operation(
        "List the newest measurements of a node",
        answers: .ok(
            .object(
                [
                    "samples": .list(
                        of: .object(
                            ["name": .text, "instance": .text, "value": .number, "time": .time],
                            required: ["name", "instance", "value", "time"]
                        )
                    )
                ],
                required: ["samples"]
            )
        )
    )
}

import ArgumentParser
import Basics
import Glibc

/// Options of every command that speaks to the controller.
struct CloudOptions: ParsableArguments {
    @Option(
        name: .customLong("os-cloud"),
        help: "Entry of clouds.yaml (default: OS_CLOUD, else rdo)."
    )
    var cloud: String?

    /// Signs in, runs the body and closes the connections.
    func withClient<Value>(_ body: (APIClient) async throws -> Value) async throws -> Value {
        let client = APIClient(cloud: try Cloud.find(name: cloud, environment: environment()))
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(client))
        } catch {
            result = .failure(error)
        }
        try await client.shutDown()
        return try result.get()
    }
}

/// The process's variables.
func environment() -> [String: String] {
    var variables: [String: String] = [:]
    var entry = environ
    while let text = entry.pointee {
        let pair = String(cString: text).split(
            separator: "=",
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        if pair.count == 2 { variables[String(pair[0])] = String(pair[1]) }
        entry += 1
    }
    return variables
}

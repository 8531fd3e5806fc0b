/// The keys of log metadata.
///
/// A key that is not listed here is not used.
package enum LogKey {
    package static let requestID = "request.id"
    package static let nodeID = "node.id"
    package static let nodeState = "node.state"
    package static let attempt = "attempt"
    package static let step = "step"
    package static let agentSession = "agent.session"
    package static let stackID = "stack.id"
    package static let imageID = "image.id"
    package static let deploymentID = "deployment.id"
    package static let commandID = "command.id"
    package static let command = "command"
    package static let durationMilliseconds = "duration.ms"
    package static let error = "error"
    package static let mac = "mac"
    package static let address = "address"
    package static let path = "path"
    package static let reason = "reason"
    package static let keyFingerprint = "key.fingerprint"
    package static let count = "count"
    package static let user = "user"
    package static let route = "route"
    package static let status = "status"
    package static let memoryPeak = "memory.peak"
}

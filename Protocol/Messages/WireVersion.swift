/// Which versions of the protocol this release speaks: its own and the one before.
package enum WireVersion {
    /// The version this release writes when the other side speaks it.
    package static let current: UInt32 = 1

    /// The oldest version this release reads.
    package static let oldest: UInt32 = 1

    /// True for a frame that this release can read.
    package static func accepts(_ version: UInt32) -> Bool { (oldest...current).contains(version) }

    /// The highest version both sides speak; `nil` when there is none.
    package static func common(min: UInt32, max: UInt32) -> UInt32? {
        let highest = Swift.min(max, current)
        return min <= highest && highest >= oldest ? highest : nil
    }
}

/// The protocol's times.
package enum SessionTiming {
    /// An agent says that it lives this often.
    package static let heartbeat = Duration.seconds(10)

    /// Silence after which either side takes the session for lost.
    package static let lostAfter = Duration.seconds(30)

    /// Pause before a Hello without answer is repeated.
    package static let helloRepeat = Duration.seconds(5)

    /// Two Hellos are at least this far apart.
    package static let helloPause = Duration.seconds(1)

    /// Pause before a command that was not accepted is repeated.
    package static let commandRepeat = Duration.seconds(10)

    /// First pause before a result that was not stored is repeated; it doubles.
    package static let resultRepeat = Duration.seconds(15)

    /// Longest pause between two repetitions of a result.
    package static let resultRepeatMax = Duration.seconds(300)
}

/// Why a frame was not acted on, in words for logs.
package enum IgnoredFrame: String, Sendable {
    case version = "its version is not spoken here"
    case session = "it belongs to another session"
    case replayed = "its sequence number is not new"
    case malformed = "a field is malformed"
    case unknown = "its kind is not known here"
    case early = "no session has begun"
    case late = "it is out of date"
}

extension WireCommand {
    /// What the command's attempt number counts tries at: a deployment where it names one, else the node.
    package var scope: String {
        switch body {
        case .applyStep(let step): step.deployment
        case .validate(let validation): validation.deployment
        case .inspect, .eraseMetadata, .eraseDisks, .writeImage, .startRescue, .buildRaid,
            .deleteRaid, .restart, .burnInMemory, nil:
            node
        }
    }
}

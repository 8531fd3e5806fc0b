import AgentSystem
package import Basics
package import Protocol

/// Where an image's manifest and chunks come from.
///
/// Used by one worker at a time.
package protocol ImageSource {
    /// Fetches a path below the image's address: `/manifest`, `/chunks/<digest>`.
    ///
    /// `body`: is replaced; its storage is used again.
    /// - Throws: `StepFailure` when there is no more hope within the source's patience.
    func fetch(_ path: String, bytesMax: Int, into body: inout [UInt8]) async throws
}

/// Makes one source per worker.
package protocol ImageSources: Sendable {
    /// - Throws: `StepFailure` when the address or the authority is unusable.
    func open(
        _ command: WireWriteImage,
        in context: StepContext
    ) throws -> sending any ImageSource
}

/// Sources that ask the controller, or a peer, over HTTPS.
package struct HTTPSImageSources: ImageSources {
    /// How long a server may be away, counted from its last good answer.
    private let patience: Duration
    private let time: any TimeSource

    package init(patience: Duration = .seconds(120), time: any TimeSource) {
        self.patience = patience
        self.time = time
    }

    package func open(
        _ command: WireWriteImage,
        in context: StepContext
    ) throws -> sending any ImageSource {
        guard let (origin, path) = HTTPOrigin.parse(command.baseURL), origin.secure else {
            throw StepFailure(
                "cannot fetch image \(command.image): “\(command.baseURL.prefix(200))” is no https "
                    + "address; report it, the controller made it",
                retryable: false
            )
        }
        let trust: TLSTrust
        do {
            trust = try TLSTrust(pem: context.certificateAuthority)
        } catch {
            throw StepFailure(
                "cannot fetch image \(command.image): the controller gave no usable certificate "
                    + "authority; enrol the node again",
                detail: error.text,
                retryable: true
            )
        }
        return HTTPSImageSource(
            client: HTTPSClient(origin: origin, trust: trust, time: time),
            path: path,
            image: command.image,
            capability: Secret("Capability \(command.capability)"),
            patience: patience,
            time: time
        )
    }
}

/// One worker's connection to a server of chunks.
final class HTTPSImageSource: ImageSource {
    /// For one request; a chunk of 4 MiB then needs 70 KiB/s.
    private static let requestBudget = Duration.seconds(60)
    private static let pauseMax = Duration.seconds(10)

    private let client: HTTPSClient
    private let path: String
    private let image: String
    private let capability: Secret
    private let patience: Duration
    private let time: any TimeSource

    init(
        client: HTTPSClient,
        path: String,
        image: String,
        capability: Secret,
        patience: Duration,
        time: any TimeSource
    ) {
        self.client = client
        self.path = path.hasSuffix("/") ? String(path.dropLast()) : path
        self.image = image
        self.capability = capability
        self.patience = patience
        self.time = time
    }

    func fetch(_ name: String, bytesMax: Int, into body: inout [UInt8]) async throws {
        let start = time.elapsed
        var pause = Duration.milliseconds(250)
        while true {
            let problem = try attempt(name, bytesMax, into: &body)
            guard let problem else { return }
            guard time.elapsed - start + pause < patience else {
                throw StepFailure(
                    "cannot fetch image \(image): its server has not answered for \(patience); "
                        + "check the controller and the network, then deploy again: what is "
                        + "written stays",
                    detail: problem,
                    retryable: true
                )
            }
            try await time.sleep(for: pause)
            pause = min(pause * 2, Self.pauseMax)
        }
    }

    /// One request; returns why it is worth another try, `nil` when it is done.
    private func attempt(
        _ name: String,
        _ bytesMax: Int,
        into body: inout [UInt8]
    ) throws -> String? {
        let status: Int
        do throws(TransferFailure) {
            status = try client.get(
                path + name,
                headers: [("Authorization", capability)],
                bytesMax: bytesMax,
                budget: Self.requestBudget,
                into: &body
            )
        } catch {
            switch error.kind {
            case .cancelled: throw CancellationError()
            case .connection, .timeout: return error.text
            case .untrusted:
                throw StepFailure(
                    "cannot fetch image \(image): the server cannot prove who it is; check its "
                        + "certificate and the clocks",
                    detail: error.text,
                    retryable: true
                )
            case .malformed:
                throw StepFailure(
                    "cannot fetch image \(image): the server's answer makes no sense; see the log",
                    detail: error.text,
                    retryable: true
                )
            }
        }
        switch status {
        case 200: return nil
        case 408, 425, 429, 500...599: return "status \(status) for \(name)"
        case 401, 403:
            throw StepFailure(
                "cannot fetch image \(image): the server refuses this node's capability; deploy "
                    + "again to get a new one",
                detail: "status \(status) for \(name)",
                retryable: true
            )
        default:
            throw StepFailure(
                "cannot fetch image \(image): the server answers \(status) for \(name); check that "
                    + "the image still exists",
                retryable: false
            )
        }
    }
}

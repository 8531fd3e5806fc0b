import AgentSystem

/// Keeps what starts an image on every member disk of the software RAID that takes it.
protocol MemberLoader: Sendable {
    /// Checks member disks and image, and takes from the disks what would start a half written image.
    /// - Throws: `StepFailure` when a disk has no room or the image nothing to start; nothing is changed then.
    func prepare(_ layout: ImageLayout) async throws

    /// Makes each member disk start the image that was written.
    /// - Throws: `StepFailure`, `SystemFailure`.
    func finish(_ layout: ImageLayout) async throws
}

/// What a `MemberLoader` works on.
struct MemberTask: Sendable {
    let seams: WriteImage.Seams
    let raid: RAIDWork
    /// The image's identifier.
    let image: String
    /// The array that takes the image.
    let volume: BlockDevice
    let report: any StepReporter

    /// The failure whose reason is a clause.
    func failure(_ reason: String) -> StepFailure {
        StepFailure(
            "cannot make \(volume.path) start image \(image): \(reason)",
            retryable: false
        )
    }
}

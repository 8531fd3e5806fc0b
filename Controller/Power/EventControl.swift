package import Basics

/// Has a BMC tell of its events by itself.
///
/// Every call is bounded in time and safe to repeat; all throw `PowerFault`, with the reason `unsupported` where
/// the BMC sends no events.
package protocol EventControl: Sendable {
    /// Makes the BMC send its events.
    ///
    /// There is one subscription of a mark afterwards: one that sends elsewhere, or a second one, is ended, and one
    /// that stands is left as it is.
    /// - Returns: whether it was made just now.
    func subscribe(_ subscription: EventSubscription, of bmc: BMC) async throws -> Bool

    /// Ends the subscriptions of a mark; none is no failure.
    func unsubscribe(_ mark: String, of bmc: BMC) async throws
}

/// Where a BMC sends its events.
package struct EventSubscription: Sendable, Equatable {
    /// An address that the BMC reaches; whoever knows it may tell events.
    package let destination: Secret
    /// Which subscriptions are ours: the BMC keeps it with them and repeats it with every event.
    package let mark: String

    package init(destination: Secret, mark: String) {
        self.destination = destination
        self.mark = mark
    }
}

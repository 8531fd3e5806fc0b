/// The one kind of error that people see.
///
/// `message` is for the caller: it begins with “cannot”, names the object and the value, and says what to
/// do. `detail` and `cause` reach only the log.
package struct Fault: Error, Sendable, CustomStringConvertible {
    /// What sort of failure; each has one HTTP code.
    package enum Kind: String, Sendable, CaseIterable {
        /// The request itself is wrong (400).
        case invalid
        /// Who asks is not known (401).
        case unauthenticated
        /// Who asks may not (403).
        case forbidden
        /// There is no such object (404).
        case notFound
        /// The version asked for is not spoken (406).
        case notAcceptable
        /// The resource is there but does not take the method (405).
        case methodNotAllowed
        /// The object's state forbids it (409).
        case conflict
        /// The request is too large (413).
        case tooLarge
        /// The content's type is not taken (415).
        case unsupportedType
        /// Too many requests (429).
        case tooMany
        /// No driver of ours can do it (501).
        case notSupported
        /// Something the request needs does not work just now (503).
        case unavailable
        /// Something beyond us did not answer in time (504).
        case timeout
        /// Our own fault (500).
        case internalError
    }

    package let kind: Kind
    package let message: String
    package let detail: String
    package let cause: (any Error)?

    package init(
        _ kind: Kind,
        _ message: String,
        detail: String = "",
        cause: (any Error)? = nil
    ) {
        self.kind = kind
        self.message = message
        self.detail = detail
        self.cause = cause
    }

    package var description: String { message }

    /// Everything, for the log.
    package var report: String {
        var text = message
        if !detail.isEmpty { text += " (\(detail))" }
        if let cause {
            text += "; cause: \((cause as? Fault)?.report ?? String(describing: cause))"
        }
        return text
    }
}

/// An error of the core that knows how to tell itself to people.
package protocol FaultConvertible: Error {
    var fault: Fault { get }
}

extension Fault {
    /// Any error as a fault; what is not known to be for people becomes `internalError`.
    package init(_ error: any Error) {
        switch error {
        case let fault as Fault: self = fault
        case let convertible as any FaultConvertible: self = convertible.fault
        case let late as TimeBudgetExceeded:
            self.init(
                .timeout,
                "cannot wait longer than \(late.budget) for \(late.subject): the budget is used up"
            )
        default:
            self.init(
                .internalError,
                "cannot finish the request: an internal error was logged",
                cause: error
            )
        }
    }
}

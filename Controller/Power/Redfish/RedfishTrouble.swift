import Basics

/// What stands between us and what a Redfish service was asked, before it is told to people.
enum RedfishTrouble: Error, Equatable {
    /// Nothing answered; the words are for the log.
    case noAnswer(String)
    /// Nothing answered within the time of a request or an operation.
    case late(Duration)
    /// The connection ended in the middle.
    case broken(String)
    /// Its certificate does not prove that it is the BMC.
    case untrusted(String)
    /// The answer is longer than we read.
    case tooLong(Int)
    /// It leads to another origin, which gets no credentials.
    case foreign(String)
    /// It answers something that is no Redfish; the words say what.
    case malformed(String)
    /// It refuses the user or the password.
    case credentials
    /// The user may not do this.
    case privilege
    /// It has no such resource; the path.
    case absent(String)
    /// It refuses with this status; the words are its own.
    case refused(Int, String)
    /// The machine does not have what the word names, as Ironic's interfaces call it.
    case unsupported(String)
    /// A setting of ours does not fit; a clause that says which.
    case setting(String)
    /// The request asks for something that there is not; a clause that says what.
    case unknown(String)
    /// It took the order and did something else; a clause that says what.
    case disobeyed(String)

    /// Whether a reading request may be repeated at once.
    var mayPassAtOnce: Bool {
        switch self {
        case .broken: true
        case .refused(let status, _): [500, 502, 503, 504].contains(status)
        case .noAnswer, .late, .untrusted, .tooLong, .foreign, .malformed, .credentials, .privilege,
            .absent, .unsupported, .setting, .unknown, .disobeyed:
            false
        }
    }

    /// Whether the BMC was there.
    var answered: Bool {
        switch self {
        case .noAnswer, .late, .broken: false
        case .untrusted, .tooLong, .foreign, .malformed, .credentials, .privilege, .absent,
            .refused, .unsupported, .setting, .unknown, .disobeyed:
            true
        }
    }

    /// As one sentence for people.
    ///
    /// `purpose`: a clause: `read the power state`.
    func fault(_ purpose: String, _ bmc: BMC) -> PowerFault {
        let (reason, why, detail): (PowerFault.Reason, String, String) =
            switch self {
            case .noAnswer(let words):
                (
                    .noAnswer,
                    "it does not answer; check redfish_address, its cable and that Redfish is enabled",
                    words
                )
            case .late(let budget):
                (
                    .noAnswer,
                    "it did not answer within \(budget); check redfish_address and whether the BMC is overloaded",
                    ""
                )
            case .broken(let words):
                (.noAnswer, "it ended the connection in the middle of its answer", words)
            case .untrusted(let words):
                (
                    .settings,
                    "its certificate is not trusted; name its authority's PEM file in redfish_verify_ca, or set that to false to take any certificate",
                    words
                )
            case .tooLong(let max):
                (.refused, "its answer is longer than \(max) bytes, which is all that is read", "")
            case .foreign(let host):
                (
                    .settings,
                    "it leads to “\(printable(host, max: 80))”, which is another address and gets no password; correct redfish_address",
                    ""
                )
            case .malformed(let what): (.refused, "its answer makes no sense: \(what)", "")
            case .credentials:
                (
                    .credentials,
                    "it refused the user name or password; correct redfish_username and redfish_password",
                    ""
                )
            case .privilege:
                (
                    .privilege,
                    "the user “\(printable(bmc.user, max: 40))” may not do this; give it the role Administrator",
                    ""
                )
            case .absent(let path):
                (.settings, "it has no \(printable(path, max: 200)); correct redfish_system_id", "")
            case .refused(let status, let words):
                (
                    .refused,
                    words.isEmpty
                        ? "it refused with status \(status)" : "it refused: “\(words)”",
                    "status \(status)"
                )
            case .unsupported(let what):
                (.unsupported, "the machine does not support \(what)", "")
            case .setting(let what): (.settings, what, "")
            case .unknown(let what): (.unsupported, what, "")
            case .disobeyed(let what): (.refused, what, "")
            }
        return PowerFault(
            reason,
            "cannot \(purpose) of BMC \(bmc.endpoint): \(why)",
            detail: printable(detail, max: 400)
        )
    }
}

/// Foreign text without control characters and of bounded length.
func printable(_ text: String, max: Int) -> String {
    String(
        text.unicodeScalars.prefix(max).map { scalar in
            scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
                || (0x2028...0x202e).contains(scalar.value) ? " " : Character(scalar)
        }
    )
}

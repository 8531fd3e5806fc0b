import Basics
import FoundationEssentials
import GRDB
import HTTP
import Power
import Protocol
import Store

/// Passwords that the controller made, by BMC and user; a row is written before its BMC is told.
///
/// A row outlives its nodes: nobody else knows the password, and whoever registers the machine anew knows the old one.
let credentialTables = Migration(
    name: "baremetal-009",
    sql: """
        CREATE TABLE bmcPassword (
            account TEXT PRIMARY KEY,
            sealed BLOB NOT NULL,
            phase TEXT NOT NULL CHECK (phase IN ('told', 'holds', 'refused')),
            at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """
)

/// A password that the controller made for a BMC's user.
struct MadePassword: Sendable, Equatable {
    enum Phase: String, Sendable {
        /// The BMC may have been told, and may have taken it.
        case told
        /// It is the one.
        case holds
        /// The BMC did not take it.
        case refused
    }

    /// The one that an operator gave.
    let before: Secret
    let after: Secret
    var phase: Phase
}

extension BMC {
    /// Names the BMC and its user, whichever node has it.
    var account: String {
        let kind = redfish == nil ? "ipmi" : "redfish"
        return [kind, host.lowercased(), "\(port)", user].map { "\($0.utf8.count):\($0)" }.joined()
    }

    /// The secret of `driver_info` that holds its password.
    var passwordKey: String { redfish == nil ? "ipmi_password" : "redfish_password" }
}

extension Transaction {
    private static func context(_ account: String) -> String { "bmc_password/\(account)" }

    /// Every node of a BMC and its user.
    func nodes(of bmc: BMC, _ drivers: [String: NodeDriver], sealer: Sealer) throws -> [Node] {
        try nodes(naming: bmc.host, sealer: sealer).filter {
            // A node whose address is of no use has no such BMC.
            (try? drivers[$0.driver]?.bmc(of: $0))?.account == bmc.account
        }
    }

    func madePassword(of account: String, sealer: Sealer) throws -> MadePassword? {
        let row = try Row.fetchOne(
            sql,
            sql: "SELECT sealed, phase FROM bmcPassword WHERE account = ?",
            arguments: [account]
        )
        guard let row, let phase = MadePassword.Phase(rawValue: row["phase"]) else { return nil }
        let sealed: Data = row["sealed"]
        let secret = try sealer.open(Array(sealed), for: Self.context(account))
        let value = try JSONValue(parsing: secret.revealBytes())
        return MadePassword(
            before: Secret(value["before"]?.text ?? ""),
            after: Secret(value["after"]?.text ?? ""),
            phase: phase
        )
    }

    func save(
        _ password: MadePassword,
        of account: String,
        at now: Timestamp,
        sealer: Sealer
    ) throws {
        let text: JSONValue = [
            "before": .string(password.before.reveal()), "after": .string(password.after.reveal()),
        ]
        let sealed = try sealer.seal(Secret(text.canonicalText), for: Self.context(account))
        try sql.execute(
            sql: """
                INSERT INTO bmcPassword (account, sealed, phase, at) VALUES (?, ?, ?, ?)
                ON CONFLICT (account) DO UPDATE SET
                    sealed = excluded.sealed, phase = excluded.phase, at = excluded.at
                """,
            arguments: [account, Data(sealed), password.phase.rawValue, now.nanoseconds]
        )
    }
}

extension NodesService {
    /// Keeps the password that the controller made where a change names the one from before it, as tools do that
    /// write the same registration again and again.
    func keepMadePassword(
        in node: inout Node,
        _ before: Node,
        _ transaction: Transaction
    ) throws {
        guard node.driverInfo.secrets != before.driverInfo.secrets, node.driver == before.driver,
            // Fields that make no sense are told where they are used.
            let bmc = try? drivers[node.driver]?.bmc(of: node),
            let old = try? drivers[before.driver]?.bmc(of: before), old.account == bmc.account,
            let made = try transaction.madePassword(of: bmc.account, sealer: sealer),
            made.phase == .holds, made.before == bmc.password, made.after == old.password
        else { return }
        node.driverInfo.secrets[bmc.passwordKey] = old.password
    }
}

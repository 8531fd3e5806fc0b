import Basics
import GRDB
import HTTP
import Power
import Protocol
import Store

/// What BMCs tell about firmware: the boot policy with the node, settings and versions in tables.
let firmwareTables = Migration(
    name: "baremetal-005",
    sql: """
        ALTER TABLE node ADD COLUMN observedBootMode TEXT;
        ALTER TABLE node ADD COLUMN secureBoot INTEGER;
        CREATE TABLE biosSetting (
            node TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            value TEXT NOT NULL,
            rule TEXT,
            createdAt INTEGER NOT NULL,
            updatedAt INTEGER,
            PRIMARY KEY (node, name)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE firmwareComponent (
            node TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            initialVersion TEXT NOT NULL,
            version TEXT NOT NULL,
            vendor TEXT,
            model TEXT,
            serial TEXT,
            createdAt INTEGER NOT NULL,
            updatedAt INTEGER,
            PRIMARY KEY (node, name)
        ) STRICT, WITHOUT ROWID;
        """
)

/// A setting of a firmware as it was last read.
struct StoredSetting: Sendable {
    let name: String
    let value: JSONValue
    /// In Ironic's words: `attribute_type`, `allowable_values` …; `nil` without a registry.
    let rule: [String: JSONValue]?
    let createdAt: Timestamp
    let updatedAt: Timestamp?
}

/// A firmware's version as it was last read.
struct StoredComponent: Sendable {
    let component: FirmwareComponent
    let initialVersion: String
    let createdAt: Timestamp
    let updatedAt: Timestamp?
}

extension Transaction {
    /// A node's settings, in the order of their names.
    func biosSettings(of node: NodeID) throws -> [StoredSetting] {
        try Row.fetchAll(
            sql,
            sql: """
                SELECT name, value, rule, createdAt, updatedAt FROM biosSetting
                WHERE node = ? ORDER BY name
                """,
            arguments: [node.text]
        ).map { row in
            StoredSetting(
                name: row["name"],
                value: try JSONValue(parsing: (row["value"] as String).utf8),
                rule: try (row["rule"] as String?).flatMap {
                    try JSONValue(parsing: $0.utf8).members
                },
                createdAt: Timestamp(nanoseconds: row["createdAt"]),
                updatedAt: (row["updatedAt"] as Int64?).map(Timestamp.init(nanoseconds:))
            )
        }
    }

    /// Keeps the settings that were read; those that are gone are forgotten.
    func save(_ settings: [BIOSSetting], of node: NodeID, at now: Timestamp) throws {
        let names = JSONValue.array(settings.map { .string($0.name) }).canonicalText
        try sql.execute(
            sql: """
                DELETE FROM biosSetting
                WHERE node = ? AND name NOT IN (SELECT value FROM json_each(?))
                """,
            arguments: [node.text, names]
        )
        for setting in settings {
            let rule = setting.rule.map { JSONValue.object($0.members).canonicalText }
            try sql.execute(
                sql: """
                    INSERT INTO biosSetting (node, name, value, rule, createdAt)
                    VALUES (?, ?, ?, ?, ?)
                    ON CONFLICT (node, name) DO UPDATE SET
                        value = excluded.value, rule = excluded.rule,
                        updatedAt = excluded.createdAt
                    WHERE value <> excluded.value OR rule IS NOT excluded.rule
                    """,
                arguments: [
                    node.text, setting.name, setting.value.canonicalText, rule, now.nanoseconds,
                ]
            )
        }
    }

    /// A node's firmware, in the order of its names.
    func firmware(of node: NodeID) throws -> [StoredComponent] {
        try Row.fetchAll(
            sql,
            sql: "SELECT * FROM firmwareComponent WHERE node = ? ORDER BY name",
            arguments: [node.text]
        ).map { row in
            StoredComponent(
                component: FirmwareComponent(
                    name: row["name"],
                    version: row["version"],
                    vendor: row["vendor"],
                    model: row["model"],
                    serial: row["serial"]
                ),
                initialVersion: row["initialVersion"],
                createdAt: Timestamp(nanoseconds: row["createdAt"]),
                updatedAt: (row["updatedAt"] as Int64?).map(Timestamp.init(nanoseconds:))
            )
        }
    }

    /// Keeps the versions that were read; those that are gone stay, as in Ironic.
    func save(_ components: [FirmwareComponent], of node: NodeID, at now: Timestamp) throws {
        for component in components {
            try sql.execute(
                sql: """
                    INSERT INTO firmwareComponent
                        (node, name, initialVersion, version, vendor, model, serial, createdAt)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT (node, name) DO UPDATE SET
                        version = excluded.version, vendor = excluded.vendor,
                        model = excluded.model, serial = excluded.serial,
                        updatedAt = excluded.createdAt
                    WHERE version <> excluded.version OR vendor IS NOT excluded.vendor
                        OR model IS NOT excluded.model OR serial IS NOT excluded.serial
                    """,
                arguments: [
                    node.text, component.name, component.version, component.version,
                    component.vendor, component.model, component.serial, now.nanoseconds,
                ]
            )
        }
    }
}

extension BIOSSetting.Rule {
    /// In Ironic's words.
    fileprivate var members: [String: JSONValue] {
        func number(_ value: Int64?) -> JSONValue { value.map(JSONValue.integer) ?? .null }
        func truth(_ value: Bool?) -> JSONValue { value.map(JSONValue.bool) ?? .null }
        return [
            "attribute_type": JSONValue(type),
            "allowable_values": allowed.map { .array($0.map(JSONValue.string)) } ?? .null,
            "lower_bound": number(lowerBound), "upper_bound": number(upperBound),
            "min_length": number(lengthMin), "max_length": number(lengthMax),
            "read_only": truth(isReadOnly), "reset_required": truth(needsReset),
            "unique": truth(isUnique),
        ]
    }
}

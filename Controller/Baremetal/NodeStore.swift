import Basics
import FoundationEssentials
import GRDB
package import HTTP
import Power
package import Protocol
package import Store

/// The schema of this area, in order.
package let baremetalMigrations = [
    Migration(
        name: "baremetal-001",
        sql: """
            CREATE TABLE node (
                serial INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                name TEXT UNIQUE,
                driver TEXT NOT NULL,
                driverFields TEXT NOT NULL,
                driverSecrets BLOB,
                properties TEXT NOT NULL,
                extra TEXT NOT NULL,
                instanceInfo TEXT NOT NULL,
                instanceID TEXT UNIQUE,
                networkData TEXT NOT NULL,
                description TEXT,
                resourceClass TEXT,
                conductorGroup TEXT NOT NULL,
                owner TEXT,
                lessee TEXT,
                traits TEXT NOT NULL,
                automatedClean INTEGER,
                protected INTEGER NOT NULL,
                protectedReason TEXT,
                retired INTEGER NOT NULL,
                retiredReason TEXT,
                interfaces TEXT NOT NULL,
                state TEXT NOT NULL,
                stateData TEXT,
                provisionState TEXT NOT NULL,
                stateSince INTEGER NOT NULL,
                attempt INTEGER NOT NULL CHECK (attempt >= 0),
                powerState TEXT,
                powerWish TEXT,
                maintenance TEXT,
                lockout TEXT,
                lastError TEXT,
                lastLines TEXT NOT NULL,
                obstacle TEXT,
                createdAt INTEGER NOT NULL,
                updatedAt INTEGER,
                inspectionStartedAt INTEGER,
                inspectionFinishedAt INTEGER
            ) STRICT;
            CREATE INDEX nodeState ON node (provisionState);
            CREATE TABLE port (
                serial INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                node TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
                address TEXT NOT NULL UNIQUE,
                name TEXT UNIQUE,
                isPXEEnabled INTEGER NOT NULL,
                extra TEXT NOT NULL,
                localLink TEXT NOT NULL,
                physicalNetwork TEXT,
                isSmartNIC INTEGER NOT NULL,
                description TEXT,
                createdAt INTEGER NOT NULL,
                updatedAt INTEGER
            ) STRICT;
            CREATE INDEX portNode ON port (node);
            CREATE TABLE inventory (
                node TEXT PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,
                inventory TEXT NOT NULL,
                pluginData TEXT NOT NULL,
                at INTEGER NOT NULL
            ) STRICT;
            CREATE TABLE configDrive (
                node TEXT PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,
                sealed BLOB NOT NULL
            ) STRICT;
            """
    ),
    resourceTables,
    turnTables,
    bulkTables,
    firmwareTables,
    erasureTables,
    planMigration,
    mediaTables,
    rescueTables,
    eventTables,
    credentialTables,
    raidTables,
    assetTagTables,
]

extension Transaction {
    /// The node with this identifier; `nil` when there is none.
    package func node(_ id: NodeID, sealer: Sealer) throws -> Node? {
        try row("SELECT \(NodeColumn.list) FROM node WHERE id = ?", [id.text])
            .map { try Node(row: $0, sealer: sealer) }
    }

    /// The node with this UUID or name; `nil` when there is none.
    package func node(named reference: String, sealer: Sealer) throws -> Node? {
        if let id = NodeID(reference), let node = try node(id, sealer: sealer) { return node }
        return try row("SELECT \(NodeColumn.list) FROM node WHERE name = ?", [reference])
            .map { try Node(row: $0, sealer: sealer) }
    }

    /// Whether another node has this name.
    func nodeNameIsTaken(_ name: String, except id: NodeID) throws -> Bool {
        try exists("SELECT 1 FROM node WHERE name = ? AND id <> ?", [name, id.text])
    }

    /// Whether another node has this instance.
    func instanceIsTaken(_ instance: String, except id: NodeID) throws -> Bool {
        try exists("SELECT 1 FROM node WHERE instanceID = ? AND id <> ?", [instance, id.text])
    }

    /// Stores a node, new or changed, and one row of the change feed when its state changed.
    ///
    /// `before` is the node as it was, `nil` for a new one; `cause` says why, for people; `author` is who
    /// asked for it, if somebody did.
    package func save(
        _ node: Node,
        before: Node?,
        cause: String,
        by author: Principal? = nil,
        at now: Timestamp,
        sealer: Sealer
    ) throws {
        var values = try node.columns(sealer: sealer)
        if before == nil {
            let names = values.keys.sorted()
            try execute(
                """
                INSERT INTO node (\(names.joined(separator: ", ")))
                VALUES (\(names.map { ":\($0)" }.joined(separator: ", ")))
                """,
                StatementArguments(values)
            )
        } else {
            // Sealing makes new bytes each time; unchanged secrets keep theirs.
            if before?.driverInfo == node.driverInfo { values["driverSecrets"] = nil }
            if before?.bootMedium == node.bootMedium { values["bootMedium"] = nil }
            let names = values.keys.filter { $0 != "id" }.sorted()
            try execute(
                """
                UPDATE node SET \(names.map { "\($0) = :\($0)" }.joined(separator: ", "))
                WHERE id = :id
                """,
                StatementArguments(values)
            )
        }
        let old = before?.state.ironicName ?? ""
        if let allocation = before?.allocation, node.allocation != allocation {
            try forget(allocation: allocation)
        }
        try recordEvent(of: node, before: before, cause: cause, by: author, at: now)
        guard
            old != node.state.ironicName || before?.powerState != node.powerState
                || before?.maintenance != node.maintenance || before?.lastError != node.lastError
                || before?.attempt != node.attempt
        else { return }
        try record(
            kind: "node",
            id: node.id.text,
            attempt: node.attempt,
            before: old,
            after: node.state.ironicName,
            cause: cause,
            at: now
        )
    }

    /// Takes a node away with its ports and inventory.
    package func delete(_ node: Node, at now: Timestamp) throws {
        try sql.execute(sql: "DELETE FROM node WHERE id = ?", arguments: [node.id.text])
        try record(
            kind: "node",
            id: node.id.text,
            attempt: node.attempt,
            before: node.state.ironicName,
            after: "",
            cause: "removed",
            at: now
        )
    }

    /// Every node's identifier, in the order of registration.
    package func nodeIDs() throws -> [NodeID] {
        try String.fetchAll(sql, sql: "SELECT id FROM node ORDER BY serial").map(
            NodeID.init(unchecked:)
        )
    }

    /// How many nodes there are.
    package func nodeCount() throws -> Int {
        try Int.fetchOne(sql, sql: "SELECT COUNT(*) FROM node") ?? 0
    }

    /// How many nodes are in each provision state, by Ironic's words.
    package func nodeCounts() throws -> [String: Int] {
        var counts: [String: Int] = [:]
        for row in try Row.fetchAll(
            sql,
            sql: "SELECT provisionState, COUNT(*) AS count FROM node GROUP BY provisionState"
        ) {
            counts[row["provisionState"]] = row["count"]
        }
        return counts
    }

    /// Keeps what a machine is made of.
    func save(_ inventory: JSONValue, pluginData: JSONValue, of node: NodeID, at now: Timestamp)
        throws
    {
        try sql.execute(
            sql: """
                INSERT INTO inventory (node, inventory, pluginData, at) VALUES (?, ?, ?, ?)
                ON CONFLICT (node) DO UPDATE SET
                    inventory = excluded.inventory, pluginData = excluded.pluginData,
                    at = excluded.at
                """,
            arguments: [
                node.text, inventory.canonicalText, pluginData.canonicalText, now.nanoseconds,
            ]
        )
    }

    /// What a machine is made of; `nil` before its first inspection.
    package func inventory(of node: NodeID) throws -> (inventory: JSONValue, pluginData: JSONValue)?
    {
        let row = try Row.fetchOne(
            sql,
            sql: "SELECT inventory, pluginData FROM inventory WHERE node = ?",
            arguments: [node.text]
        )
        guard let row else { return nil }
        return (try json(row["inventory"]), try json(row["pluginData"]))
    }

    /// Keeps the config drive that was asked for, sealed; `nil` forgets it.
    func save(configDrive: ConfigDrive?, of node: NodeID, sealer: Sealer) throws {
        guard let configDrive else {
            return try sql.execute(
                sql: "DELETE FROM configDrive WHERE node = ?",
                arguments: [node.text]
            )
        }
        let sealed = try sealer.seal(
            Secret(String(decoding: try JSONEncoder().encode(configDrive), as: UTF8.self)),
            for: "node/\(node)/config_drive"
        )
        try sql.execute(
            sql: """
                INSERT INTO configDrive (node, sealed) VALUES (?, ?)
                ON CONFLICT (node) DO UPDATE SET sealed = excluded.sealed
                """,
            arguments: [node.text, Data(sealed)]
        )
    }

    /// The config drive that was asked for.
    func configDrive(of node: NodeID, sealer: Sealer) throws -> ConfigDrive? {
        guard
            let sealed = try Data.fetchOne(
                sql,
                sql: "SELECT sealed FROM configDrive WHERE node = ?",
                arguments: [node.text]
            )
        else { return nil }
        let secret = try sealer.open(Array(sealed), for: "node/\(node)/config_drive")
        return try JSONDecoder().decode(ConfigDrive.self, from: Data(secret.revealBytes()))
    }
}

private func json(_ text: String) throws -> JSONValue { try JSONValue(parsing: text.utf8) }

private func members(_ text: String) throws -> [String: JSONValue] {
    text == "{}" ? [:] : try json(text).members ?? [:]
}

private func texts(_ text: String) throws -> [String] {
    text == "[]" ? [] : try json(text).elements?.compactMap(\.text) ?? []
}

private func decoded<Value: Decodable>(_ text: String?) throws -> Value? {
    try text.map { try JSONDecoder().decode(Value.self, from: Data($0.utf8)) }
}

private func encoded(_ value: (some Encodable)?) throws -> String? {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return try value.map { String(decoding: try encoder.encode($0), as: UTF8.self) }
}

/// The columns that a node is made of, in the order in which they are asked for.
///
/// A column's name is looked up in every row anew, which takes longer than to read the row; its place is not.
enum NodeColumn: Int, CaseIterable {
    case id, driver, createdAt, name, driverFields
    case driverSecrets, properties, extra, instanceInfo, instanceID
    case networkData, description, resourceClass, conductorGroup, owner
    case lessee, traits, automatedClean, protected, protectedReason
    case retired, retiredReason, interfaces, state, stateData
    case stateSince, attempt, powerState, powerWish, maintenance
    case lockout, lastError, lastLines, obstacle, updatedAt
    case inspectionStartedAt, inspectionFinishedAt, instanceName, chassis, parentNode
    case shard, allocation, isPowerOffDisabled, party, queuedAt, observedBootMode
    case secureBoot
    case startedAt, erasures, bootMedium, targetRAIDConfig, raidConfig

    /// For a SELECT.
    static let list = allCases.map { "\($0)" }.joined(separator: ", ")
}

extension Row {
    fileprivate subscript<Value: DatabaseValueConvertible & StatementColumnConvertible>(
        _ column: NodeColumn
    ) -> Value { self[column.rawValue] }
}

extension Node {
    init(row: Row, sealer: Sealer) throws {
        self.init(
            id: NodeID(unchecked: row[.id]),
            driver: row[.driver],
            at: Timestamp(nanoseconds: row[.createdAt])
        )
        name = row[.name]
        driverInfo.fields = try members(row[.driverFields])
        if let sealed = row[.driverSecrets] as Data? {
            let text = try sealer.open(Array(sealed), for: "node/\(id)/driver_info")
            for (key, value) in try members(text.reveal()) {
                driverInfo.secrets[key] = Secret(value.text ?? "")
            }
        }
        properties = try members(row[.properties])
        extra = try members(row[.extra])
        instanceInfo = try members(row[.instanceInfo])
        instanceID = row[.instanceID]
        instanceName = row[.instanceName]
        chassis = row[.chassis]
        parent = (row[.parentNode] as String?).map(NodeID.init(unchecked:))
        shard = row[.shard]
        allocation = row[.allocation]
        isPowerOffDisabled = row[.isPowerOffDisabled]
        networkData = try members(row[.networkData])
        description = row[.description]
        resourceClass = row[.resourceClass]
        conductorGroup = row[.conductorGroup]
        owner = row[.owner]
        lessee = row[.lessee]
        traits = try texts(row[.traits])
        automatedClean = row[.automatedClean]
        protected = Flag(isSet: row[.protected], reason: row[.protectedReason])
        retired = Flag(isSet: row[.retired], reason: row[.retiredReason])
        interfaces = try members(row[.interfaces]).compactMapValues(\.text)
        state = try Self.state(name: row[.state], data: row[.stateData])
        stateSince = Timestamp(nanoseconds: row[.stateSince])
        attempt = Attempt(UInt64(row[.attempt] as Int64))
        party = row[.party]
        queuedAt = (row[.queuedAt] as Int64?).map(Timestamp.init(nanoseconds:))
        erasures = try decoded(row[.erasures]) ?? []
        targetRAIDConfig = try members(row[.targetRAIDConfig] ?? "{}")
        raidConfig = try members(row[.raidConfig] ?? "{}")
        bootMedium = try (row[.bootMedium] as Data?).map {
            try BootMedium(sealed: Array($0), of: id, sealer)
        }
        startedAt = (row[.startedAt] as Int64?).map(Timestamp.init(nanoseconds:))
        powerState = (row[.powerState] as String?).flatMap(PowerState.init(rawValue:))
        powerWish = try decoded(row[.powerWish])
        observedBootMode = (row[.observedBootMode] as String?).flatMap(BootMode.init(rawValue:))
        secureBoot = row[.secureBoot]
        maintenance = try decoded(row[.maintenance])
        lockout = try decoded(row[.lockout])
        lastError = row[.lastError]
        lastLines = try texts(row[.lastLines])
        obstacle = try decoded(row[.obstacle])
        updatedAt = (row[.updatedAt] as Int64?).map(Timestamp.init(nanoseconds:))
        inspectionStartedAt = (row[.inspectionStartedAt] as Int64?).map(
            Timestamp.init(nanoseconds:)
        )
        inspectionFinishedAt = (row[.inspectionFinishedAt] as Int64?).map(
            Timestamp.init(nanoseconds:)
        )
    }

    private static func state(name: String, data: String?) throws -> ProvisionState {
        if let state: ProvisionState = try decoded(data) { return state }
        switch ProvisionState.Name(rawValue: name) {
        case .enroll: return .enroll
        case .verifying: return .verifying
        case .manageable: return .manageable
        case .inspectFailed: return .inspectFailed
        case .cleanFailed: return .cleanFailed
        case .available: return .available
        case .deployFailed: return .deployFailed
        case .deleting: return .deleting
        case .error: return .error
        case .adoptFailed: return .adoptFailed
        case .inspecting, .cleaning, .deploying, .deployHold, .active, .adopting, .cleanHold,
            .servicing, .serviceHold, .serviceFailed, .rescuing, .rescue, .rescueFailed,
            .unrescuing,
            .unrescueFailed, nil:
            throw Fault(
                .internalError,
                "cannot read a node's state: it is unknown to this release",
                detail: name
            )
        }
    }

    fileprivate func columns(sealer: Sealer) throws -> [String: (any DatabaseValueConvertible)?] {
        var sealed: Data?
        if !driverInfo.secrets.isEmpty {
            let text = JSONValue.object(driverInfo.secrets.mapValues { .string($0.reveal()) })
            sealed = Data(
                try sealer.seal(Secret(text.canonicalText), for: "node/\(id)/driver_info")
            )
        }
        let stateData: String? =
            switch state {
            case .inspecting, .cleaning, .deploying, .deployHold, .active, .adopting, .cleanHold,
                .servicing, .serviceHold, .serviceFailed, .rescuing, .rescue, .rescueFailed,
                .unrescuing,
                .unrescueFailed:
                try encoded(state)
            case .enroll, .verifying, .manageable, .inspectFailed, .cleanFailed, .available,
                .deployFailed, .deleting, .error, .adoptFailed:
                nil
            }
        func text(_ members: [String: JSONValue]) -> String {
            JSONValue.object(members).canonicalText
        }
        return [
            "id": id.text, "name": name, "driver": driver,
            "driverFields": text(driverInfo.fields), "driverSecrets": sealed,
            "properties": text(properties), "extra": text(extra),
            "instanceInfo": text(instanceInfo), "instanceID": instanceID,
            "networkData": text(networkData), "description": description,
            "resourceClass": resourceClass, "conductorGroup": conductorGroup, "owner": owner,
            "lessee": lessee, "instanceName": instanceName, "chassis": chassis,
            "parentNode": parent?.text, "shard": shard, "allocation": allocation,
            "isPowerOffDisabled": isPowerOffDisabled,
            "observedBootMode": observedBootMode?.rawValue, "secureBoot": secureBoot,
            "traits": JSONValue.array(traits.map(JSONValue.string)).canonicalText,
            "lastLines": JSONValue.array(lastLines.map(JSONValue.string)).canonicalText,
            "automatedClean": automatedClean, "protected": protected.isSet,
            "protectedReason": protected.reason, "retired": retired.isSet,
            "retiredReason": retired.reason,
            "interfaces": text(interfaces.mapValues(JSONValue.string)),
            "state": state.name.rawValue, "stateData": stateData,
            "provisionState": state.ironicName, "stateSince": stateSince.nanoseconds,
            "attempt": Int64(attempt.number), "powerState": powerState?.rawValue,
            "party": party, "queuedAt": queuedAt?.nanoseconds,
            "startedAt": startedAt?.nanoseconds,
            "targetRAIDConfig": targetRAIDConfig.isEmpty ? nil : text(targetRAIDConfig),
            "raidConfig": raidConfig.isEmpty ? nil : text(raidConfig),
            "erasures": try encoded(erasures.isEmpty ? nil : erasures),
            "bootMedium": try bootMedium.map { Data(try $0.sealed(for: id, sealer)) },
            "powerWish": try encoded(powerWish), "maintenance": try encoded(maintenance),
            "lockout": try encoded(lockout), "lastError": lastError,
            "obstacle": try encoded(obstacle), "createdAt": createdAt.nanoseconds,
            "updatedAt": updatedAt?.nanoseconds,
            "inspectionStartedAt": inspectionStartedAt?.nanoseconds,
            "inspectionFinishedAt": inspectionFinishedAt?.nanoseconds,
        ]
    }
}

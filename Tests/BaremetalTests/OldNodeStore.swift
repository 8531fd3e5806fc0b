import GRDB
import Store

extension Transaction {
    /// A node with a port as the first release wrote them.
    func insertOldNode() throws {
        try insertOldNode("old", number: 1, state: "manageable", shown: "manageable", data: nil)
        try sql.execute(
            sql: """
                INSERT INTO port (id, node, address, isPXEEnabled, extra, localLink, isSmartNIC,
                    createdAt)
                VALUES ('aaaaaaaa-0000-4000-8000-0000000000ff',
                    'aaaaaaaa-0000-4000-8000-000000000001', '52:54:00:c0:00:01', 1, '{}', '{}', 0,
                    1)
                """
        )
    }

    /// A node in this state, whose data an earlier release wrote.
    func insertOldNode(
        _ name: String,
        number: Int,
        state: String,
        shown: String,
        data: String?
    ) throws {
        try sql.execute(
            sql: """
                INSERT INTO node (id, name, driver, driverFields, properties, extra, instanceInfo,
                    networkData, conductorGroup, traits, protected, retired, interfaces, state,
                    stateData, provisionState, stateSince, attempt, lastLines, createdAt)
                VALUES (?, ?, 'fake-hardware', '{}', '{}', '{}', '{}', '{}', '', '[]', 0, 0, '{}',
                    ?, ?, ?, 1, 1, '[]', 1)
                """,
            arguments: [
                "aaaaaaaa-0000-4000-8000-00000000000\(number)", name, state, data, shown,
            ]
        )
    }
}

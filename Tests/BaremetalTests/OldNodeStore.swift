import GRDB
import Store

extension Transaction {
    /// A node with a port as the first release wrote them.
    func insertOldNode() throws {
        try sql.execute(
            sql: """
                INSERT INTO node (id, name, driver, driverFields, properties, extra, instanceInfo,
                    networkData, conductorGroup, traits, protected, retired, interfaces, state,
                    provisionState, stateSince, attempt, lastLines, createdAt)
                VALUES ('aaaaaaaa-0000-4000-8000-000000000001', 'old', 'fake-hardware', '{}', '{}',
                    '{}', '{}', '{}', '', '[]', 0, 0, '{}', 'manageable', 'manageable', 1, 1, '[]',
                    1);
                INSERT INTO port (id, node, address, isPXEEnabled, extra, localLink, isSmartNIC,
                    createdAt)
                VALUES ('aaaaaaaa-0000-4000-8000-000000000002',
                    'aaaaaaaa-0000-4000-8000-000000000001', '52:54:00:c0:00:01', 1, '{}', '{}', 0,
                    1)
                """
        )
    }
}

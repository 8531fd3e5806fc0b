import Store

/// The tables of simple resources, and what they and API 1.115 add to nodes and ports.
let resourceTables = Migration(
    name: "baremetal-002",
    sql: """
        CREATE TABLE chassis (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            description TEXT,
            extra TEXT NOT NULL,
            createdAt INTEGER NOT NULL,
            updatedAt INTEGER
        ) STRICT;
        CREATE TABLE portgroup (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            node TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
            address TEXT UNIQUE,
            name TEXT UNIQUE,
            extra TEXT NOT NULL,
            hasStandalonePorts INTEGER NOT NULL,
            mode TEXT,
            properties TEXT NOT NULL,
            physicalNetwork TEXT,
            category TEXT,
            createdAt INTEGER NOT NULL,
            updatedAt INTEGER
        ) STRICT;
        CREATE INDEX portgroupNode ON portgroup (node);
        ALTER TABLE port ADD COLUMN portgroup TEXT REFERENCES portgroup (id) ON DELETE SET NULL;
        ALTER TABLE port ADD COLUMN vendor TEXT;
        ALTER TABLE port ADD COLUMN category TEXT;
        ALTER TABLE port ADD COLUMN isAvailableForDynamicPortgroup INTEGER NOT NULL DEFAULT 1;
        CREATE INDEX portPortgroup ON port (portgroup);
        CREATE TABLE deployTemplate (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL UNIQUE,
            description TEXT,
            steps TEXT NOT NULL,
            extra TEXT NOT NULL,
            createdAt INTEGER NOT NULL,
            updatedAt INTEGER
        ) STRICT;
        CREATE TABLE runbook (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL UNIQUE,
            description TEXT,
            steps TEXT NOT NULL,
            isRamdiskDisabled INTEGER NOT NULL,
            extra TEXT NOT NULL,
            isPublic INTEGER NOT NULL,
            owner TEXT,
            traits TEXT NOT NULL,
            createdAt INTEGER NOT NULL,
            updatedAt INTEGER
        ) STRICT;
        CREATE TABLE inspectionRule (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            description TEXT,
            priority INTEGER NOT NULL,
            phase TEXT NOT NULL,
            isSensitive INTEGER NOT NULL,
            conditions TEXT NOT NULL,
            actions TEXT NOT NULL,
            createdAt INTEGER NOT NULL,
            updatedAt INTEGER
        ) STRICT;
        CREATE TABLE volumeConnector (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            node TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
            type TEXT NOT NULL,
            connectorID TEXT NOT NULL,
            extra TEXT NOT NULL,
            createdAt INTEGER NOT NULL,
            updatedAt INTEGER,
            UNIQUE (type, connectorID)
        ) STRICT;
        CREATE INDEX volumeConnectorNode ON volumeConnector (node);
        CREATE TABLE volumeTarget (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            node TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
            volumeType TEXT NOT NULL,
            volumeID TEXT NOT NULL,
            bootIndex INTEGER NOT NULL,
            properties TEXT NOT NULL,
            extra TEXT NOT NULL,
            createdAt INTEGER NOT NULL,
            updatedAt INTEGER,
            UNIQUE (node, bootIndex)
        ) STRICT;
        CREATE TABLE allocation (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT UNIQUE,
            node TEXT UNIQUE REFERENCES node (id) ON DELETE CASCADE,
            resourceClass TEXT,
            state TEXT NOT NULL,
            lastError TEXT,
            owner TEXT,
            traits TEXT NOT NULL,
            candidateNodes TEXT NOT NULL,
            extra TEXT NOT NULL,
            createdAt INTEGER NOT NULL,
            updatedAt INTEGER
        ) STRICT;
        CREATE TABLE vif (
            serial INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            node TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
            document TEXT NOT NULL
        ) STRICT;
        CREATE INDEX vifNode ON vif (node);
        CREATE TABLE nodeEvent (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            node TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
            at INTEGER NOT NULL,
            severity TEXT NOT NULL,
            event TEXT NOT NULL,
            user TEXT,
            project TEXT,
            state TEXT NOT NULL,
            target TEXT,
            seconds INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX nodeEventNode ON nodeEvent (node, sequence);
        ALTER TABLE node ADD COLUMN chassis TEXT REFERENCES chassis (id);
        ALTER TABLE node ADD COLUMN parentNode TEXT REFERENCES node (id);
        ALTER TABLE node ADD COLUMN allocation TEXT;
        ALTER TABLE node ADD COLUMN shard TEXT;
        ALTER TABLE node ADD COLUMN instanceName TEXT;
        ALTER TABLE node ADD COLUMN isPowerOffDisabled INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX nodeChassis ON node (chassis);
        CREATE INDEX nodeParent ON node (parentNode);
        CREATE INDEX nodeResourceClass ON node (resourceClass);
        """
)

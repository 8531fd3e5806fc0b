import GRDB
import HTTP
import Store

// MARK: - Regions

extension Transaction {
    private func region(_ row: Row) -> Region {
        Region(
            id: row["id"],
            parentID: row["parentID"],
            description: row["description"],
            extra: JSONValue(column: row["extra"]).members ?? [:]
        )
    }

    func region(id: String) throws -> Region? {
        try Row.fetchOne(sql, sql: "SELECT * FROM region WHERE id = ?", arguments: [id])
            .map(region)
    }

    func regions(_ filter: CatalogFilter) throws -> [Region] {
        var wanted = Conditions()
        wanted.add("parentID", filter.parentID)
        return try Row.fetchAll(
            sql,
            sql: "SELECT * FROM region WHERE \(wanted.sql) ORDER BY id",
            arguments: wanted.arguments()
        ).map(region)
    }

    func saveRegion(_ region: Region) throws {
        try sql.execute(
            sql: """
                INSERT INTO region (id, parentID, description, extra) VALUES (?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET parentID = excluded.parentID,
                    description = excluded.description, extra = excluded.extra
                """,
            arguments: [
                region.id, region.parentID, region.description,
                JSONValue.object(region.extra).canonicalText,
            ]
        )
    }

    /// Whether an endpoint or another region needs it.
    func isUsed(region id: String) throws -> Bool {
        try Row.fetchOne(
            sql,
            sql: """
                SELECT 1 FROM endpoint WHERE regionID = ?
                UNION ALL SELECT 1 FROM region WHERE parentID = ?
                """,
            arguments: [id, id]
        ) != nil
    }

    func removeRegion(id: String) throws {
        try sql.execute(sql: "DELETE FROM region WHERE id = ?", arguments: [id])
    }
}

// MARK: - Services

extension Transaction {
    private func service(_ row: Row) -> ServiceRecord {
        ServiceRecord(
            id: row["id"],
            type: row["type"],
            name: row["name"],
            isEnabled: row["isEnabled"],
            isOwn: row["isOwn"],
            description: row["description"],
            extra: JSONValue(column: row["extra"]).members ?? [:]
        )
    }

    func service(id: String) throws -> ServiceRecord? {
        try Row.fetchOne(sql, sql: "SELECT * FROM service WHERE id = ?", arguments: [id])
            .map(service)
    }

    func services(_ filter: CatalogFilter) throws -> [ServiceRecord] {
        var wanted = Conditions()
        wanted.add("type", filter.type)
        wanted.add("name", filter.name)
        wanted.add("isEnabled", filter.isEnabled)
        return try Row.fetchAll(
            sql,
            sql: "SELECT * FROM service WHERE \(wanted.sql) ORDER BY type, id",
            arguments: wanted.arguments()
        ).map(service)
    }

    func saveService(_ service: ServiceRecord) throws {
        try sql.execute(
            sql: """
                INSERT INTO service (id, type, name, isEnabled, isOwn, description, extra)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET type = excluded.type, name = excluded.name,
                    isEnabled = excluded.isEnabled, isOwn = excluded.isOwn,
                    description = excluded.description, extra = excluded.extra
                """,
            arguments: [
                service.id, service.type, service.name, service.isEnabled, service.isOwn,
                service.description, JSONValue.object(service.extra).canonicalText,
            ]
        )
    }

    func removeService(id: String) throws {
        try sql.execute(sql: "DELETE FROM service WHERE id = ?", arguments: [id])
    }
}

// MARK: - Endpoints

extension Transaction {
    private func endpoint(_ row: Row) -> EndpointRecord {
        EndpointRecord(
            id: row["id"],
            serviceID: row["serviceID"],
            regionID: row["regionID"],
            // The schema allows no other text.
            interface: EndpointInterface(rawValue: row["interface"]) ?? .public,
            url: row["url"],
            isEnabled: row["isEnabled"],
            isOwn: row["isOwn"],
            extra: JSONValue(column: row["extra"]).members ?? [:]
        )
    }

    func endpoint(id: String) throws -> EndpointRecord? {
        try Row.fetchOne(sql, sql: "SELECT * FROM endpoint WHERE id = ?", arguments: [id])
            .map(endpoint)
    }

    func endpoints(_ filter: CatalogFilter) throws -> [EndpointRecord] {
        var wanted = Conditions()
        wanted.add("serviceID", filter.serviceID)
        wanted.add("regionID", filter.regionID)
        wanted.add("interface", filter.interface)
        wanted.add("isEnabled", filter.isEnabled)
        if let projectID = filter.projectID {
            wanted.add(
                raw: "id IN (SELECT endpointID FROM project_endpoint WHERE projectID = ?)",
                [projectID]
            )
        }
        return try Row.fetchAll(
            sql,
            sql: "SELECT * FROM endpoint WHERE \(wanted.sql) ORDER BY serviceID, id",
            arguments: wanted.arguments()
        ).map(endpoint)
    }

    func saveEndpoint(_ endpoint: EndpointRecord) throws {
        try sql.execute(
            sql: """
                INSERT INTO endpoint
                    (id, serviceID, regionID, interface, url, isEnabled, isOwn, extra)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET serviceID = excluded.serviceID,
                    regionID = excluded.regionID, interface = excluded.interface,
                    url = excluded.url, isEnabled = excluded.isEnabled, isOwn = excluded.isOwn,
                    extra = excluded.extra
                """,
            arguments: [
                endpoint.id, endpoint.serviceID, endpoint.regionID, endpoint.interface.rawValue,
                endpoint.url, endpoint.isEnabled, endpoint.isOwn,
                JSONValue.object(endpoint.extra).canonicalText,
            ]
        )
    }

    func removeEndpoint(id: String) throws {
        try sql.execute(sql: "DELETE FROM endpoint WHERE id = ?", arguments: [id])
    }

    func give(endpoint endpointID: String, toProject projectID: String) throws {
        try sql.execute(
            sql: """
                INSERT INTO project_endpoint (projectID, endpointID) VALUES (?, ?)
                ON CONFLICT DO NOTHING
                """,
            arguments: [projectID, endpointID]
        )
    }

    func take(endpoint endpointID: String, fromProject projectID: String) throws {
        try sql.execute(
            sql: "DELETE FROM project_endpoint WHERE projectID = ? AND endpointID = ?",
            arguments: [projectID, endpointID]
        )
    }

    func isGiven(endpoint endpointID: String, toProject projectID: String) throws -> Bool {
        try Row.fetchOne(
            sql,
            sql: "SELECT 1 FROM project_endpoint WHERE projectID = ? AND endpointID = ?",
            arguments: [projectID, endpointID]
        ) != nil
    }

    /// The projects that an endpoint is given to.
    func projectIDs(withEndpoint endpointID: String) throws -> [String] {
        try String.fetchAll(
            sql,
            sql: "SELECT projectID FROM project_endpoint WHERE endpointID = ? ORDER BY projectID",
            arguments: [endpointID]
        )
    }

    /// What a token for this project shows: everything enabled, or what the project is given.
    func catalog(forProject projectID: String?) throws -> [CatalogEntry] {
        var filter = CatalogFilter(isEnabled: true)
        let services = try services(filter)
        filter.projectID = projectID
        var endpoints = projectID == nil ? [] : try self.endpoints(filter)
        if endpoints.isEmpty {
            filter.projectID = nil
            endpoints = try self.endpoints(filter)
        }
        let byService = Dictionary(grouping: endpoints, by: \.serviceID)
        return services.map { CatalogEntry(service: $0, endpoints: byService[$0.id] ?? []) }
    }
}

// MARK: - The controller's own

extension Transaction {
    /// Brings the controller's own services in step with what the configuration says.
    func synchronize(_ catalog: Catalog) throws {
        if try region(id: catalog.region) == nil { try saveRegion(Region(id: catalog.region)) }
        let names = catalog.services.map(\.name)
        for old in try services(CatalogFilter()) where old.isOwn && !names.contains(old.id) {
            try removeService(id: old.id)
        }
        for own in catalog.services {
            var service = try service(id: own.name) ?? ServiceRecord(id: own.name, type: own.type)
            service.type = own.type
            service.name = own.name
            service.isOwn = true
            try saveService(service)
            for interface in EndpointInterface.allCases {
                let id = "\(own.name)-\(interface.rawValue)"
                var endpoint =
                    try endpoint(id: id)
                    ?? EndpointRecord(
                        id: id,
                        serviceID: own.name,
                        interface: interface,
                        url: own.url
                    )
                endpoint.serviceID = own.name
                endpoint.regionID = catalog.region
                endpoint.url = own.url
                endpoint.isOwn = true
                try saveEndpoint(endpoint)
            }
        }
    }
}

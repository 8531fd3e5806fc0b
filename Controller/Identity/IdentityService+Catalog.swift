import Basics
import HTTP
import Store

/// Regions, services and endpoints: everybody with a scope sees them, the system's admin changes them.
extension IdentityService {
    // MARK: - Regions

    func regions(_ filter: CatalogFilter, as principal: Principal) async throws -> [Region] {
        try await database.read { try $0.regions(filter) }
    }

    func region(_ id: String, as principal: Principal) async throws -> Region {
        guard let region = try await database.read({ try $0.region(id: id) }) else {
            throw Self.missing("region", id)
        }
        return region
    }

    func createRegion(_ edit: CatalogEdit, as principal: Principal) async throws -> Region {
        try principal.requireEverything(to: "create a region")
        let id = edit.id ?? identifier()
        try Self.checkRegionID(id)
        return try await change(.made("region", id), by: principal) { transaction in
            guard try transaction.region(id: id) == nil else {
                throw Fault(
                    .conflict,
                    "cannot create region \(id): there is one already; choose another name"
                )
            }
            return try Self.save(Region(id: id), edit, transaction)
        }
    }

    func updateRegion(
        _ id: String,
        _ edit: CatalogEdit,
        as principal: Principal
    ) async throws -> Region {
        try principal.requireEverything(to: "change region \(id.prefix(64))")
        return try await change(.changed("region", id), by: principal) { transaction in
            guard let region = try transaction.region(id: id) else {
                throw Self.missing("region", id)
            }
            return try Self.save(region, edit, transaction)
        }
    }

    private static func save(
        _ region: Region,
        _ edit: CatalogEdit,
        _ transaction: Transaction
    ) throws -> Region {
        var region = region
        if let parent = edit.parentID { region.parentID = parent.isEmpty ? nil : parent }
        var above = region.parentID
        while let id = above {
            guard id != region.id, let parent = try transaction.region(id: id) else {
                throw Fault(
                    .invalid,
                    "cannot put region \(region.id) below \(id): it is missing, or below the region itself"
                )
            }
            above = parent.parentID
        }
        region.description = edit.description ?? region.description
        region.extra.merge(edit.extra) { _, new in new }
        try transaction.saveRegion(region)
        return region
    }

    func deleteRegion(_ id: String, as principal: Principal) async throws {
        try principal.requireEverything(to: "delete region \(id.prefix(64))")
        try await change(.removed("region", id), by: principal) { transaction in
            guard try transaction.region(id: id) != nil else { throw Self.missing("region", id) }
            guard try !transaction.isUsed(region: id) else {
                throw Fault(
                    .forbidden,
                    "cannot delete region \(id): it has endpoints or regions below it; delete them first"
                )
            }
            try transaction.removeRegion(id: id)
        }
    }

    // MARK: - Services

    func services(
        _ filter: CatalogFilter,
        as principal: Principal
    ) async throws -> [ServiceRecord] {
        try Self.requireScope(of: principal)
        return try await database.read { try $0.services(filter) }
    }

    func service(_ id: String, as principal: Principal) async throws -> ServiceRecord {
        try Self.requireScope(of: principal)
        guard let service = try await database.read({ try $0.service(id: id) }) else {
            throw Self.missing("service", id)
        }
        return service
    }

    func createService(
        _ edit: CatalogEdit,
        as principal: Principal
    ) async throws -> ServiceRecord {
        try principal.requireEverything(to: "create a service")
        guard let type = edit.type, !type.isEmpty else {
            throw Fault(.invalid, "cannot create a service without a type; give one")
        }
        let service = ServiceRecord(id: identifier(), type: type)
        return try await change(.made("service", service.id), by: principal) {
            try Self.save(service, edit, $0)
        }
    }

    func updateService(
        _ id: String,
        _ edit: CatalogEdit,
        as principal: Principal
    ) async throws -> ServiceRecord {
        try principal.requireEverything(to: "change service \(id.prefix(64))")
        return try await change(.changed("service", id, edit.isEnabled), by: principal) {
            transaction in
            guard let service = try transaction.service(id: id) else {
                throw Self.missing("service", id)
            }
            guard
                !service.isOwn
                    || (edit.type ?? service.type) == service.type
                        && (edit.name ?? service.name) == service.name
            else { throw Self.ownThing("service", id) }
            return try Self.save(service, edit, transaction)
        }
    }

    private static func save(
        _ service: ServiceRecord,
        _ edit: CatalogEdit,
        _ transaction: Transaction
    ) throws -> ServiceRecord {
        var service = service
        service.type = edit.type ?? service.type
        service.name = edit.name ?? service.name
        service.isEnabled = edit.isEnabled ?? service.isEnabled
        service.description = edit.description ?? service.description
        service.extra.merge(edit.extra) { _, new in new }
        try transaction.saveService(service)
        return service
    }

    func deleteService(_ id: String, as principal: Principal) async throws {
        try principal.requireEverything(to: "delete service \(id.prefix(64))")
        try await change(.removed("service", id), by: principal) { transaction in
            guard let service = try transaction.service(id: id) else {
                throw Self.missing("service", id)
            }
            guard !service.isOwn else { throw Self.ownThing("service", id) }
            try transaction.removeService(id: id)
        }
    }

    // MARK: - Endpoints

    func endpoints(
        _ filter: CatalogFilter,
        as principal: Principal
    ) async throws -> [EndpointRecord] {
        try Self.requireScope(of: principal)
        return try await database.read { try $0.endpoints(filter) }
    }

    func endpoint(_ id: String, as principal: Principal) async throws -> EndpointRecord {
        try Self.requireScope(of: principal)
        guard let endpoint = try await database.read({ try $0.endpoint(id: id) }) else {
            throw Self.missing("endpoint", id)
        }
        return endpoint
    }

    func createEndpoint(
        _ edit: CatalogEdit,
        as principal: Principal
    ) async throws -> EndpointRecord {
        try principal.requireEverything(to: "create an endpoint")
        guard let serviceID = edit.serviceID, let interface = edit.interface, let url = edit.url
        else {
            throw Fault(
                .invalid,
                "cannot create an endpoint: give service_id, interface and url"
            )
        }
        let endpoint = EndpointRecord(
            id: identifier(),
            serviceID: serviceID,
            interface: interface,
            url: url
        )
        return try await change(.made("endpoint", endpoint.id), by: principal) {
            try Self.save(endpoint, edit, $0)
        }
    }

    func updateEndpoint(
        _ id: String,
        _ edit: CatalogEdit,
        as principal: Principal
    ) async throws -> EndpointRecord {
        try principal.requireEverything(to: "change endpoint \(id.prefix(64))")
        return try await change(.changed("endpoint", id, edit.isEnabled), by: principal) {
            transaction in
            guard let endpoint = try transaction.endpoint(id: id) else {
                throw Self.missing("endpoint", id)
            }
            guard
                !endpoint.isOwn
                    || (edit.url ?? endpoint.url) == endpoint.url
                        && (edit.serviceID ?? endpoint.serviceID) == endpoint.serviceID
                        && (edit.interface ?? endpoint.interface) == endpoint.interface
                        && (edit.regionID ?? endpoint.regionID) == endpoint.regionID
            else { throw Self.ownThing("endpoint", id) }
            return try Self.save(endpoint, edit, transaction)
        }
    }

    private static func save(
        _ endpoint: EndpointRecord,
        _ edit: CatalogEdit,
        _ transaction: Transaction
    ) throws -> EndpointRecord {
        var endpoint = endpoint
        endpoint.serviceID = edit.serviceID ?? endpoint.serviceID
        endpoint.interface = edit.interface ?? endpoint.interface
        endpoint.url = edit.url ?? endpoint.url
        endpoint.isEnabled = edit.isEnabled ?? endpoint.isEnabled
        if let region = edit.regionID { endpoint.regionID = region.isEmpty ? nil : region }
        endpoint.extra.merge(edit.extra) { _, new in new }
        guard try transaction.service(id: endpoint.serviceID) != nil else {
            throw Fault(
                .invalid,
                "cannot use service \(endpoint.serviceID.prefix(64)): there is none with this identifier"
            )
        }
        if let region = endpoint.regionID, try transaction.region(id: region) == nil {
            // As Keystone does for clients that know no regions.
            try checkRegionID(region)
            try transaction.saveRegion(Region(id: region))
        }
        guard endpoint.url.contains("://"), endpoint.url.count <= 2048,
            endpoint.url.unicodeScalars.allSatisfy({ $0.value > 0x20 })
        else {
            throw Fault(.invalid, "cannot use this url: write it in full, with its scheme")
        }
        try transaction.saveEndpoint(endpoint)
        return endpoint
    }

    func deleteEndpoint(_ id: String, as principal: Principal) async throws {
        try principal.requireEverything(to: "delete endpoint \(id.prefix(64))")
        try await change(.removed("endpoint", id), by: principal) { transaction in
            guard let endpoint = try transaction.endpoint(id: id) else {
                throw Self.missing("endpoint", id)
            }
            guard !endpoint.isOwn else { throw Self.ownThing("endpoint", id) }
            try transaction.removeEndpoint(id: id)
        }
    }

    // MARK: - Endpoints of projects

    /// What is done with an endpoint and a project.
    enum EndpointGift: Sendable {
        case give, take, check
    }

    /// Shows an endpoint in a project's tokens, or no longer; a project that is given none sees all.
    func gift(
        _ gift: EndpointGift,
        endpoint: String,
        project: String,
        as principal: Principal
    ) async throws {
        if gift == .check {
            try Self.requireReadingAll(principal)
        } else {
            try principal.requireEverything(to: "give endpoints to projects")
        }
        let body: @Sendable (Transaction) throws -> Void = { transaction in
            guard try transaction.endpoint(id: endpoint) != nil else {
                throw Self.missing("endpoint", endpoint)
            }
            guard try transaction.project(id: project) != nil else {
                throw DirectoryKind.project.missing(project)
            }
            if gift == .give {
                return try transaction.give(endpoint: endpoint, toProject: project)
            }
            guard try transaction.isGiven(endpoint: endpoint, toProject: project) else {
                throw Fault(
                    .notFound,
                    "cannot find endpoint \(endpoint.prefix(64)) at project \(project.prefix(64)): it was not given"
                )
            }
            if gift == .take { try transaction.take(endpoint: endpoint, fromProject: project) }
        }
        if gift == .check {
            try await database.read(body)
        } else {
            try await change(.changed("endpoint", endpoint), by: principal, body)
        }
    }

    func endpoints(
        ofProject id: String,
        as principal: Principal
    ) async throws -> [EndpointRecord] {
        try Self.requireReadingAll(principal)
        return try await database.read { try $0.endpoints(CatalogFilter(projectID: id)) }
    }

    func projects(withEndpoint id: String, as principal: Principal) async throws -> [Project] {
        try Self.requireReadingAll(principal)
        return try await database.read { transaction in
            let ids = try transaction.projectIDs(withEndpoint: id)
            return try transaction.projects(DirectoryFilter(), withIDs: ids)
        }
    }

    // MARK: - Inside

    private static func requireReadingAll(_ principal: Principal) throws {
        guard principal.reads == .everything else {
            throw Fault(
                .forbidden,
                "cannot see which endpoints projects have: it takes a role over the whole installation"
            )
        }
    }

    private static func requireScope(of principal: Principal) throws {
        guard principal.scope != .none else {
            throw Fault(.forbidden, "cannot see the catalog: the token has no scope; take one")
        }
    }

    private static func checkRegionID(_ id: String) throws {
        guard (1...255).contains(id.count), !id.contains("/"),
            id.unicodeScalars.allSatisfy({ $0.value > 0x20 && $0.value != 0x7f })
        else {
            throw Fault(
                .invalid,
                "cannot take the region's name: use 1 to 255 characters, no blanks and no “/”"
            )
        }
    }

    private static func missing(_ kind: String, _ id: String) -> Fault {
        Fault(
            .notFound,
            "cannot find \(kind) \(id.prefix(64)): there is none with this identifier"
        )
    }

    private static func ownThing(_ kind: String, _ id: String) -> Fault {
        Fault(
            .forbidden,
            "cannot change \(kind) \(id): it is the controller's own and follows api.public_url"
        )
    }
}

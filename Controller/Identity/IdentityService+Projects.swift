import Basics
import HTTP
import Store

/// A project with what is above and below it, as far as it was asked for.
struct ProjectTree: Sendable {
    var project: Project
    /// Nearest first.
    var above: [Project] = []
    var below: [Project] = []
}

/// Domains and projects.
extension IdentityService {
    // MARK: - What is one's own

    /// The enabled projects in which the asker has a role.
    func ownProjects(as principal: Principal) async throws -> [Project] {
        try await database.read { transaction in
            if case .some = principal.delegation {
                guard let id = principal.projectID else { return [] }
                return try transaction.project(id: id).map { [$0] } ?? []
            }
            return try transaction.projects(
                DirectoryFilter(isEnabled: true),
                ofUser: principal.userID
            )
        }
    }

    func ownDomains(as principal: Principal) async throws -> [Domain] {
        guard principal.delegation == nil else { return [] }
        return try await database.read { try $0.domains(ofUser: principal.userID) }
    }

    /// Whether the asker has a role over the whole installation.
    func hasSystemRole(_ principal: Principal) async throws -> Bool {
        guard principal.delegation == nil else { return false }
        return try await database.read { transaction in
            try !transaction.effectiveRoles(of: .user(principal.userID), in: .system).isEmpty
        }
    }

    // MARK: - Domains

    /// All domains within reach; for others their own.
    func domains(_ filter: DirectoryFilter, as principal: Principal) async throws -> [Domain] {
        try await database.read { transaction in
            switch principal.reads {
            case .everything: return try transaction.domains(filter)
            case .domain(let id): return try transaction.domains(filter, in: [id])
            case .nothing: return try transaction.domains(filter, in: [principal.userDomainID])
            }
        }
    }

    func domain(_ id: String, as principal: Principal) async throws -> Domain {
        guard id == principal.userDomainID || principal.reads.covers(id),
            let domain = try await database.read({ try $0.domain(id: id) })
        else { throw DirectoryKind.domain.missing(id) }
        return domain
    }

    func createDomain(_ edit: DirectoryEdit, as principal: Principal) async throws -> Domain {
        try principal.requireEverything(to: "create a domain")
        var draft = Domain(id: identifier(), name: try Self.name(edit.name, of: .domain))
        draft.isEnabled = edit.isEnabled ?? true
        try draft.attributes.apply(edit)
        let domain = draft
        return try await change(.made("domain", domain.id), by: principal) { transaction in
            try Self.requireFree(transaction, .domain, domain.name, in: nil, except: domain.id)
            try transaction.saveDomain(domain)
            return domain
        }
    }

    func updateDomain(
        _ id: String,
        _ edit: DirectoryEdit,
        as principal: Principal
    ) async throws -> Domain {
        try principal.requireEverything(to: "change domain \(id.prefix(64))")
        let name = try edit.name.map { try Self.name($0, of: .domain) }
        return try await change(.changed("domain", id, edit.isEnabled), by: principal) {
            transaction in
            guard var domain = try transaction.domain(id: id) else {
                throw DirectoryKind.domain.missing(id)
            }
            try domain.attributes.requireMutable(.domain, domain.name, for: edit)
            if let name {
                try Self.requireFree(transaction, .domain, name, in: nil, except: id)
                domain.name = name
            }
            if edit.isEnabled == false {
                guard id != Domain.id else {
                    throw Fault(
                        .forbidden,
                        "cannot disable domain \(domain.name): the administrator lives in it"
                    )
                }
                domain.generation += 1
            }
            domain.isEnabled = edit.isEnabled ?? domain.isEnabled
            try domain.attributes.apply(edit)
            try transaction.saveDomain(domain)
            return domain
        }
    }

    /// Takes everything in it with it, which is why it must be disabled first.
    func deleteDomain(_ id: String, as principal: Principal) async throws {
        try principal.requireEverything(to: "delete domain \(id.prefix(64))")
        try await change(.removed("domain", id), by: principal) { transaction in
            guard let domain = try transaction.domain(id: id) else {
                throw DirectoryKind.domain.missing(id)
            }
            try domain.attributes.requireMutable(.domain, domain.name, for: nil)
            guard !domain.isEnabled, id != Domain.id else {
                throw Fault(
                    .forbidden,
                    "cannot delete domain \(domain.name): it is enabled; disable it first"
                )
            }
            try transaction.remove(.domain, id: id)
        }
    }

    // MARK: - Projects

    /// All projects within reach; for others those in which they have a role.
    func projects(_ filter: DirectoryFilter, as principal: Principal) async throws -> [Project] {
        guard principal.reads != .nothing else {
            return try await database.read { try $0.projects(filter, ofUser: principal.userID) }
        }
        guard let filter = try principal.narrowed(filter, to: "list projects") else { return [] }
        return try await database.read { try $0.projects(filter) }
    }

    /// A project within reach, or one in which the asker has a role.
    func project(_ id: String, as principal: Principal) async throws -> ProjectTree {
        try await database.read { transaction in
            func isVisible(_ project: Project) throws -> Bool {
                if principal.reads.covers(project.domainID) { return true }
                return try !transaction.effectiveRoles(
                    of: .user(principal.userID),
                    in: .project(project.id)
                ).isEmpty
            }
            guard let project = try transaction.project(id: id), try isVisible(project) else {
                throw DirectoryKind.project.missing(id)
            }
            return ProjectTree(
                project: project,
                above: try transaction.ancestors(ofProject: id).filter(isVisible),
                below: try transaction.descendants(ofProject: id).filter(isVisible)
            )
        }
    }

    func createProject(_ edit: DirectoryEdit, as principal: Principal) async throws -> Project {
        try principal.requireWriting(to: "create a project")
        let name = try Self.name(edit.name, of: .project)
        let tags = try edit.tags.map(Self.tags) ?? []
        let id = identifier()
        return try await change(.made("project", id), by: principal) { transaction in
            let parent = try Self.parent(edit, for: principal, transaction)
            let domainID = try principal.newDomain(
                edit.domainID ?? parent?.domainID,
                for: "project \(name)"
            )
            guard try transaction.domain(id: domainID) != nil else {
                throw DirectoryKind.domain.missing(domainID)
            }
            guard parent.map({ $0.domainID == domainID }) ?? true else {
                throw Fault(.invalid, "cannot create project \(name): its parent is elsewhere")
            }
            try Self.requireFree(transaction, .project, name, in: domainID, except: id)
            var project = Project(
                id: id,
                domainID: domainID,
                parentID: parent?.id,
                name: name,
                isEnabled: edit.isEnabled ?? true,
                tags: tags
            )
            try project.attributes.apply(edit)
            try transaction.saveProject(project)
            return project
        }
    }

    /// The project above a new one; a domain as the parent means none.
    private static func parent(
        _ edit: DirectoryEdit,
        for principal: Principal,
        _ transaction: Transaction
    ) throws -> Project? {
        guard let id = edit.parentID, !id.isEmpty, id != edit.domainID else { return nil }
        guard let parent = try transaction.project(id: id),
            principal.writes.covers(parent.domainID)
        else {
            if let domain = try transaction.domain(id: id), principal.writes.covers(domain.id) {
                return nil
            }
            throw DirectoryKind.project.missing(id)
        }
        guard try transaction.ancestors(ofProject: id).count + 2 <= Project.depthMax else {
            throw Fault(
                .forbidden,
                "cannot create a project below \(parent.name): \(Project.depthMax) levels are the most"
            )
        }
        return parent
    }

    func updateProject(
        _ id: String,
        _ edit: DirectoryEdit,
        as principal: Principal
    ) async throws -> Project {
        let name = try edit.name.map { try Self.name($0, of: .project) }
        let tags = try edit.tags.map(Self.tags)
        return try await change(.changed("project", id, edit.isEnabled), by: principal) {
            transaction in
            var project = try transaction.changeableProject(id, by: principal)
            try project.attributes.requireMutable(.project, project.name, for: edit)
            try Self.requireSameDomain(edit.domainID, project.domainID)
            guard edit.parentID == nil || edit.parentID == project.parentID ?? project.domainID
            else {
                throw Fault(.forbidden, "cannot move project \(project.name) to another parent")
            }
            if let name {
                try Self.requireFree(transaction, .project, name, in: project.domainID, except: id)
            }
            let isOwner = try transaction.adminProjectID() == id
            guard !isOwner || edit.isEnabled != false && name ?? project.name == project.name
            else {
                throw Fault(
                    .forbidden,
                    "cannot disable or rename project \(project.name): the installation belongs to it"
                )
            }
            if edit.isEnabled == false {
                guard try !transaction.descendants(ofProject: id).contains(where: \.isEnabled)
                else {
                    throw Fault(
                        .forbidden,
                        "cannot disable project \(project.name): projects below it are enabled; disable them first"
                    )
                }
                project.generation += 1
            }
            project.name = name ?? project.name
            project.isEnabled = edit.isEnabled ?? project.isEnabled
            project.tags = tags ?? project.tags
            try project.attributes.apply(edit)
            try transaction.saveProject(project)
            return project
        }
    }

    func deleteProject(_ id: String, as principal: Principal) async throws {
        try await change(.removed("project", id), by: principal) { transaction in
            let project = try transaction.changeableProject(id, by: principal)
            try project.attributes.requireMutable(.project, project.name, for: nil)
            guard try transaction.adminProjectID() != id else {
                throw Fault(
                    .forbidden,
                    "cannot delete project \(project.name): the installation belongs to it"
                )
            }
            guard try transaction.descendants(ofProject: id).isEmpty else {
                throw Fault(
                    .forbidden,
                    "cannot delete project \(project.name): it has projects below it; delete them first"
                )
            }
            try transaction.remove(.project, id: id)
        }
    }

    /// Tags as the API takes them.
    private static func tags(_ tags: [String]) throws -> [String] {
        guard tags.count <= 80, Set(tags).count == tags.count,
            tags.allSatisfy({
                (1...255).contains($0.count) && !$0.contains("/") && !$0.contains(",")
            })
        else {
            throw Fault(
                .invalid,
                "cannot take the tags: 80 at most, each once, of 1 to 255 characters without “/” and “,”"
            )
        }
        return tags
    }
}

extension Transaction {
    fileprivate func changeableProject(_ id: String, by principal: Principal) throws -> Project {
        let project = try principal.changeable(try project(id: id), .project, id) { $0.domainID }
        if try adminProjectID() == id {
            try principal.requireEverything(to: "change project \(project.name)")
        }
        return project
    }
}

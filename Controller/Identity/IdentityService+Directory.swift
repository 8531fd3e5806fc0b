import Basics
import HTTP
import Store

/// Who and what there is, as far as the asker may know.
extension IdentityService {
    /// The projects in which the asker has a role.
    func ownProjects(as principal: Principal) async throws -> [Project] {
        try await database.read { try $0.projects(of: principal.userID) }
    }

    /// The asker's strongest role over the whole installation.
    func ownSystemRole(as principal: Principal) async throws -> Role? {
        try await database.read { try $0.systemRole(of: principal.userID) }
    }

    func users(named name: String?, as principal: Principal) async throws -> [User] {
        try principal.requireSystem(.reader, to: "list users")
        return try await database.read { transaction in
            guard let name else { return try transaction.users() }
            return try transaction.user(name: name).map { [$0] } ?? []
        }
    }

    func user(_ id: String, as principal: Principal) async throws -> User {
        if id != principal.userID { try principal.requireSystem(.reader, to: "see another user") }
        guard let user = try await database.read({ try $0.user(id: id) }) else {
            throw Fault(.notFound, "cannot find user \(id): there is none with this identifier")
        }
        return user
    }

    func projects(ofUser id: String, as principal: Principal) async throws -> [Project] {
        if id != principal.userID {
            try principal.requireSystem(.reader, to: "see another user's projects")
        }
        return try await database.read { try $0.projects(of: id) }
    }

    /// All projects for those who speak for the installation, the asker's own for others.
    func projects(named name: String?, as principal: Principal) async throws -> [Project] {
        let projects = try await database.read { transaction in
            principal.isSystem
                ? try transaction.projects() : try transaction.projects(of: principal.userID)
        }
        guard let name else { return projects }
        return projects.filter { $0.name == name }
    }

    func project(_ id: String, as principal: Principal) async throws -> Project {
        if id != principal.projectID {
            try principal.requireSystem(.reader, to: "see another project")
        }
        guard let project = try await database.read({ try $0.project(id: id) }) else {
            throw Fault(.notFound, "cannot find project \(id): there is none with this identifier")
        }
        return project
    }
}

import Basics
import HTTP
import Store

/// Users, groups, and who is in which.
extension IdentityService {
    // MARK: - Users

    func users(_ filter: DirectoryFilter, as principal: Principal) async throws -> [User] {
        guard let filter = try principal.narrowed(filter, to: "list users") else { return [] }
        return try await database.read { try $0.users(filter) }
    }

    func user(_ id: String, as principal: Principal) async throws -> User {
        try await database.read { try $0.user(id, seenBy: principal) }
    }

    func createUser(_ edit: DirectoryEdit, as principal: Principal) async throws -> User {
        let name = try Self.name(edit.name, of: .user)
        let domainID = try principal.newDomain(edit.domainID, for: "user \(name)")
        var draft = User(id: identifier(), domainID: domainID, name: name)
        draft.isEnabled = edit.isEnabled ?? true
        draft.defaultProjectID = edit.defaultProjectID
        try draft.attributes.apply(edit)
        if let password = edit.password, !password.isEmpty {
            draft.passwordHash = try await hash(password)
        }
        let user = draft
        return try await change(.made("user", user.id), by: principal) { transaction in
            guard try transaction.domain(id: domainID) != nil else {
                throw DirectoryKind.domain.missing(domainID)
            }
            try Self.requireFree(transaction, .user, name, in: domainID, except: user.id)
            try transaction.saveUser(user)
            return user
        }
    }

    func updateUser(
        _ id: String,
        _ edit: DirectoryEdit,
        as principal: Principal
    ) async throws -> User {
        try principal.requireWriting(to: "change user \(id.prefix(64))")
        let name = try edit.name.map { try Self.name($0, of: .user) }
        var newHash: Secret?
        if let password = edit.password, !password.isEmpty { newHash = try await hash(password) }
        let hash = newHash
        return try await change(.changed("user", id, edit.isEnabled), by: principal) {
            transaction in
            var user = try principal.changeable(try transaction.user(id: id), .user, id) {
                $0.domainID
            }
            try transaction.requirePower(
                of: principal,
                over: .user(id),
                to: "change user \(user.name)"
            )
            try Self.requireSameDomain(edit.domainID, user.domainID)
            if let name {
                try Self.requireFree(transaction, .user, name, in: user.domainID, except: id)
                user.name = name
            }
            if edit.password != nil { user.passwordHash = hash }
            // Whoever is let in again signs in again.
            if edit.password != nil || edit.isEnabled == false { user.generation += 1 }
            user.isEnabled = edit.isEnabled ?? user.isEnabled
            if let project = edit.defaultProjectID {
                user.defaultProjectID = project.isEmpty ? nil : project
            }
            try user.attributes.apply(edit)
            try transaction.saveUser(user)
            return user
        }
    }

    func deleteUser(_ id: String, as principal: Principal) async throws {
        try await change(.removed("user", id), by: principal) { transaction in
            let user = try principal.changeable(try transaction.user(id: id), .user, id) {
                $0.domainID
            }
            try transaction.requirePower(
                of: principal,
                over: .user(id),
                to: "delete user \(user.name)"
            )
            try transaction.remove(.user, id: id)
        }
    }

    /// Projects in which a user has a role, as far as the asker may see them.
    func projects(
        ofUser id: String,
        _ filter: DirectoryFilter,
        as principal: Principal
    ) async throws -> [Project] {
        try await database.read { transaction in
            _ = try transaction.user(id, seenBy: principal)
            if id == principal.userID { return try transaction.projects(filter, ofUser: id) }
            guard let filter = try principal.narrowed(filter, to: "list projects") else {
                return []
            }
            return try transaction.projects(filter, ofUser: id)
        }
    }

    // MARK: - Groups

    func groups(_ filter: DirectoryFilter, as principal: Principal) async throws -> [Group] {
        guard let filter = try principal.narrowed(filter, to: "list groups") else { return [] }
        return try await database.read { try $0.groups(filter) }
    }

    func group(_ id: String, as principal: Principal) async throws -> Group {
        try await database.read { transaction in
            try principal.seen(try transaction.group(id: id), .group, id) { $0.domainID }
        }
    }

    func createGroup(_ edit: DirectoryEdit, as principal: Principal) async throws -> Group {
        let name = try Self.name(edit.name, of: .group)
        let domainID = try principal.newDomain(edit.domainID, for: "group \(name)")
        var draft = Group(id: identifier(), domainID: domainID, name: name)
        try draft.attributes.apply(edit)
        let group = draft
        return try await change(.made("group", group.id), by: principal) { transaction in
            guard try transaction.domain(id: domainID) != nil else {
                throw DirectoryKind.domain.missing(domainID)
            }
            try Self.requireFree(transaction, .group, name, in: domainID, except: group.id)
            try transaction.saveGroup(group)
            return group
        }
    }

    func updateGroup(
        _ id: String,
        _ edit: DirectoryEdit,
        as principal: Principal
    ) async throws -> Group {
        let name = try edit.name.map { try Self.name($0, of: .group) }
        return try await change(.changed("group", id), by: principal) { transaction in
            var group = try transaction.changeableGroup(id, by: principal)
            try Self.requireSameDomain(edit.domainID, group.domainID)
            if let name {
                try Self.requireFree(transaction, .group, name, in: group.domainID, except: id)
                group.name = name
            }
            try group.attributes.apply(edit)
            try transaction.saveGroup(group)
            return group
        }
    }

    /// Its members lose what they had by it, and their tokens end.
    func deleteGroup(_ id: String, as principal: Principal) async throws {
        try await change(.removed("group", id), by: principal) { transaction in
            _ = try transaction.changeableGroup(id, by: principal)
            try transaction.endTokens(ofGroup: id)
            try transaction.remove(.group, id: id)
        }
    }

    func groups(
        ofUser id: String,
        _ filter: DirectoryFilter,
        as principal: Principal
    ) async throws -> [Group] {
        try await database.read { transaction in
            _ = try transaction.user(id, seenBy: principal)
            if id == principal.userID { return try transaction.groups(filter, ofUser: id) }
            guard let filter = try principal.narrowed(filter, to: "list groups") else { return [] }
            return try transaction.groups(filter, ofUser: id)
        }
    }

    func users(
        ofGroup id: String,
        _ filter: DirectoryFilter,
        as principal: Principal
    ) async throws -> [User] {
        try await database.read { transaction in
            _ = try principal.seen(try transaction.group(id: id), .group, id) { $0.domainID }
            guard let filter = try principal.narrowed(filter, to: "list users") else { return [] }
            return try transaction.users(filter, ofGroup: id)
        }
    }

    // MARK: - Members

    /// - Throws: `Fault` of kind `notFound` when the user is not in the group.
    func checkMember(_ userID: String, ofGroup id: String, as principal: Principal) async throws {
        try await database.read { transaction in
            if userID != principal.userID {
                _ = try principal.seen(try transaction.group(id: id), .group, id) { $0.domainID }
                _ = try transaction.user(userID, seenBy: principal)
            }
            try Self.requireMember(transaction, userID, ofGroup: id)
        }
    }

    private static func requireMember(
        _ transaction: Transaction,
        _ userID: String,
        ofGroup id: String
    ) throws {
        guard try transaction.isMember(userID, ofGroup: id) else {
            throw Fault(
                .notFound,
                "cannot find user \(userID.prefix(64)) in group \(id.prefix(64)): it is no member"
            )
        }
    }

    func addMember(_ userID: String, toGroup id: String, as principal: Principal) async throws {
        try await change(.changed("group", id), by: principal) { transaction in
            _ = try transaction.changeableGroup(id, by: principal)
            _ = try principal.changeable(try transaction.user(id: userID), .user, userID) {
                $0.domainID
            }
            try transaction.addMember(userID, toGroup: id)
        }
    }

    func removeMember(
        _ userID: String,
        fromGroup id: String,
        as principal: Principal
    ) async throws {
        try await change(.changed("group", id), by: principal) { transaction in
            _ = try transaction.changeableGroup(id, by: principal)
            try Self.requireMember(transaction, userID, ofGroup: id)
            try transaction.removeMember(userID, fromGroup: id)
        }
    }
}

extension Transaction {
    /// A user that the principal may see: itself, and those within reach.
    fileprivate func user(_ id: String, seenBy principal: Principal) throws -> User {
        let user = try user(id: id)
        if let user, id == principal.userID { return user }
        return try principal.seen(user, .user, id) { $0.domainID }
    }

    /// A group that the principal may change; its members' power is no more than the principal's.
    fileprivate func changeableGroup(_ id: String, by principal: Principal) throws -> Group {
        let group = try principal.changeable(try group(id: id), .group, id) { $0.domainID }
        try requirePower(of: principal, over: .group(id), to: "change group \(group.name)")
        return group
    }
}

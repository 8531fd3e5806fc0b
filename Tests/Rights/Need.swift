import HTTP

/// What it takes, as Ironic's policies (`ironic/common/policy.py`) say it for the Bare Metal service.
package enum Need: String, Sendable, CaseIterable {
    /// Nothing; any valid token.
    case open, token
    /// A role in any project or the system: lists, which narrow themselves.
    case apiReader
    case apiMember, apiManager
    /// A member of the system or a manager of any project.
    case runbookCreator
    case systemReader, systemMember, systemAdmin
    case projectReader, projectMember
    case ownerReader, ownerMember, ownerAdmin
    case memberLesseeAdmin, lesseeAdmin, adminOwnerAdmin, deletion
    /// Not even the system: a project's own.
    case ownAlone
    /// Ours is stricter than Ironic, which lets members of a lessee change some fields.
    case edit

    private var roles: (system: Role?, owner: Role?, lessee: Role?, other: Role?) {
        switch self {
        case .open, .token: (nil, nil, nil, nil)
        case .apiReader: (.reader, .reader, .reader, .reader)
        case .apiMember: (.member, .member, .member, .member)
        case .apiManager: (.manager, .manager, .manager, .manager)
        case .runbookCreator: (.member, .manager, .manager, .manager)
        case .systemReader: (.reader, nil, nil, nil)
        case .systemMember: (.member, nil, nil, nil)
        case .systemAdmin: (.admin, nil, nil, nil)
        case .projectReader: (.reader, .reader, .reader, nil)
        case .projectMember: (.member, .member, .member, nil)
        case .ownerReader: (.reader, .reader, nil, nil)
        case .ownerMember: (.member, .member, nil, nil)
        case .ownerAdmin: (.member, .manager, nil, nil)
        case .memberLesseeAdmin, .edit: (.member, .member, .manager, nil)
        case .lesseeAdmin: (.member, .manager, .manager, nil)
        case .adminOwnerAdmin: (.admin, .manager, nil, nil)
        case .deletion: (.admin, .admin, nil, nil)
        case .ownAlone: (nil, .manager, nil, nil)
        }
    }

    /// Whether it lets this persona.
    package func allows(_ persona: Persona) -> Bool {
        if self == .open { return true }
        if self == .token { return persona.place != .nobody }
        let least: Role? =
            switch persona.place {
            case .nobody, .unscoped, .domain: nil
            case .system: roles.system
            case .owner: roles.owner
            case .lessee: roles.lessee
            case .other: roles.other
            }
        guard let least, let role = persona.role else { return false }
        return role >= least
    }
}

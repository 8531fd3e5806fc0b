import Basics
import CHostTools
import Glibc

/// A request in C's terms: the memory that `rdo_child_prepare` reads.
struct Launch {
    private let request: BackgroundProcess.Request
    private let path: String
    private let account: Account?

    private struct Account {
        let user: uid_t
        let group: gid_t
        let groups: [gid_t]
        let home: String
    }

    /// - Throws: `Fault` (`unavailable`) when the user does not exist.
    init(_ request: BackgroundProcess.Request, path: String) throws {
        self.request = request
        self.path = path
        account = try request.user.map(Self.account)
    }

    /// Forks the child, which waits.
    /// - Returns: 0 or an `errno`.
    func prepare(output: Int32, child: inout rdo_child) -> Int32 {
        let (entries, listenIndex) = environmentEntries()
        let arguments = ([path] + request.arguments).map { strdup($0) } + [nil]
        let environment = entries.map { strdup($0) } + [nil]
        let directory = strdup(request.directory)
        let program = strdup(path)
        let namespace = request.networkNamespace.map { strdup("/run/netns/\($0)") } ?? nil
        defer {
            for text in arguments + environment + [directory, program, namespace] { free(text) }
        }
        guard let program else { return ENOMEM }
        let descriptors = request.sockets.map(\.descriptor)
        let groups = account?.groups ?? []
        return arguments.withUnsafeBufferPointer { arguments in
            environment.withUnsafeBufferPointer { environment in
                descriptors.withUnsafeBufferPointer { descriptors in
                    groups.withUnsafeBufferPointer { groups in
                        guard let vector = arguments.baseAddress,
                            let variables = environment.baseAddress
                        else { return EINVAL }
                        var request = rdo_child_request(
                            path: program,
                            arguments: vector,
                            environment: variables,
                            listen_pid: listenIndex.flatMap { environment[$0] },
                            directory: directory,
                            network_namespace: namespace,
                            output: output,
                            descriptors: descriptors.baseAddress,
                            descriptor_count: Int32(descriptors.count),
                            niceness: Int32(self.request.niceness),
                            changes_user: account == nil ? 0 : 1,
                            user: account?.user ?? 0,
                            group: account?.group ?? 0,
                            groups: groups.baseAddress,
                            group_count: Int32(groups.count)
                        )
                        return rdo_child_prepare(&request, &child)
                    }
                }
            }
        }
    }

    /// The child's variables, sorted, and the place of `LISTEN_PID`, which the child itself fills in.
    private func environmentEntries() -> (entries: [String], listenIndex: Int?) {
        var variables = Tool.childEnvironment(adding: nil)
        for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] { variables[name] = nil }
        if let account {
            variables["HOME"] = account.home
            variables["USER"] = request.user
            variables["LOGNAME"] = request.user
        }
        variables.merge(request.environment) { $1 }
        if !request.sockets.isEmpty {
            variables["LISTEN_FDS"] = String(request.sockets.count)
            variables["LISTEN_FDNAMES"] = request.sockets.map(\.name).joined(separator: ":")
        }
        var entries = variables.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        guard !request.sockets.isEmpty else { return (entries, nil) }
        entries.append("LISTEN_PID=0000000000")
        return (entries, entries.count - 1)
    }

    private static func account(_ name: String) throws -> Account {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 << 10)
        guard getpwnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else {
            throw Fault(
                .unavailable,
                "cannot start a program as user \(name): there is no such user"
            )
        }
        var groups = [gid_t](repeating: 0, count: 64)
        var count = Int32(groups.count)
        guard getgrouplist(name, entry.pw_gid, &groups, &count) >= 0 else {
            throw Fault(
                .unavailable,
                "cannot start a program as user \(name): it has more than 64 groups"
            )
        }
        return Account(
            user: entry.pw_uid,
            group: entry.pw_gid,
            groups: Array(groups.prefix(Int(count))),
            home: String(cString: entry.pw_dir)
        )
    }
}

import Basics
import Glibc

/// A user of the host.
package struct Account: Sendable, Equatable {
    package let name: String
    package let user: UInt32
    package let group: UInt32
    package let home: String

    /// An account whose numbers are known.
    package init(name: String, user: UInt32, group: UInt32, home: String) {
        self.name = name
        self.user = user
        self.group = group
        self.home = home
    }

    /// Looks a user up; `nil` when there is none.
    package init?(named name: String) {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 << 10)
        guard getpwnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else {
            return nil
        }
        self.name = name
        user = entry.pw_uid
        group = entry.pw_gid
        home = String(cString: entry.pw_dir)
    }

    /// The person behind the command: who called `sudo`, else who runs it.
    package static func operatorAccount(environment: [String: String]) -> Account? {
        if let name = environment["SUDO_USER"], let account = Account(named: name) {
            return account
        }
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 << 10)
        guard getpwuid_r(geteuid(), &entry, &buffer, buffer.count, &found) == 0, found != nil else {
            return nil
        }
        return Account(named: String(cString: entry.pw_name))
    }

    /// Makes this user the owner of a file or folder; symbolic links are not followed.
    package func own(_ path: String) throws {
        guard lchown(path, user, group) == 0 else {
            throw Fault(
                .unavailable,
                "cannot give \(path) to user \(name): \(String(cString: strerror(errno)).lowercased())"
            )
        }
    }
}

/// Whether this process may change the host.
package var isRoot: Bool { geteuid() == 0 }

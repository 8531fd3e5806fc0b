package import Basics
import Crypto
package import HTTP
import Protocol
import Synchronization

/// Checks a name and a password; Identity does it, with its lock-out.
package protocol DashboardSignIn: Sendable {
    /// Who signed in.
    /// - Throws: `Fault` `.unauthenticated` or `.tooMany`, without saying which part was wrong.
    func signIn(user: String, password: Secret, address: String) async throws -> Principal
}

/// Who is signed in at the dashboard, in memory: a restart signs everybody out.
package final class DashboardSessions: Sendable {
    /// One signed-in browser.
    package struct Session: Sendable {
        package let userName: String
        /// Must come with every form, since a cookie alone is also sent by foreign pages.
        package let csrf: String
        let expires: Timestamp
    }

    /// Sessions at one time; the oldest is ended for a new one.
    package static let sessionsMax = 256
    /// Life of a session.
    package static let life: Duration = .seconds(8 * 3600)

    private let sessions = Mutex<[[UInt8]: Session]>([:])
    private let time: any TimeSource
    private let random: any RandomSource

    package init(time: any TimeSource, random: any RandomSource) {
        self.time = time
        self.random = random
    }

    /// Begins a session.
    /// - Returns: the cookie's value; only its digest is kept.
    package func begin(_ principal: Principal) -> String {
        let cookie = hexadecimal(random.bytes(32))
        let session = Session(
            userName: principal.userName,
            csrf: hexadecimal(random.bytes(16)),
            expires: time.now + Self.life
        )
        sessions.withLock { sessions in
            let now = time.now
            sessions = sessions.filter { $0.value.expires > now }
            if sessions.count >= Self.sessionsMax,
                let oldest = sessions.min(by: { $0.value.expires < $1.value.expires })
            {
                sessions.removeValue(forKey: oldest.key)
            }
            sessions[Self.key(cookie)] = session
        }
        return cookie
    }

    /// The session of a cookie; `nil` when it is unknown or over.
    package func session(_ cookie: String) -> Session? {
        let now = time.now
        return sessions.withLock { sessions in
            sessions[Self.key(cookie)].flatMap { $0.expires > now ? $0 : nil }
        }
    }

    /// Ends a session.
    package func end(_ cookie: String) {
        sessions.withLock { _ = $0.removeValue(forKey: Self.key(cookie)) }
    }

    private static func key(_ cookie: String) -> [UInt8] {
        Array(SHA256.hash(data: Array(cookie.utf8)))
    }
}

/// Lower-case hexadecimal digits.
func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}

import Basics
import Dashboard
import Deployment
import HTTP
import Protocol
import Store
import Synchronization
import Telemetry
import Testing

private let start = Timestamp(seconds: 1_000_000)

private func principal() -> Principal {
    Principal(
        userID: "u",
        userName: "<b>admin</b>",
        scope: .system,
        role: .admin,
        isAdminProject: true,
        tokenID: ""
    )
}

private func view(_ state: String, error: String? = nil) -> DashboardView {
    let id = NodeID(random: Array(repeating: 1, count: 16))
    let progress = NodeProgress(
        phase: "write",
        doneBytes: 512 << 20,
        totalBytes: 1 << 30,
        bytesPerSecond: 3_145_728,
        text: ""
    )
    let node = NodeOverview(
        id: id,
        name: "c0<script>",
        state: state,
        power: "power on",
        maintenance: false,
        since: start - .seconds(75),
        waitingFor: "the image to be written",
        until: start + .seconds(3600),
        lastError: error,
        progress: progress
    )
    return DashboardView(
        now: start,
        nodes: [node],
        figures: [id: .init(load: 0.256, cpuBusyRatio: 0.5, memoryFreeRatio: nil)],
        deployments: [],
        events: []
    )
}

@Suite struct DashboardPageTests {
    @Test func `what machines and people named is escaped`() throws {
        let pages = try DashboardPages()
        let text = pages.live(view("deploying", error: "<img src=x onerror=alert(1)>"))
        #expect(text.contains("c0&lt;script&gt;"))
        #expect(!text.contains("<script>"))
        #expect(!text.contains("<img"))
    }

    @Test func `a node shows state, why it waits, until when, and how far it is`() throws {
        let text = try DashboardPages().live(view("deploying"))
        for part in [
            "deploying", "1 min 15 s", "the image to be written", "at most 1 h 00 min", "50 %",
            "512.0 MiB of 1.0 GiB", "3.0 MiB/s", "0.26",
        ] {
            #expect(text.contains(part), "\(part)")
        }
    }

    @Test func `the page carries the session's CSRF token and the user's escaped name`() throws {
        let sessions = DashboardSessions(time: SystemTime(), random: SystemRandom())
        let cookie = sessions.begin(principal())
        let session = try #require(sessions.session(cookie))
        let text = try DashboardPages().nodes(view("active"), session: session)
        #expect(text.contains("value=\"\(session.csrf)\""))
        #expect(text.contains("&lt;b&gt;admin&lt;/b&gt;"))
    }
}

@Suite struct DashboardSessionTests {
    @Test func `a session ends when its user signs out and when its life is over`() {
        let clock = MovedClock()
        let sessions = DashboardSessions(time: clock, random: SystemRandom())
        let first = sessions.begin(principal())
        let second = sessions.begin(principal())
        sessions.end(first)
        #expect(sessions.session(first) == nil)
        #expect(sessions.session(second) != nil)
        clock.advance(by: DashboardSessions.life + .seconds(1))
        #expect(sessions.session(second) == nil)
        #expect(sessions.session("") == nil)
    }

    @Test func `sessions are bounded`() {
        let sessions = DashboardSessions(time: MovedClock(), random: SystemRandom())
        let cookies = (0...DashboardSessions.sessionsMax).map { _ in sessions.begin(principal()) }
        let alive = cookies.filter { sessions.session($0) != nil }
        #expect(alive.count == DashboardSessions.sessionsMax)
    }
}

private final class MovedClock: TimeSource {
    private let nanoseconds = Mutex<Int64>(1_000_000_000_000)
    var now: Timestamp { Timestamp(nanoseconds: nanoseconds.withLock { $0 }) }
    var elapsed: Duration { .nanoseconds(nanoseconds.withLock { $0 }) }
    func advance(by span: Duration) { nanoseconds.withLock { $0 += span.wholeNanoseconds } }
    func sleep(for span: Duration) async throws { advance(by: span) }
}

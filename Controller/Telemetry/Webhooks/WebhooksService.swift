package import Basics
import Crypto
import FoundationEssentials
import HTTP
package import Logging
import Protocol
import ServiceLifecycle
package import Store
import Synchronization

/// Tells whether a project may see a node; the bare metal area does it.
package protocol EventScope: Sendable {
    /// - node: the node's identifier, as the change feed has it.
    func isVisible(node: String, to project: String) async throws -> Bool
}

/// Sends changes of state to the addresses that owners registered: each at least once, in order, signed.
///
/// The change feed is the queue: a hook's row says how far it is, so that a stop loses nothing.
package final class WebhooksService: Service {
    private let database: Database
    private let sealer: Sealer
    private let sender: any WebhookSender
    private let scope: any EventScope
    private let rules: WebhookRules
    private let time: any TimeSource
    private let random: any RandomSource
    private let logger: Logger
    private let busy = Mutex<Set<WebhookID>>([])

    /// Hooks of all owners together.
    static let hooksMax = 200
    /// Changes that a hook gets in one turn.
    private static let turnMax = 50
    private static let period: Duration = .seconds(1)
    static let secretBytesMin = 16

    package init(
        database: Database,
        sealer: Sealer,
        sender: any WebhookSender,
        scope: any EventScope,
        rules: WebhookRules,
        time: any TimeSource,
        random: any RandomSource,
        logger: Logger
    ) {
        self.database = database
        self.sealer = sealer
        self.sender = sender
        self.scope = scope
        self.rules = rules
        self.time = time
        self.random = random
        self.logger = logger
    }

    // MARK: - The door

    private static func owner(_ principal: Principal) -> String? {
        principal.isSystem ? nil : principal.projectID ?? ""
    }

    private func check(_ url: String, _ secret: Secret?) throws {
        guard let target = WebhookTarget(url) else {
            throw Fault(
                .invalid,
                "cannot use the address “\(url.prefix(200))”: it must be like https://name/path, without a user or a fragment"
            )
        }
        guard !target.isPlain || rules.allowsPlain else {
            throw Fault(
                .invalid,
                "cannot use the address “\(url.prefix(200))”: it must begin with https://"
            )
        }
        if let secret, !(Self.secretBytesMin...256).contains(secret.revealBytes().count) {
            throw Fault(
                .invalid,
                "cannot use the secret: it must have \(Self.secretBytesMin) to 256 bytes"
            )
        }
    }

    /// Registers an address; it gets what changes from now on.
    func create(_ url: String, _ secret: Secret, by principal: Principal) async throws -> Webhook {
        try check(url, secret)
        let (now, sealer) = (time.now, sealer)
        let id: WebhookID = random.identifier()
        return try await database.write { transaction in
            guard try transaction.webhookCount() < Self.hooksMax else {
                throw Fault(
                    .conflict,
                    "cannot register a webhook: there are \(Self.hooksMax) already; delete one"
                )
            }
            let hook = Webhook(
                id: id,
                project: Self.owner(principal),
                url: url,
                secret: secret,
                disabledReason: nil,
                position: try transaction.newestChange(),
                failures: 0,
                nextTry: Timestamp(nanoseconds: 0),
                lastError: nil,
                createdAt: now
            )
            try transaction.save(hook, sealer: sealer)
            return hook
        }
    }

    /// The hooks of the principal's project, or of the whole installation.
    func list(by principal: Principal) async throws -> [Webhook] {
        try await database.read { [sealer] in
            try $0.webhooks(of: .some(Self.owner(principal)), sealer: sealer)
        }
    }

    /// One hook.
    /// - Throws: `Fault` of kind `notFound`, also for another owner's.
    func hook(_ id: String, by principal: Principal) async throws -> Webhook {
        try await database.read { [sealer] in try $0.owned(id, principal, sealer: sealer) }
    }

    /// Changes address or secret, or enables a hook again.
    func update(
        _ id: String,
        url: String?,
        secret: Secret?,
        enables: Bool,
        by principal: Principal
    ) async throws -> Webhook {
        try await database.write { [sealer] transaction in
            var hook = try transaction.owned(id, principal, sealer: sealer)
            try self.check(url ?? hook.url, secret)
            hook.move(to: url ?? hook.url, secret: secret)
            if enables || (secret != nil && url != nil) { hook.enable() }
            try transaction.save(hook, sealer: sealer)
            return hook
        }
    }

    /// Forgets a hook.
    func delete(_ id: String, by principal: Principal) async throws {
        try await database.write { [sealer] transaction in
            try transaction.deleteWebhook(
                try transaction.owned(id, principal, sealer: sealer).id
            )
        }
    }

    // MARK: - The work

    package func run() async throws {
        await cancelWhenGracefulShutdown { await self.work() }
    }

    /// Works until cancelled.
    package func work() async {
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                for hook in await self.due() {
                    group.addTask(name: "webhook \(hook.id)") {
                        await self.takeTurn(hook)
                        self.busy.withLock { _ = $0.remove(hook.id) }
                    }
                }
                do { try await self.time.sleep(for: Self.period) } catch { break }
            }
            group.cancelAll()
        }
    }

    /// Hooks that have something to send and are not at it.
    private func due() async -> [Webhook] {
        do {
            let now = time.now
            let hooks = try await database.read { [sealer] in
                try $0.dueWebhooks(at: now, sealer: sealer)
            }
            return busy.withLock { busy in hooks.filter { busy.insert($0.id).inserted } }
        } catch {
            logger.warning(
                "webhooks cannot be read",
                metadata: [LogKey.error: "\(Fault(error).report)"]
            )
            return []
        }
    }

    /// Sends what a hook has not got yet, up to a limit or the first failure.
    func takeTurn(_ start: Webhook) async {
        do {
            let changes = try await database.read {
                try $0.changes(after: start.position, limit: Self.turnMax)
            }
            for change in changes {
                let fault = try await deliver(change, to: start)
                guard fault == nil, !Task.isCancelled else {
                    if let fault, !Task.isCancelled { try await note(fault, change, start) }
                    return
                }
                guard try await note(nil, change, start) else { return }
            }
        } catch {
            logger.warning(
                "a webhook's turn failed",
                metadata: [LogKey.error: "\(Fault(error).report)"]
            )
        }
    }

    /// - Returns: whether the hook is still as it was when its turn began.
    @discardableResult
    private func note(_ fault: Fault?, _ change: Change, _ seen: Webhook) async throws -> Bool {
        let now = time.now
        let hook = try await database.write { [sealer] transaction -> Webhook? in
            guard var hook = try transaction.webhook(seen.id.text, sealer: sealer),
                hook.url == seen.url, hook.secret == seen.secret, hook.position < change.sequence
            else { return nil }
            if let fault {
                hook.fail(fault.message, at: now)
            } else {
                hook.deliver(change.sequence)
            }
            try transaction.save(hook, sealer: sealer)
            return hook
        }
        if let reason = hook?.disabledReason {
            logger.error("a webhook is disabled", metadata: [LogKey.reason: "\(reason)"])
        }
        return hook != nil && hook?.disabledReason == nil
    }

    /// - Returns: why it was not taken; `nil` when it was, or is not for this hook.
    private func deliver(_ change: Change, to hook: Webhook) async throws -> Fault? {
        if let project = hook.project {
            guard change.kind == "node",
                try await scope.isVisible(node: change.id, to: project)
            else { return nil }
        }
        guard let secret = hook.secret else { return Fault(.invalid, "it has no secret") }
        let body = try EventsAPI.document(of: change)
        let stamp = String(Int64(time.now.seconds))
        do {
            try await sender.send(
                Array(body.utf8),
                headers: [
                    ("Content-Type", "application/json"),
                    ("X-RDO-Event-ID", String(change.sequence)), ("X-RDO-Timestamp", stamp),
                    ("X-RDO-Signature", Self.signature(of: body, at: stamp, secret)),
                ],
                to: hook.url
            )
            return nil
        } catch {
            return Fault(error)
        }
    }

    /// `v1=` and the HMAC-SHA256 of the time, a full stop and the body, in hexadecimal digits.
    static func signature(of body: String, at stamp: String, _ secret: Secret) -> String {
        let code = HMAC<SHA256>.authenticationCode(
            for: Array("\(stamp).\(body)".utf8),
            using: SymmetricKey(data: secret.revealBytes())
        )
        let digits = Array("0123456789abcdef".utf8)
        let text = code.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return "v1=" + String(decoding: text, as: UTF8.self)
    }
}

extension Transaction {
    fileprivate func owned(
        _ id: String,
        _ principal: Principal,
        sealer: Sealer
    ) throws -> Webhook {
        let owner = principal.isSystem ? nil : principal.projectID ?? ""
        guard let hook = try webhook(id, sealer: sealer), hook.project == owner else {
            throw Fault(
                .notFound,
                "cannot find webhook \(id.prefix(40)): you have none with this UUID"
            )
        }
        return hook
    }
}

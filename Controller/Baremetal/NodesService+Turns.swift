import Basics
import HTTP
package import Protocol
import Store

// The admission queue. It is the nodes themselves: nothing of it is lost at a stop.
extension NodesService {
    /// Whom a principal's work counts for: its project, or itself when it speaks for the installation.
    static func party(of principal: Principal?) -> String {
        principal.map { $0.projectID ?? $0.userID } ?? ""
    }

    /// Decides whether new bounded work begins at once, and lets others begin where room was made.
    ///
    /// To be called in each transaction that changes a node, before it is stored; `after` is `nil` when the
    /// node is forgotten. `isAsked` is true for what somebody asks for, which is refused when too
    /// many wait; work that follows from other work always finds a place.
    func arrangeTurn(
        _ transaction: Transaction,
        _ before: Node,
        _ after: inout Node,
        isAsked: Bool,
        at now: Timestamp
    ) throws {
        let (old, new) = (before.state.workKind, after.state.workKind)
        if old != new {
            if let old, let started = before.startedAt, after.lastError == nil,
                after.state.name != .deleting
            {
                try transaction.learnPace(old, max(.zero, now - started))
            }
            after.leaveQueue()
            if let new {
                let room = try settings.work[new] - transaction.working(new)
                let hasRoom = try room > 0 && !transaction.isAnyQueued(new)
                if !hasRoom, isAsked { try refuseIfFull(transaction, after) }
                after.begin(hasRoom: hasRoom, at: now)
                if hasRoom { try transaction.noteTurn(new, of: after.party, at: now) }
            }
        }
        passOn(transaction, before.place, after.place)
    }

    /// Work that ends, stands still or leaves the queue may let others begin.
    func passOn(_ transaction: Transaction, _ before: Node.Place, _ after: Node.Place) {
        guard before != after else { return }
        switch before {
        case .running(let kind), .queued(let kind):
            transaction.whenStored { [queue] in queue.makeRoom(kind) }
        case .none: return
        }
    }

    private func refuseIfFull(_ transaction: Transaction, _ node: Node) throws {
        let waiting = try transaction.queuedCount()
        guard waiting >= settings.work.waitingMax else { return }
        throw Fault(
            .unavailable,
            "cannot take work for node \(node.label): \(waiting) nodes wait for their turn already; try again later"
        )
    }

    /// Wakes those whose turn it is.
    func wakeNext(_ kind: WorkKind) async throws {
        let limit = settings.work[kind]
        let next = try await database.read { transaction -> [NodeID] in
            guard try transaction.isAnyQueued(kind) else { return [] }
            let room = limit - (try transaction.working(kind))
            return room > 0 ? try transaction.turnOrder(kind).next(room) : []
        }
        for id in next { queue.wake(id) }
    }

    /// Begins a queued node's work if it is its turn.
    /// - Returns: whether it began.
    func takeTurn(_ seen: Node) async throws -> Bool {
        let now = time.now
        let limits = settings.work
        return try await database.write { [sealer] transaction in
            guard let before = try transaction.node(seen.id, sealer: sealer),
                case .queued(let kind) = before.place
            else { return false }
            let room = limits[kind] - (try transaction.working(kind))
            guard room > 0, try transaction.turnOrder(kind).next(room).contains(before.id) else {
                return false
            }
            var node = before
            node.takeTurn(at: now)
            try transaction.noteTurn(kind, of: node.party, at: now)
            try transaction.save(
                node,
                before: before,
                cause: "its turn came",
                at: now,
                sealer: sealer
            )
            return true
        }
    }

    /// Where those of `nodes` stand that wait for their turn.
    package func places(of nodes: [Node]) async throws -> [NodeID: QueuePlace] {
        var kinds: [WorkKind] = []
        for node in nodes {
            if case .queued(let kind) = node.place, !kinds.contains(kind) { kinds.append(kind) }
        }
        guard !kinds.isEmpty else { return [:] }
        let (now, limits, wanted) = (time.now, settings.work, kinds)
        return try await database.read { transaction in
            var places: [NodeID: QueuePlace] = [:]
            for kind in wanted {
                let order = try transaction.turnOrder(kind).next(.max)
                let started = try transaction.workStarts(kind)
                let estimates = try transaction.pace(kind).map {
                    TurnOrder.estimate(
                        order.count,
                        started: started,
                        slots: limits[kind],
                        pace: $0,
                        at: now
                    )
                }
                for (index, id) in order.enumerated() {
                    places[id] = QueuePlace(
                        kind: kind,
                        position: index + 1,
                        length: order.count,
                        running: started.count,
                        limit: limits[kind],
                        eta: estimates?[index]
                    )
                }
            }
            return places
        }
    }
}

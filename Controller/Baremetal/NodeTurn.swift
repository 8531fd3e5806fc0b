import Basics
package import Protocol

/// Work that is bounded: so many nodes of each kind are worked on at a time, the others wait their turn.
///
/// What needs the BMC alone for a moment (verifying, adopting, taking an instance away) never waits: taking a
/// machine from somebody must not queue behind giving one to somebody else.
package enum WorkKind: String, Sendable, CaseIterable, Codable {
    case inspection
    case cleaning
    case deployment
    /// Service steps, rescue and its end.
    case service

    /// The states of a node with such work.
    package var states: [ProvisionState.Name] {
        switch self {
        case .inspection: [.inspecting]
        case .cleaning: [.cleaning]
        case .deployment: [.deploying]
        case .service: [.servicing, .rescuing, .unrescuing]
        }
    }

    /// With its article, for people.
    var phrase: String {
        switch self {
        case .inspection: "an inspection"
        case .cleaning: "a cleaning"
        case .deployment: "a deployment"
        case .service: "a service or a rescue"
        }
    }
}

/// How many nodes are worked on at a time, and how many may wait.
package struct WorkLimits: Sendable, Equatable {
    package var inspection = 100
    package var cleaning = 100
    /// Each takes its image through the controller's link at first.
    package var deployment = 50
    package var service = 50
    /// Nodes that may wait for their turn, of all kinds together.
    package var waitingMax = 10_000

    package init() {}

    /// How many nodes with this kind of work are worked on at a time.
    package subscript(kind: WorkKind) -> Int {
        switch kind {
        case .inspection: inspection
        case .cleaning: cleaning
        case .deployment: deployment
        case .service: service
        }
    }
}

extension ProvisionState {
    /// The bounded work of this state, if it has any.
    package var workKind: WorkKind? {
        switch self {
        case .inspecting: .inspection
        case .cleaning: .cleaning
        case .deploying: .deployment
        case .servicing, .rescuing, .unrescuing: .service
        case .enroll, .verifying, .manageable, .inspectFailed, .cleanFailed, .available,
            .deployFailed, .deployHold, .active, .deleting, .error, .adopting, .adoptFailed,
            .cleanHold, .serviceHold, .serviceFailed, .rescue, .rescueFailed, .unrescueFailed:
            nil
        }
    }
}

extension Node {
    /// What a node takes of the bounded work.
    enum Place: Sendable, Equatable {
        /// It has no such work, or its work stands still in maintenance or under a lockout.
        case none
        case running(WorkKind)
        case queued(WorkKind)
    }

    /// Whether its work waits for its turn: nothing is done, and no time budget runs.
    package var isQueued: Bool { queuedAt != nil }

    /// A node whose work stands still holds up nobody.
    var place: Place {
        guard let kind = state.workKind, maintenance == nil, lockout == nil else { return .none }
        return isQueued ? .queued(kind) : .running(kind)
    }

    /// Begins bounded work at once, or waits for its turn when there is no room.
    mutating func begin(hasRoom: Bool, at now: Timestamp) {
        queuedAt = hasRoom ? nil : now
        startedAt = hasRoom ? now : nil
    }

    /// Its turn came: the time that it waited counts against no budget.
    mutating func takeTurn(at now: Timestamp) {
        guard let queuedAt else { return }
        self.queuedAt = nil
        startedAt = now
        if isPowerStep, let deadline = powerWish?.deadline {
            powerWish?.deadline = deadline + (now - queuedAt)
        }
        switch state {
        case .inspecting(var job):
            job.since = now
            state = .inspecting(job: job)
        case .cleaning(var job):
            job.since = now
            state = .cleaning(job: job)
        case .deploying(var job):
            switch job.stage {
            case .ramdisk(var ramdisk):
                ramdisk.since = now
                job.stage = .ramdisk(ramdisk)
            case .step: job.stage = .step(since: now)
            case .bootDevice, .restart, .awaitInstalled: break
            }
            state = .deploying(job: job)
        case .servicing(var job):
            job.since = now
            job.ramdisk?.since = now
            state = .servicing(job: job)
        case .rescuing(let installation, var job?):
            job.since = now
            state = .rescuing(installation: installation, job: job)
        case .enroll, .verifying, .manageable, .inspectFailed, .cleanFailed, .available,
            .deployFailed, .deployHold, .active, .deleting, .error, .adopting, .adoptFailed,
            .cleanHold, .serviceHold, .serviceFailed, .rescuing, .rescue, .rescueFailed,
            .unrescuing,
            .unrescueFailed:
            return
        }
    }

    /// Its bounded work is over.
    mutating func leaveQueue() {
        queuedAt = nil
        startedAt = nil
    }
}

/// Who gets the next turn.
///
/// The party that has the fewest nodes worked on, then the one that was served longest ago, then the one that
/// has waited longest; within a party first come, first served. So nobody who asks for a thousand nodes
/// makes another wait for more than the work under way.
struct TurnOrder: Sendable, Equatable {
    /// A project, or a user who speaks for the whole installation.
    struct Party: Sendable, Equatable {
        let name: String
        var running: Int
        /// When one of its nodes had its turn last.
        var servedAt: Timestamp?
        /// In the order in which they came.
        var waiting: [NodeID]
        /// When the first of them came.
        let firstAt: Timestamp
    }

    let parties: [Party]

    /// The first turns, at most `count`.
    func next(_ count: Int) -> [NodeID] {
        var parties = parties.filter { !$0.waiting.isEmpty }.sorted { $0.name < $1.name }
        var taken = Array(repeating: 0, count: parties.count)
        var served = parties.map { ($0.servedAt?.nanoseconds).map { (0, $0) } ?? (-1, 0) }
        var order: [NodeID] = []
        while order.count < count {
            var best: Int?
            for index in parties.indices where taken[index] < parties[index].waiting.count {
                guard let leader = best else {
                    best = index
                    continue
                }
                let (mine, theirs) = (parties[index], parties[leader])
                let isEarlier =
                    (mine.running, served[index].0, served[index].1, mine.firstAt)
                    < (theirs.running, served[leader].0, served[leader].1, theirs.firstAt)
                if isEarlier { best = index }
            }
            guard let best else { break }
            order.append(parties[best].waiting[taken[best]])
            taken[best] += 1
            parties[best].running += 1
            served[best] = (1, Int64(order.count))
        }
        return order
    }

    /// When each of the next `count` turns will probably come, if each work takes `pace` from its start.
    ///
    /// `started` is when the work under way began; `slots` are worked on at a time.
    static func estimate(
        _ count: Int,
        started: [Timestamp],
        slots: Int,
        pace: Duration,
        at now: Timestamp
    ) -> [Timestamp] {
        guard slots > 0 else { return [] }
        var free = started.map { max(now, $0 + pace) }.sorted()
        // More may be worked on than the limit, after it was lowered or a maintenance ended.
        if free.count > slots { free.removeFirst(free.count - slots) }
        free.insert(contentsOf: Array(repeating: now, count: slots - free.count), at: 0)
        var estimates: [Timestamp] = []
        // Each turn takes the slot that is free first, and its end is later than all that were handed out
        // before: the slots stay sorted when the new end goes to the back.
        var first = 0
        for _ in 0..<count {
            let start = free[first]
            estimates.append(start)
            free.append(start + pace)
            first += 1
        }
        return estimates
    }
}

/// Where a queued node stands, for people.
package struct QueuePlace: Sendable, Equatable {
    package let kind: WorkKind
    /// From 1.
    package let position: Int
    /// Nodes that wait for this kind of work.
    package let length: Int
    /// Nodes that are worked on.
    package let running: Int
    package let limit: Int
    /// When its turn will probably come; `nil` until work of this kind was measured.
    package let eta: Timestamp?

    /// As a clause that goes on after “waits for its turn”.
    var sentence: String {
        "number \(position) of \(length) that wait for \(kind.phrase); \(running) of at most \(limit) are under way"
    }
}

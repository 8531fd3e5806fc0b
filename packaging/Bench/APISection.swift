import Basics

/// Memory, node creation, lists and single nodes of a Bare Metal API.
struct APISection {
    /// How much is asked, so that a fast server is measured long enough and a slow one not for hours.
    struct Scale {
        let createOne: Int
        let createMany: Int
        let lists: Int
        let details: Int
        let gets: Int
        /// Nodes in the end; `nil` leaves it at what the phases made.
        let nodes: Int?

        static let ours = Scale(
            createOne: 300,
            createMany: 600,
            lists: 20,
            details: 10,
            gets: 3000,
            nodes: 5000
        )
        static let peer = Scale(
            createOne: 50,
            createMany: 50,
            lists: 3,
            details: 2,
            gets: 150,
            nodes: nil
        )
    }

    let runs: Int
    let scale: Scale

    /// Nodes before lists are measured.
    private static let listNodes = 1000

    func run(on server: some MeasuredServer) async throws -> [Figure] {
        try await SystemTime().sleep(for: .seconds(5))
        var figures = [memory("idle", "memory, idle", server)]
        let load = BareMetalLoad(server.target, pid: server.pid)
        _ = try await load.create(
            Self.listNodes,
            clients: BareMetalLoad.clients,
            withPort: true
        )
        figures.append(memory("1000", "memory with 1,000 nodes", server))
        figures += try await reads(load)
        figures += try await creations(load)
        if let nodes = scale.nodes, load.count < nodes {
            _ = try await load.create(
                nodes - load.count,
                clients: BareMetalLoad.clients,
                withPort: true
            )
        }
        if scale.nodes != nil {
            figures.append(memory("5000", "memory with 5,000 nodes", server))
        }
        return figures
    }

    private func memory(_ key: String, _ name: String, _ server: some MeasuredServer) -> Figure {
        Figure(
            "api.memory.\(key)",
            name,
            "MB",
            .lower,
            values: [ProcessReading(of: server.pid).residentMB],
            target: 100
        )
    }

    private func reads(_ load: BareMetalLoad) async throws -> [Figure] {
        var figures = [
            try await repeated(
                "api.list",
                "GET /v1/nodes?limit=1000",
                "ms",
                .lower,
                target: 156.0 / 20,
                { try await load.list(detail: false, times: scale.lists) },
                { median($0.latencies) * 1000 }
            ),
            try await repeated(
                "api.detail",
                "GET /v1/nodes/detail?limit=1000",
                "ms",
                .lower,
                target: 44.2,
                { try await load.list(detail: true, times: scale.details) },
                { median($0.latencies) * 1000 }
            ),
        ]
        for (clients, target) in [(1, 20 * 118.0), (BareMetalLoad.clients, 20 * 140.0)] {
            figures.append(
                try await repeated(
                    "api.get.\(clients)",
                    "GET one node, \(words(clients))",
                    "/s",
                    .higher,
                    target: target,
                    { try await load.get(scale.gets, clients: clients) },
                    \.rate
                )
            )
        }
        return figures
    }

    private func creations(_ load: BareMetalLoad) async throws -> [Figure] {
        var figures: [Figure] = []
        for (clients, count) in [
            (1, scale.createOne), (BareMetalLoad.clients, scale.createMany),
        ] {
            figures.append(
                try await repeated(
                    "api.create.\(clients)",
                    "node creation, \(words(clients))",
                    "/s",
                    .higher,
                    target: 20 * 55,
                    { try await load.create(count, clients: clients) },
                    \.rate
                )
            )
        }
        return figures
    }

    private func words(_ clients: Int) -> String {
        clients == 1 ? "1 client" : "\(clients) clients"
    }

    private func repeated(
        _ key: String,
        _ name: String,
        _ unit: String,
        _ better: Figure.Better,
        target: Double,
        _ body: () async throws -> LoadResult,
        _ value: (LoadResult) -> Double
    ) async throws -> Figure {
        var values: [Double] = []
        var cpu: [Double] = []
        for _ in 0..<runs {
            let result = try await body()
            values.append(value(result))
            cpu.append(result.cpuMilliseconds)
        }
        return Figure(
            key,
            name,
            unit,
            better,
            values: values,
            cpuMilliseconds: median(cpu),
            target: target
        )
    }
}

/// From enroll through manage, inspect, provide to active, on machines without hardware.
struct DeploySection {
    /// How many nodes go all at once, how often that is measured at most, and in how many seconds they should.
    struct Size {
        let nodes: Int
        let runsMax: Int
        let target: Double

        static let hundred = Size(nodes: 100, runsMax: .max, target: 33.0 / 20)
        static let thousand = Size(nodes: 1000, runsMax: .max, target: 60)
        /// It takes Ironic half a minute on a quiet machine.
        static let peers = Size(nodes: 100, runsMax: 2, target: 33.0 / 20)
    }

    let runs: Int
    let sizes: [Size]

    func run(on server: some MeasuredServer) async throws -> [Figure] {
        let load = BareMetalLoad(server.target, pid: server.pid)
        var figures: [Figure] = []
        for size in sizes {
            var values: [Double] = []
            var cpu: [Double] = []
            for _ in 0..<min(runs, size.runsMax) {
                let result = try await load.deploy(size.nodes)
                values.append(result.seconds)
                cpu.append(result.cpuMilliseconds)
            }
            figures.append(
                Figure(
                    "deploy.\(size.nodes)",
                    "\(size.nodes) nodes from enroll to active, driver without hardware",
                    "s",
                    .lower,
                    values: values,
                    cpuMilliseconds: median(cpu),
                    target: size.target
                )
            )
        }
        return figures
    }
}

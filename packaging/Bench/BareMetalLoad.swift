import Basics
import FoundationEssentials
import Protocol
import Synchronization

/// Load on a Bare Metal API: the same requests to ours and to Ironic.
package final class BareMetalLoad: Sendable {
    /// A page of a list.
    package static let pageRows = 1000

    private let target: LoadTarget
    private let pid: Int32
    private let one: LoadPool
    private let many: LoadPool
    private let created = Mutex(0)

    /// Clients of the phases that have many.
    package static let clients = 16

    /// `pid` is the server's process.
    package init(_ target: LoadTarget, pid: Int32) {
        self.target = target.with("Accept", "application/json")
            .with("X-OpenStack-Ironic-API-Version", "1.81")
        self.pid = pid
        one = LoadPool(self.target, clients: 1, pid: pid)
        many = LoadPool(self.target, clients: Self.clients, pid: pid)
    }

    /// Nodes made so far.
    package var count: Int { created.withLock { $0 } }

    /// Makes nodes of the driver without hardware, with a port each where `withPort`.
    package func create(
        _ count: Int,
        clients: Int,
        withPort: Bool = false,
        resourceClass: String = "baremetal"
    ) async throws -> LoadResult {
        let first = created.withLock { number in
            defer { number += count }
            return number
        }
        let pool = clients == 1 ? one : many
        return try await pool.run(count) { number, connection in
            let number = first + number
            let node = Self.node(number, resourceClass)
            let answer = try connection.ask("POST", "/v1/nodes", Array(node.utf8))
            guard answer.status == 201 else { return Self.complaint(answer) }
            guard withPort else { return nil }
            let port = #"{"node_uuid":"\#(Self.uuid(number))","address":"\#(Self.mac(number))"}"#
            let second = try connection.ask("POST", "/v1/ports", Array(port.utf8))
            return second.status == 201 ? nil : Self.complaint(second)
        }.checked("node creation")
    }

    /// Fetches the first page of a list some times, one after the other.
    package func list(detail: Bool, times: Int) async throws -> LoadResult {
        let path = "/v1/nodes\(detail ? "/detail" : "")?limit=\(Self.pageRows)"
        let rows = min(count, Self.pageRows)
        return try await one.run(times) { _, connection in
            let answer = try connection.ask("GET", path)
            guard answer.status == 200 else { return Self.complaint(answer) }
            let found = Self.occurrences(of: Array(#""provision_state""#.utf8), in: answer.body)
            return found == rows ? nil : "\(found) rows instead of \(rows)"
        }.checked("the list of nodes")
    }

    /// Fetches single nodes, by their UUID.
    package func get(_ times: Int, clients: Int) async throws -> LoadResult {
        let known = count
        let pool = clients == 1 ? one : many
        return try await pool.run(times) { number, connection in
            let uuid = Self.uuid(number &* 7919 % known)
            let answer = try connection.ask("GET", "/v1/nodes/\(uuid)")
            return answer.status == 200 ? nil : Self.complaint(answer)
        }.checked("single nodes")
    }

    // MARK: - From enroll to active

    private struct Page: Decodable {
        struct Row: Decodable {
            let uuid: String
            let state: String
            let inspected: String?

            enum CodingKeys: String, CodingKey {
                case uuid
                case state = "provision_state"
                case inspected = "inspection_finished_at"
            }
        }

        let nodes: [Row]
    }

    /// Takes new nodes through manage, inspect, provide and active, all at once.
    ///
    /// - Returns: the time from the first request to the moment when the last one is seen active.
    package func deploy(_ nodes: Int) async throws -> LoadResult {
        let mark = "run-\(count)"
        _ = try await create(nodes, clients: Self.clients, withPort: true, resourceClass: mark)
        let reader = LoadConnection(target)
        let path =
            "/v1/nodes?resource_class=\(mark)&limit=\(Self.pageRows)"
            + "&fields=uuid,provision_state,inspection_finished_at"
        var asked: Set<String> = []
        var result = LoadResult()
        let time = SystemTime()
        let watch = Stopwatch(pid)
        while true {
            let began = time.elapsed
            let answer = try reader.ask("GET", path)
            guard answer.status == 200 else { throw Fault(.unavailable, Self.complaint(answer)) }
            let rows = try JSONDecoder().decode(Page.self, from: Data(answer.body)).nodes
            if rows.count == nodes, rows.allSatisfy({ $0.state == "active" }) { break }
            if let row = rows.first(where: { $0.state.hasSuffix("failed") || $0.state == "error" })
            {
                throw Fault(.unavailable, "cannot deploy node \(row.uuid): it is \(row.state)")
            }
            guard watch.seconds < 600 else {
                throw TimeBudgetExceeded(subject: "deployment", budget: .seconds(600))
            }
            asked.formUnion(try await wish(rows, asked))
            // A poll costs the server, so slow answers are asked for less often; never a busy loop.
            let pause = min(max((time.elapsed - began) * 2, .milliseconds(20)), .seconds(1))
            try await time.sleep(for: pause)
        }
        result.good = nodes
        result.seconds = watch.seconds
        result.cpuSeconds = watch.cpuSeconds
        return result
    }

    /// Asks the next thing of each node that waits for it; returns what was taken.
    private func wish(_ rows: [Page.Row], _ asked: Set<String>) async throws -> [String] {
        var wishes: [(uuid: String, verb: String)] = []
        for row in rows {
            let verb: String
            switch row.state {
            case "enroll": verb = "manage"
            case "manageable": verb = row.inspected == nil ? "inspect" : "provide"
            case "available": verb = "active"
            default: continue
            }
            if !asked.contains("\(row.uuid) \(verb)") { wishes.append((row.uuid, verb)) }
        }
        let list = wishes
        let taken = Mutex<[String]>([])
        _ = try await many.run(list.count) { number, connection in
            let (uuid, verb) = list[number]
            let answer = try connection.ask(
                "PUT",
                "/v1/nodes/\(uuid)/states/provision",
                Array(#"{"target":"\#(verb)"}"#.utf8)
            )
            switch answer.status {
            case 202: taken.withLock { $0.append("\(uuid) \(verb)") }
            // The node is locked by other work: asked again after the next look.
            case 409, 503: break
            default: return Self.complaint(answer)
            }
            return nil
        }.checked("deployment")
        return taken.withLock { $0 }
    }

    // MARK: - Bodies

    private static func complaint(_ answer: LoadAnswer) -> String {
        "status \(answer.status): \(String(decoding: answer.body.prefix(200), as: UTF8.self))"
    }

    private static func node(_ number: Int, _ resourceClass: String) -> String {
        """
        {"driver":"fake-hardware","name":"bench-\(number)","uuid":"\(uuid(number))",\
        "resource_class":"\(resourceClass)","properties":{"cpus":16,"cpu_arch":"x86_64",\
        "memory_mb":65536,"local_gb":900,"capabilities":"boot_mode:uefi,profile:compute"},\
        "driver_info":{"redfish_address":"https://192.0.2.10","redfish_username":"admin",\
        "redfish_password":"secret","redfish_system_id":"/redfish/v1/Systems/\(number)"}}
        """
    }

    /// The identifier of the n-th node.
    static func uuid(_ number: Int) -> String {
        let digits = String(number, radix: 16)
        return "00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count)
            + digits
    }

    private static func mac(_ number: Int) -> String {
        "52:54:00"
            + [16, 8, 0].map { ":" + hexadecimal(UInt8(truncatingIfNeeded: number >> $0)) }
            .joined()
    }

    private static func occurrences(of word: [UInt8], in text: [UInt8]) -> Int {
        var found = 0
        var index = 0
        while index + word.count <= text.count {
            // The last byte is a quotation mark: most places are passed over with one look.
            if text[index + word.count - 1] == word[word.count - 1],
                text[index..<(index + word.count)].elementsEqual(word)
            {
                found += 1
                index += word.count
            } else {
                index += 1
            }
        }
        return found
    }
}

/// Two hexadecimal digits.
func hexadecimal(_ byte: UInt8) -> String {
    (byte < 16 ? "0" : "") + String(byte, radix: 16)
}

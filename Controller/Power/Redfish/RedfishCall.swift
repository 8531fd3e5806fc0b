import Basics
import FoundationEssentials
import HTTP

/// A document and what is needed to change it.
struct RedfishDocument: Sendable {
    let path: String
    let value: JSONValue
    let tag: String?
}

/// One call to a BMC: requests that are authenticated, follow redirects of the same origin, renew a session
/// that ended, and are repeated where that is harmless.
struct RedfishCall: Sendable {
    let client: RedfishClient
    let bmc: BMC

    /// Redirects that are followed in a row at most.
    static let redirectsMax = 3

    var access: RedfishAccess { bmc.redfish ?? RedfishAccess() }

    // MARK: - Verbs

    /// Reads a document; a passing failure is repeated once.
    func get(_ link: String) async throws -> RedfishDocument {
        let path = try bmc.path(of: link)
        let request = RedfishRequest("GET", path)
        var response: RedfishResponse
        do {
            response = try await authorized(request)
        } catch let trouble as RedfishTrouble where trouble.mayPassAtOnce {
            try await client.time.sleep(for: client.settings.pause)
            response = try await authorized(request)
        }
        return RedfishDocument(
            path: path,
            value: try RedfishAnswer.document(response.body),
            tag: response.headers["etag"]
        )
    }

    /// As `get`; `nil` when there is no such resource.
    func find(_ link: String?) async throws -> RedfishDocument? {
        guard let link else { return nil }
        do {
            return try await get(link)
        } catch RedfishTrouble.absent {
            return nil
        }
    }

    /// Changes a resource.
    ///
    /// Sent with the tag under which the document was read. BMCs that refuse their own tags get it in its strong
    /// form, then a fresh one, then none: what is set here does not depend on what stood there.
    func patch(_ document: RedfishDocument, _ change: JSONValue) async throws {
        let strong = document.tag.map { $0.hasPrefix("W/") ? String($0.dropFirst(2)) : $0 }
        var tags: [String?] = [document.tag]
        if strong != document.tag { tags.append(strong) }
        var isFresh = false
        var index = 0
        while true {
            do {
                return try await patch(document.path, change, tag: tags[index])
            } catch RedfishTrouble.refused(let status, let words) where [412, 428].contains(status)
            {
                index += 1
                if index < tags.count { continue }
                guard !isFresh else { throw RedfishTrouble.refused(status, words) }
                isFresh = true
                let tag = try await get(document.path).tag
                if let tag, !tags.contains(tag) { tags.append(tag) }
                tags.append(status == 428 ? "*" : nil)
            }
        }
    }

    private func patch(_ path: String, _ change: JSONValue, tag: String?) async throws {
        var request = RedfishRequest("PATCH", path, body: change.canonicalBytes)
        if let tag, !tag.isEmpty, tag.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) {
            request.headers.append((name: "If-Match", value: tag))
        }
        try await finish(try await authorized(request))
    }

    /// Asks a resource to do something, and waits for it where the BMC makes it a task.
    func post(_ link: String, _ body: JSONValue) async throws {
        let request = RedfishRequest("POST", try bmc.path(of: link), body: body.canonicalBytes)
        try await finish(try await authorized(request))
    }

    /// As `post`, for what takes longer than a call.
    /// - Returns: the path where the BMC tells how far it is; `nil` when it names none.
    func start(_ link: String, _ body: JSONValue) async throws -> String? {
        let request = RedfishRequest("POST", try bmc.path(of: link), body: body.canonicalBytes)
        let response = try await authorized(request)
        if let location = response.headers["location"] { return try bmc.path(of: location) }
        guard !response.body.isEmpty,
            let task = RedfishAnswer.link(try RedfishAnswer.document(response.body))
        else { return nil }
        return try bmc.path(of: task)
    }

    /// What stands at a path, of whatever form.
    func look(_ link: String) async throws -> (status: Int, body: [UInt8]) {
        let request = RedfishRequest("GET", try bmc.path(of: link))
        let response = try await authorized(request)
        return (response.status, response.body)
    }

    /// Takes a resource away; one that is gone already is no failure.
    func delete(_ link: String) async throws {
        do {
            try await finish(
                try await authorized(RedfishRequest("DELETE", try bmc.path(of: link)))
            )
        } catch RedfishTrouble.absent {}
    }

    /// Waits until a task is over; the call's budget ends the wait.
    private func finish(_ response: RedfishResponse) async throws {
        guard response.status == 202, let location = response.headers["location"] else { return }
        let request = RedfishRequest("GET", try bmc.path(of: location))
        while true {
            try await client.time.sleep(for: client.settings.pause)
            let answer: RedfishResponse
            do {
                answer = try await authorized(request)
            } catch RedfishTrouble.absent {
                // A task that is over may be forgotten.
                return
            }
            if answer.status == 202 { continue }
            // The monitor of a finished task answers as the request would have; its body may be empty.
            guard !answer.body.isEmpty else { return }
            let task = try RedfishAnswer.document(answer.body)
            switch RedfishAnswer.text(task["TaskState"]) {
            case "New", "Starting", "Running", "Pending", "Suspended", "Stopping": continue
            case "Exception", "Killed", "Cancelled", "Interrupted":
                let words = (task["Messages"]?.elements ?? []).prefix(4)
                    .compactMap { RedfishAnswer.text($0["Message"]) }.joined(separator: " ")
                throw RedfishTrouble.refused(answer.status, redacted(words))
            default: return
            }
        }
    }

    // MARK: - Authentication

    /// Sends a request with credentials; a session that ended is made anew, once.
    private func authorized(_ request: RedfishRequest) async throws -> RedfishResponse {
        guard !bmc.user.isEmpty else { return try await follow(request) }
        if let session = try await session() {
            do {
                return try await follow(request, with: session)
            } catch RedfishTrouble.credentials {
                await forget()
                guard let session = try await self.session() else {
                    throw RedfishTrouble.credentials
                }
                return try await follow(request, with: session)
            }
        }
        let pair = Data("\(bmc.user):\(bmc.password.reveal())".utf8)
        let header = (name: "Authorization", value: "Basic " + pair.base64EncodedString())
        return try await follow(request, with: header)
    }

    private typealias Header = (name: String, value: String)

    private static func header(_ session: RedfishMemory.Session) -> Header {
        (name: "X-Auth-Token", value: session.token.reveal())
    }

    /// The header of the BMC's session, which is made where there is none; `nil` for `basic`.
    private func session() async throws -> Header? {
        guard access.authentication != .basic else { return nil }
        let known = client.memory[bmc]
        if let session = known.session {
            if session.password == bmc.password { return Self.header(session) }
            await client.end(session)
            await forget()
        }
        if known.lacksSessions, access.authentication == .auto { return nil }
        do {
            let session = try await makeSession()
            await remember { $0.session = session }
            return Self.header(session)
        } catch RedfishTrouble.absent where access.authentication == .auto {
        } catch RedfishTrouble.refused(let status, _)
            where access.authentication == .auto && [400, 405, 501].contains(status)
        {}
        await remember { $0.lacksSessions = true }
        return nil
    }

    private func makeSession() async throws -> RedfishMemory.Session {
        guard let link = try await root().sessions else {
            throw RedfishTrouble.absent("session service")
        }
        let body: JSONValue = [
            "UserName": .string(bmc.user), "Password": .string(bmc.password.reveal()),
        ]
        let request = RedfishRequest("POST", try bmc.path(of: link), body: body.canonicalBytes)
        let response = try await follow(request)
        guard let token = response.headers["x-auth-token"], (1...4096).contains(token.utf8.count),
            token.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
        else { throw RedfishTrouble.malformed("a session of it has no token") }
        // A session whose end is elsewhere, or nowhere, ends by itself.
        let path = response.headers["location"].flatMap { try? bmc.path(of: $0) }
        return RedfishMemory.Session(
            token: Secret(token),
            password: bmc.password,
            path: path,
            bmc: bmc
        )
    }

    private func forget() async { await remember { $0.session = nil } }

    private func remember(_ edit: (inout RedfishMemory.Known) -> Void) async {
        if let left = client.memory.change(bmc, edit) { await client.end(left) }
    }

    /// The service's root, which needs no credentials.
    func root() async throws -> RedfishRoot {
        if let root = client.memory[bmc].root { return root }
        let response = try await follow(RedfishRequest("GET", access.root + "/"))
        let root = RedfishRoot(try RedfishAnswer.document(response.body))
        await remember { $0.root = root }
        return root
    }

    // MARK: - One request

    /// Sends a request; redirects of the same origin are followed.
    private func follow(
        _ request: RedfishRequest,
        with header: Header? = nil
    ) async throws -> RedfishResponse {
        var request = request
        request.headers += [
            (name: "Accept", value: "application/json"), (name: "OData-Version", value: "4.0"),
            // Compressed answers have tags of their own.
            (name: "Accept-Encoding", value: "identity"), (name: "User-Agent", value: "rdo"),
        ]
        if request.body != nil {
            request.headers.append((name: "Content-Type", value: "application/json"))
        }
        if let header { request.headers.append(header) }
        for _ in 0...Self.redirectsMax {
            let response = try await client.transport.send(
                request,
                to: bmc,
                bytesMax: client.settings.answerBytesMax,
                within: client.settings.requestBudget
            )
            guard [301, 302, 303, 307, 308].contains(response.status) else {
                return try accepted(response, request)
            }
            guard let location = response.headers["location"] else {
                throw RedfishTrouble.malformed("it redirects to nowhere")
            }
            let path = try bmc.path(of: location)
            guard [307, 308].contains(response.status) || request.method == "GET" else {
                throw RedfishTrouble.malformed("it redirects a change")
            }
            request.path = path
        }
        throw RedfishTrouble.malformed("it redirects more than \(Self.redirectsMax) times")
    }

    private func accepted(
        _ response: RedfishResponse,
        _ request: RedfishRequest
    ) throws -> RedfishResponse {
        switch response.status {
        case 200...299: return response
        case 401: throw RedfishTrouble.credentials
        case 403: throw RedfishTrouble.privilege
        case 404 where request.method != "PATCH": throw RedfishTrouble.absent(request.path)
        default:
            // A refused log-in may repeat what it was given.
            let tells = request.method != "POST" || !request.path.hasSuffix("/Sessions")
            throw RedfishTrouble.refused(
                response.status,
                tells ? redacted(RedfishAnswer.words(response.body)) : ""
            )
        }
    }

    /// A BMC's words without our password, should it repeat it.
    func redacted(_ words: String) -> String {
        let password = bmc.password.reveal()
        return password.isEmpty ? words : words.replacing(password, with: "***")
    }
}

import Basics
import Foundation
import HTTP
import HTTPTypes
import Hummingbird

extension RedfishDouble {
    /// What the service does and answers.
    func respond(
        to method: String,
        _ path: String,
        _ headers: [String: String],
        _ body: JSONValue?,
        _ state: inout State
    ) -> Response {
        switch method {
        case "GET":
            guard let document = state.documents[path] else {
                return .json(error("there is no \(path)"), status: .notFound)
            }
            var response = Response.json(document)
            if let tag = tag(path, state) { response.headers[.eTag] = tag }
            return response
        case "PATCH": return change(path, headers, body ?? [:], &state)
        case "DELETE":
            if path.contains("/Sessions/") {
                state.sessions.remove(String(path.split(separator: "/").last ?? ""))
            } else {
                guard drop(path, &state) else {
                    return .json(error("there is no \(path)"), status: .notFound)
                }
            }
            return Response(status: .noContent)
        default:
            if path.hasSuffix("/Sessions") { return logIn(path, body ?? [:], &state) }
            if path.hasSuffix("/Subscriptions") { return subscribe(path, body ?? [:], &state) }
            if path.hasSuffix("UpdateService.SimpleUpdate") {
                return startUpdate(body ?? [:], &state)
            }
            return act(path, body ?? [:], &state)
        }
    }

    private func tag(_ path: String, _ state: State) -> String? {
        guard let form = way("tags")?.text else { return nil }
        let version = state.versions[path] ?? 0
        return form == "weak" ? "W/\"v\(version)\"" : "\"v\(version)\""
    }

    private func change(
        _ path: String,
        _ headers: [String: String],
        _ body: JSONValue,
        _ state: inout State
    ) -> Response {
        guard let old = state.documents[path] else {
            return .json(error("there is no \(path)"), status: .notFound)
        }
        let given = headers["if-match"]
        if let tag = tag(path, state) {
            // Those that give weak tags and take only strong ones compare the text.
            let right = way("takes")?.text == "strong" ? String(tag.dropFirst(2)) : tag
            let refuses = way("takes")?.text == "none" ? given != nil : given != right
            if refuses, given != nil || way("needs-tag")?.bool == true {
                return .json(
                    error("the resource changed"),
                    status: given == nil ? .init(code: 428) : .preconditionFailed
                )
            }
        }
        if way("refuses-continuous")?.bool == true,
            body["Boot"]?["BootSourceOverrideEnabled"] == "Continuous"
        {
            return .json(error("Continuous is not supported"), status: .badRequest)
        }
        if path.contains("/Accounts/"), let password = body["Password"]?.text {
            guard way("password-policy")?.bool != true else {
                return .json(error("\(password) is too weak"), status: .badRequest)
            }
            state.password = password
            return Response(status: .noContent)
        }
        state.versions[path, default: 0] += 1
        guard way("ignores-changes")?.bool != true else { return Response(status: .noContent) }
        state.documents[path] = merged(old, body)
        return Response(status: .noContent)
    }

    private func merged(_ old: JSONValue, _ change: JSONValue) -> JSONValue {
        guard case .object(var members) = old, let changes = change.members else { return change }
        for (name, value) in changes { members[name] = merged(members[name] ?? .null, value) }
        return .object(members)
    }

    private func logIn(_ path: String, _ body: JSONValue, _ state: inout State) -> Response {
        if way("sessions")?.bool == false {
            return .json(error("not here"), status: .notFound)
        }
        guard body["UserName"]?.text == Self.user, body["Password"]?.text == state.password else {
            return .json(
                error("wrong password \(body["Password"]?.text ?? "")"),
                status: .unauthorized
            )
        }
        state.sessionsMade += 1
        let token = "token-\(state.sessionsMade)"
        state.sessions.insert(token)
        var response = Response(status: .created)
        if let name = HTTPField.Name("X-Auth-Token") { response.headers[name] = token }
        response.headers[.location] = (way("session-place")?.text ?? path) + "/" + token
        return response
    }

    private func act(_ path: String, _ body: JSONValue, _ state: inout State) -> Response {
        let owner = path.range(of: "/Actions/").map { String(path[..<$0.lowerBound]) } ?? ""
        guard var document = state.documents[owner] else {
            return .json(error("there is no \(path)"), status: .notFound)
        }
        switch path.split(separator: "/").last {
        case "ComputerSystem.Reset":
            let type = body["ResetType"]?.text ?? ""
            let known = document["Actions"]?["#ComputerSystem.Reset"]?[
                "ResetType@Redfish.AllowableValues"
            ]
            guard known?.elements?.contains(.string(type)) != false else {
                return .json(error("ResetType \(type) is unknown"), status: .badRequest)
            }
            guard way("obeys")?.bool != false else { return Response(status: .noContent) }
            if ["On", "ForceOn", "ForceRestart", "PowerCycle"].contains(type) {
                document["PowerState"] = "On"
            } else if type != "Nmi" {
                document["PowerState"] = "Off"
            }
        case "VirtualMedia.InsertMedia":
            if way("needs-protocol")?.bool == true, body["TransferProtocolType"] == nil {
                return .json(
                    error("the parameter TransferProtocolType is missing"),
                    status: .badRequest
                )
            }
            document["Image"] = body["Image"]
            document["Inserted"] = true
        case "VirtualMedia.EjectMedia":
            document["Image"] = .null
            document["Inserted"] = false
        case "Bios.ResetBios": document["Attributes"] = document["Defaults"]
        default: return .json(error("no such action"), status: .notFound)
        }
        let isChanged = state.documents[owner]?["PowerState"] != document["PowerState"]
        state.documents[owner] = document
        if isChanged {
            publish(
                "ResourceEvent.1.3.ResourceStateChanged",
                "OK",
                "The state of resource \(owner) has changed.",
                origin: owner,
                state
            )
        }
        return Response(status: .noContent)
    }
}

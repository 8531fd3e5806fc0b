import Basics
import FoundationEssentials
import Yams

/// A directory that describes a configuration run: `deployment.yaml`, `hieradata/`, `manifests/`.
///
/// `packaging/examples/overcloud` is one; its README explains the keys.
package struct OvercloudDirectory: Sendable {
    /// Any key of a mapping, so that unknown ones can be named.
    private struct AnyKey: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    /// The file `deployment.yaml`.
    package struct Description: Decodable, Sendable {
        /// A role and its nodes; without `nodes` it takes every other active node.
        package struct Role: Decodable, Sendable {
            package var nodes: [String]?

            package init(from decoder: any Decoder) throws {
                try OvercloudDirectory.refuseUnknown(["nodes"], decoder)
                nodes = try decoder.container(keyedBy: AnyKey.self)
                    .decodeIfPresent([String].self, forKey: AnyKey(stringValue: "nodes"))
            }
        }

        package var name: String
        package var roles: [String: Role]
        package var hierarchy: [String]?
        package var steps: [JSON]

        package init(from decoder: any Decoder) throws {
            try OvercloudDirectory.refuseUnknown(["name", "roles", "hierarchy", "steps"], decoder)
            let container = try decoder.container(keyedBy: AnyKey.self)
            name = try container.decode(String.self, forKey: AnyKey(stringValue: "name"))
            roles = try container.decode(
                [String: Role].self,
                forKey: AnyKey(stringValue: "roles")
            )
            hierarchy = try container.decodeIfPresent(
                [String].self,
                forKey: AnyKey(stringValue: "hierarchy")
            )
            steps = try container.decode([JSON].self, forKey: AnyKey(stringValue: "steps"))
        }
    }

    package let description: Description
    /// Files of `hieradata/`, by name.
    package let hieradata: [String: String]
    /// Files of `hieradata/nodes/`, by node.
    package let nodeHieradata: [String: String]
    /// Files of `manifests/`, by name.
    package let manifests: [String: String]

    /// One file at most.
    private static let fileBytesMax = 1 << 20

    /// Reads the directory.
    /// - Throws: `Fault` that names the file and what is wrong with it.
    package init(path: String) throws {
        let file = "\(path)/deployment.yaml"
        let text = try Self.read(file)
        do {
            description = try YAMLDecoder().decode(Description.self, from: text)
        } catch let error as DecodingError {
            throw Fault(.invalid, "cannot read \(file): \(Self.reason(error))", cause: error)
        } catch {
            throw Fault(.invalid, "cannot read \(file): it is not YAML (\(error))", cause: error)
        }
        hieradata = try Self.files(in: "\(path)/hieradata", ending: ".yaml")
        nodeHieradata = try Self.files(in: "\(path)/hieradata/nodes", ending: ".yaml")
        manifests = try Self.files(in: "\(path)/manifests", ending: ".pp")
    }

    /// The request that starts the run.
    ///
    /// `active`: names of all active nodes, for roles that name none.
    /// - Throws: `Fault` when a node has two roles or nothing is left for a role without nodes.
    package func request(active: [String]) throws -> JSON {
        var roleOfNode: [String: String] = [:]
        for (role, members) in description.roles.sorted(by: { $0.key < $1.key }) {
            for node in members.nodes ?? [] {
                if let other = roleOfNode.updateValue(role, forKey: node) {
                    throw Fault(
                        .invalid,
                        "cannot give node \(node) role \(role): it has role \(other); name it once"
                    )
                }
            }
        }
        let open = description.roles.filter { $0.value.nodes == nil }.keys.sorted()
        guard open.count <= 1 else {
            throw Fault(
                .invalid,
                "cannot spread nodes over roles \(open.joined(separator: ", ")): only one role may name no nodes"
            )
        }
        if let role = open.first {
            for node in active where roleOfNode[node] == nil { roleOfNode[node] = role }
        }
        let nodes = roleOfNode.sorted { $0.key < $1.key }.map { node, role -> JSON in
            var member: [String: JSON] = ["node": .text(node), "role": .text(role)]
            if let own = nodeHieradata["\(node).yaml"] {
                member["hieradata"] = ["node.yaml": .text(own)]
            }
            return .object(member)
        }
        var request: [String: JSON] = [
            "name": .text(description.name), "nodes": .list(nodes),
            "hieradata": .object(hieradata.mapValues(JSON.text)),
            "manifests": .object(manifests.mapValues(JSON.text)),
            "steps": .list(description.steps),
        ]
        if let hierarchy = description.hierarchy {
            request["hierarchy"] = .list(hierarchy.map(JSON.text))
        }
        return .object(request)
    }

    /// The request that resumes a run with the files as they are now.
    package var correction: JSON {
        [
            "hieradata": .object(hieradata.mapValues(JSON.text)),
            "manifests": .object(manifests.mapValues(JSON.text)),
            "nodes": .object(
                Dictionary(
                    uniqueKeysWithValues: nodeHieradata.map { name, text in
                        (String(name.dropLast(5)), ["node.yaml": .text(text)])
                    }
                )
            ),
        ]
    }

    private static func files(in directory: String, ending: String) throws -> [String: String] {
        guard FileManager.default.fileExists(atPath: directory) else { return [:] }
        var files: [String: String] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        where name.hasSuffix(ending) && !name.hasPrefix(".") {
            files[name] = try read("\(directory)/\(name)")
        }
        return files
    }

    private static func read(_ path: String) throws -> String {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw Fault(
                .notFound,
                "cannot read \(path): there is no such file or you may not read it"
            )
        }
        guard data.count <= fileBytesMax, let text = String(data: data, encoding: .utf8) else {
            throw Fault(
                .invalid,
                "cannot use \(path): it must be UTF-8 text of at most \(fileBytesMax) bytes"
            )
        }
        return text
    }

    private static func refuseUnknown(_ known: Set<String>, _ decoder: any Decoder) throws {
        let keys = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue)
        guard let unknown = keys.sorted().first(where: { !known.contains($0) }) else { return }
        throw DecodingError.dataCorrupted(
            DecodingError.Context(
                codingPath: decoder.codingPath,
                debugDescription:
                    "key “\(unknown)” is unknown; known are \(known.sorted().joined(separator: ", "))"
            )
        )
    }

    private static func reason(_ error: DecodingError) -> String {
        func place(_ path: [any CodingKey]) -> String {
            path.isEmpty ? "" : " at \(path.map(\.stringValue).joined(separator: "."))"
        }
        return switch error {
        case .keyNotFound(let key, let context):
            "key “\(key.stringValue)” is missing\(place(context.codingPath))"
        case .typeMismatch(_, let context), .valueNotFound(_, let context),
            .dataCorrupted(let context):
            context.debugDescription + place(context.codingPath)
        @unknown default: String(describing: error)
        }
    }
}

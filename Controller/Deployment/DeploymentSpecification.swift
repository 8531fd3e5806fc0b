package import Protocol

/// What a configuration run shall do: which manifest on which nodes in which steps, and what must
/// be true after each step.
///
/// It never changes its shape while the run exists; files may be replaced on resume.
package struct DeploymentSpecification: Sendable, Codable, Equatable {
    /// One node of the run.
    package struct Member: Sendable, Codable, Equatable {
        package var node: NodeID
        /// The node's name when the run was made, for people.
        package var name: String
        /// Free word that steps select by: `controller`, `compute`.
        package var role: String
        /// Hiera data of this node alone: file name to YAML text.
        ///
        /// Wins over the shared files by its place in the hierarchy, not by its presence here.
        package var hieradata: [String: String]
    }

    /// One step: Puppet on all its nodes, a barrier, validations on all its nodes, a barrier.
    package struct Step: Sendable, Codable, Equatable {
        /// What the manifest sees as Hiera key `step`; grows from step to step, 1 to 1000.
        package var number: UInt32
        package var name: String
        /// Name of a file in `manifests`.
        package var manifest: String
        /// Roles that take part; empty means all.
        package var roles: [String]
        /// How often Puppet and the validations are run while validations fail, 1 to 20.
        package var triesMax: Int
        /// Budget of one Puppet run in seconds, 30 to 14400.
        package var puppetSecondsMax: UInt32
        package var validations: [Validation]
    }

    /// One thing that must be true on every node of a step.
    package struct Validation: Sendable, Codable, Equatable {
        /// What is looked at.
        package enum Check: Sendable, Codable, Equatable {
            /// Name of an executable that the image ships in `/usr/lib/rdo/validations`.
            case executable(String)
            case tcpPort(host: String, port: UInt16)
            case httpStatus(url: String, status: UInt16)
            /// A systemd unit that must be active.
            case unitActive(String)
            /// An absolute path that must exist on the node.
            case fileExists(String)
        }

        package var name: String
        package var check: Check
        /// Seconds, 1 to 600.
        package var timeoutSeconds: UInt32
        /// Roles whose nodes are checked; empty means all of the step.
        package var roles: [String]
    }

    /// A word that names the run; unique among runs that are not over.
    package var name: String
    package var members: [Member]
    /// Hiera data that all nodes get: file name to YAML text.
    package var hieradata: [String: String]
    /// Hiera levels, highest first, without the extension.
    package var hierarchy: [String]
    /// Puppet manifests by file name.
    package var manifests: [String: String]
    package var steps: [Step]

    /// The members that take part in the step at `index`, in the order of the specification.
    package func members(ofStep index: Int) -> [Member] {
        let roles = steps[index].roles
        return roles.isEmpty ? members : members.filter { roles.contains($0.role) }
    }
}

// MARK: - Validity

extension DeploymentSpecification {
    /// Members in one run at most.
    package static let membersMax = 2000
    package static let stepsMax = 50
    package static let validationsMax = 100
    /// All files of one node together; they travel in one control message of at most 4 MiB.
    package static let fileBytesMax = 3 << 20

    /// What is wrong with the specification, as sentences that say what to do; empty when nothing is.
    package func problems() -> [String] {
        var found: [String] = []
        if !isName(name) {
            found.append(
                "the name “\(name)” is not one: use 1 to 64 letters, digits, dots, hyphens, underscores"
            )
        }
        if members.isEmpty { found.append("there are no nodes: name at least one") }
        if members.count > Self.membersMax {
            found.append("\(members.count) nodes are too many: the most is \(Self.membersMax)")
        }
        if Set(members.map(\.node)).count != members.count {
            found.append("a node is named twice: name each node once")
        }
        if steps.isEmpty { found.append("there are no steps: give at least one") }
        if steps.count > Self.stepsMax {
            found.append("\(steps.count) steps are too many: the most is \(Self.stepsMax)")
        }
        for (earlier, later) in zip(steps, steps.dropFirst()) where earlier.number >= later.number {
            found.append(
                "step \(later.number) follows step \(earlier.number): numbers must grow"
            )
        }
        found += fileProblems()
        for index in steps.indices { found += problems(ofStep: index) }
        return found
    }

    private func fileProblems() -> [String] {
        var found: [String] = []
        for (label, files) in [("hieradata", hieradata), ("manifest", manifests)] {
            for name in files.keys.sorted() where !isName(name) {
                found.append("\(label) file name “\(name)” is not one: a name, never a path")
            }
        }
        for member in members {
            for name in member.hieradata.keys.sorted() where !isName(name) {
                found.append(
                    "hieradata file name “\(name)” of node \(member.name) is not one: a name, never a path"
                )
            }
            let bytes =
                member.hieradata.values.reduce(0) { $0 + $1.utf8.count }
                + hieradata.values.reduce(0) { $0 + $1.utf8.count }
                + (manifests.values.map(\.utf8.count).max() ?? 0)
            if bytes > Self.fileBytesMax {
                found.append(
                    "the files for node \(member.name) have \(bytes) bytes: the most is \(Self.fileBytesMax)"
                )
            }
        }
        for level in hierarchy where !isName(level) {
            found.append("hierarchy level “\(level)” is not a name")
        }
        return found
    }

    private func problems(ofStep index: Int) -> [String] {
        let step = steps[index]
        var found: [String] = []
        if !(1...1000).contains(step.number) {
            found.append("step number \(step.number) is out of range: use 1 to 1000")
        }
        if manifests[step.manifest] == nil {
            found.append(
                "step \(step.number) names manifest “\(step.manifest)”, which is not among the manifests"
            )
        }
        if !(1...20).contains(step.triesMax) {
            found.append("step \(step.number) has \(step.triesMax) tries: use 1 to 20")
        }
        if !(30...14_400).contains(step.puppetSecondsMax) {
            found.append(
                "step \(step.number) gives Puppet \(step.puppetSecondsMax) s: use 30 to 14400"
            )
        }
        if members(ofStep: index).isEmpty {
            found.append("no node has a role of step \(step.number): correct its roles")
        }
        if step.validations.count > Self.validationsMax {
            found.append("step \(step.number) has more than \(Self.validationsMax) validations")
        }
        for validation in step.validations {
            if !(1...600).contains(validation.timeoutSeconds) {
                found.append(
                    "validation “\(validation.name)” waits \(validation.timeoutSeconds) s: use 1 to 600"
                )
            }
            switch validation.check {
            case .executable(let name) where !isName(name):
                found.append(
                    "validation “\(validation.name)” names executable “\(name)”: a name, never a path"
                )
            case .fileExists(let path) where !path.hasPrefix("/"):
                found.append(
                    "validation “\(validation.name)” names file “\(path)”: give an absolute path"
                )
            case .httpStatus(let url, _) where !url.hasPrefix("http://"):
                found.append(
                    "validation “\(validation.name)” asks “\(url)”: only http:// addresses can be asked"
                )
            case .executable, .tcpPort, .httpStatus, .unitActive, .fileExists: break
            }
        }
        return found
    }
}

/// A plain file or object name: no path, no hidden file, at most 64 characters.
private func isName(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    guard (1...64).contains(bytes.count), bytes[0] != UInt8(ascii: ".") else { return false }
    return bytes.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

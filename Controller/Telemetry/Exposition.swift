import Protocol

/// Prometheus' text format, version 0.0.4 (prometheus.io, “Exposition formats”).
struct Exposition {
    private(set) var text = ""

    /// Begins a family, whose type is `gauge` or `counter`.
    mutating func family(_ name: String, _ type: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    /// Adds one value of the family begun last.
    mutating func value(_ name: String, _ value: Double, _ labels: [(String, String)] = []) {
        text += name
        if !labels.isEmpty {
            text += "{"
            for (index, label) in labels.enumerated() {
                if index > 0 { text += "," }
                text += "\(label.0)=\"\(Self.escaped(label.1))\""
            }
            text += "}"
        }
        text += " \(Self.number(value))\n"
    }

    /// Backslash, quotation mark and line feed are escaped, as the format demands.
    static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }

    /// Whole numbers without a fraction, so that counters of bytes stay exact.
    static func number(_ value: Double) -> String {
        if value == value.rounded(), abs(value) < 9e15 { return String(Int64(value)) }
        return "\(value)"
    }
}

/// What the scrape shows, collected at one moment.
struct ScrapeSnapshot {
    var now: Timestamp
    var nodes: [NodeOverview]
    var samples:
        [(node: NodeOverview, points: [(series: SampleBoard.Series, point: SampleBoard.Point)])]
    var counts: (received: UInt64, refused: UInt64, droppedByAgents: UInt64)
    var traffic: [(name: String, value: UInt64)]
    var queues: [(name: String, length: Int)]
    var residentBytes: Int64

    /// The whole answer of `/metrics`.
    var exposition: String {
        var out = Exposition()
        writeStates(&out)
        writeBus(&out)
        writeSamples(&out)
        return out.text
    }

    private func writeStates(_ out: inout Exposition) {
        let byState = Dictionary(grouping: nodes, by: \.state).sorted { $0.key < $1.key }
        out.family("rdo_nodes", "gauge", "Nodes in each provision state.")
        for (state, nodes) in byState {
            out.value("rdo_nodes", Double(nodes.count), [("state", state)])
        }
        out.family(
            "rdo_node_state_seconds_max",
            "gauge",
            "Longest time that a node has been in the state."
        )
        for (state, nodes) in byState {
            let longest = nodes.map { (now - $0.since).inSeconds }.max() ?? 0
            out.value("rdo_node_state_seconds_max", longest, [("state", state)])
        }
        out.family(
            "rdo_node_state_over_budget",
            "gauge",
            "Nodes whose time budget for the state is over."
        )
        for (state, nodes) in byState {
            let late = nodes.filter { $0.until.map { $0 < now } ?? false }.count
            out.value("rdo_node_state_over_budget", Double(late), [("state", state)])
        }
        out.family("rdo_nodes_in_maintenance", "gauge", "Nodes in maintenance.")
        out.value("rdo_nodes_in_maintenance", Double(nodes.filter(\.maintenance).count))
        out.family("rdo_node_state_seconds", "gauge", "Time that the node has been in its state.")
        for node in nodes {
            out.value(
                "rdo_node_state_seconds",
                (now - node.since).inSeconds,
                [("node", node.name), ("state", node.state)]
            )
        }
    }

    private func writeBus(_ out: inout Exposition) {
        out.family("rdo_queue_length", "gauge", "Entries that wait in a queue of the controller.")
        for queue in queues {
            out.value("rdo_queue_length", Double(queue.length), [("queue", queue.name)])
        }
        out.family("rdo_bus_total", "counter", "What went over the message bus since the start.")
        for entry in traffic {
            out.value("rdo_bus_total", Double(entry.value), [("what", entry.name)])
        }
        out.family("rdo_samples_received_total", "counter", "Samples taken from agents.")
        out.value("rdo_samples_received_total", Double(counts.received))
        out.family("rdo_samples_refused_total", "counter", "Samples that were not well formed.")
        out.value("rdo_samples_refused_total", Double(counts.refused))
        out.family(
            "rdo_samples_dropped_by_agents_total",
            "counter",
            "Samples that agents dropped because they could not be sent in time."
        )
        out.value("rdo_samples_dropped_by_agents_total", Double(counts.droppedByAgents))
        out.family("rdo_controller_resident_bytes", "gauge", "Memory of the controller.")
        out.value("rdo_controller_resident_bytes", Double(residentBytes))
    }

    private func writeSamples(_ out: inout Exposition) {
        var families: [String: [(labels: [(String, String)], point: SampleBoard.Point)]] = [:]
        for (node, points) in samples {
            for (series, point) in points {
                var labels = [("node", node.name)]
                if !series.instance.isEmpty { labels.append(("instance_name", series.instance)) }
                families[series.name, default: []].append((labels, point))
            }
        }
        for (name, values) in families.sorted(by: { $0.key < $1.key }) {
            let full = "rdo_node_\(name)"
            let type = values.allSatisfy(\.point.cumulative) ? "counter" : "gauge"
            out.family(full, type, "Last sample of \(name) that the node's agent sent.")
            for value in values { out.value(full, value.point.value, value.labels) }
        }
    }
}

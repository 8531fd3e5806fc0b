/// One of Ironic's root device hints: which disk is meant, told by one of its properties.
struct RootDeviceHint: Sendable, Equatable {
    /// What a hint can look at.
    enum Property: String, Sendable, CaseIterable {
        case name
        case model
        case vendor
        case serial
        case size
        case wwn
        case wwnWithExtension = "wwn_with_extension"
        case wwnVendorExtension = "wwn_vendor_extension"
        case hctl
        case byPath = "by_path"
        case rotational
    }

    /// How a property is compared.
    ///
    /// The spelling is that of oslo.utils' `specs_matcher`.
    enum Comparison: String, Sendable, CaseIterable {
        /// At least: so it has been since Nova's first scheduler filters.
        case atLeastLegacy = "="
        case equal = "=="
        case notEqual = "!="
        case atLeast = ">="
        case atMost = "<="
        case greater = ">"
        case less = "<"
        case sameText = "s=="
        case otherText = "s!="
        case textBelow = "s<"
        case textAtMost = "s<="
        case textAbove = "s>"
        case textAtLeast = "s>="
        case contains = "<in>"
        case containsAll = "<all-in>"
        case anyOf = "<or>"

        var isNumeric: Bool {
            switch self {
            case .atLeastLegacy, .equal, .notEqual, .atLeast, .atMost, .greater, .less: true
            default: false
            }
        }

        /// Longest first, so that no operator hides behind a shorter one.
        static let bySpelling = allCases.sorted {
            ($0.rawValue.count, $1.rawValue) > ($1.rawValue.count, $0.rawValue)
        }
    }

    /// Why a hint makes no sense.
    struct Malformed: Error, Equatable {
        let reason: String
    }

    let property: Property
    let comparison: Comparison
    /// In lower case; one unless the comparison takes several.
    let values: [String]
    /// As the operator wrote it.
    let text: String

    /// Reads a hint: an operator and values, or a value alone, which means “equal”.
    init(_ property: Property, _ text: String) throws(Malformed) {
        self.property = property
        self.text = text
        let expression = trimmed(text.lowercased())
        guard !expression.isEmpty else { throw Malformed(reason: "it is empty") }
        guard let found = Comparison.bySpelling.first(where: { expression.hasPrefix($0.rawValue) })
        else {
            comparison = property == .size ? .equal : .sameText
            values = [expression]
            try check()
            return
        }
        comparison = found
        let rest = String(expression.dropFirst(found.rawValue.count))
        values =
            switch found {
            case .anyOf: split(rest, at: found.rawValue)
            case .containsAll: rest.split(whereSeparator: \.isWhitespace).map(String.init)
            default: [trimmed(rest)]
            }
        try check()
    }

    private func check() throws(Malformed) {
        guard !values.isEmpty, !values.contains("") else {
            throw Malformed(reason: "a value is missing after \(comparison.rawValue)")
        }
        switch property {
        case .size:
            guard comparison.isNumeric || comparison == .anyOf else {
                throw Malformed(reason: "size cannot be compared with \(comparison.rawValue)")
            }
            guard values.allSatisfy({ (Int64($0) ?? 0) > 0 }) else {
                throw Malformed(reason: "size takes whole GiB above zero")
            }
        case .rotational:
            guard comparison == .sameText, values.allSatisfy({ truth($0) != nil }) else {
                throw Malformed(reason: "rotational takes true or false")
            }
        default:
            guard !comparison.isNumeric || values.allSatisfy({ Double($0) != nil }) else {
                throw Malformed(
                    reason: "\(comparison.rawValue) compares numbers; "
                        + "s\(comparison.rawValue) compares texts"
                )
            }
        }
    }

    /// Whether a property with this value is meant.
    func matches(_ value: String) -> Bool {
        let value = trimmed(value.lowercased())
        if property == .rotational { return truth(value) == truth(values[0]) }
        if comparison.isNumeric {
            // A text that is no number (an absent serial number, say) equals none.
            guard let left = Double(value), let right = Double(values[0]) else { return false }
            return switch comparison {
            case .equal: left == right
            case .notEqual: left != right
            case .atMost: left <= right
            case .greater: left > right
            case .less: left < right
            default: left >= right
            }
        }
        guard !value.isEmpty else { return false }
        return switch comparison {
        case .sameText: value == values[0]
        case .otherText: value != values[0]
        case .textBelow: isBelow(value, values[0])
        case .textAtMost: !isBelow(values[0], value)
        case .textAbove: isBelow(values[0], value)
        case .textAtLeast: !isBelow(value, values[0])
        case .contains: value.contains(values[0])
        case .containsAll: values.allSatisfy(value.contains)
        case .anyOf:
            values.contains {
                property == .size ? Double($0) == Double(value) : $0 == value
            }
        default: false
        }
    }
}

/// Reads a truth value as oslo.utils does; `nil` for anything else.
private func truth(_ text: String) -> Bool? {
    switch text {
    case "1", "t", "true", "on", "y", "yes": true
    case "0", "f", "false", "off", "n", "no": false
    default: nil
    }
}

/// Order by code points, which does not depend on the language.
private func isBelow(_ left: String, _ right: String) -> Bool {
    left.unicodeScalars.lexicographicallyPrecedes(right.unicodeScalars)
}

private func trimmed(_ text: some StringProtocol) -> String {
    let start = text.firstIndex { !$0.isWhitespace } ?? text.endIndex
    let end = text.lastIndex { !$0.isWhitespace }.map { text.index(after: $0) } ?? start
    return String(text[start..<end])
}

private func split(_ text: String, at separator: String) -> [String] {
    var parts: [String] = []
    var part = ""
    var rest = Substring(text)
    while let next = rest.first {
        if rest.hasPrefix(separator) {
            parts.append(trimmed(part))
            part = ""
            rest = rest.dropFirst(separator.count)
        } else {
            part.append(next)
            rest = rest.dropFirst()
        }
    }
    return parts + [trimmed(part)]
}

import Basics
import HTTP

// The property AssetTag of DMTF's schema ComputerSystem.

extension RedfishPower: AssetTagControl {
    /// Characters of a text at most; services keep some 60.
    private static let lengthMax = 1024
    /// Looks at a text that is about to change.
    private static let tagLooksMax = 4

    package func assetTag(of bmc: BMC) async throws -> String {
        try await client.call(bmc, to: "read the asset tag") { call in
            try Self.tag(try await call.findSystem().document)
        }
    }

    package func shows(assetTag: String, of bmc: BMC) async throws -> Bool {
        try await client.call(bmc, to: "read the asset tag") { call in
            try await self.comes(to: assetTag, call)
        }
    }

    package func set(
        assetTag: String,
        where mayReplace: @escaping @Sendable (String) -> Bool,
        of bmc: BMC
    ) async throws -> Bool {
        try await client.call(bmc, to: "change the asset tag") { call in
            let document = try await call.findSystem().document
            guard mayReplace(try Self.tag(document)) else { return false }
            try await call.patch(document, ["AssetTag": .string(assetTag)])
            guard try await self.comes(to: assetTag, call) else {
                throw RedfishTrouble.disobeyed("it took the asset tag, and does not show it")
            }
            return true
        }
    }

    /// Whether the system shows the text within some looks.
    private func comes(to assetTag: String, _ call: RedfishCall) async throws -> Bool {
        for look in 1...Self.tagLooksMax {
            if try Self.tag(try await call.findSystem().document) == assetTag { return true }
            guard look < Self.tagLooksMax else { break }
            try await client.time.sleep(for: client.settings.pause)
        }
        return false
    }

    private static func tag(_ system: RedfishDocument) throws -> String {
        guard let value = system.value["AssetTag"] else {
            throw RedfishTrouble.unsupported("an asset tag")
        }
        if value == .null { return "" }
        guard let text = value.text, text.utf8.count <= lengthMax else {
            throw RedfishTrouble.malformed("its asset tag is no text, or too long")
        }
        return text
    }
}

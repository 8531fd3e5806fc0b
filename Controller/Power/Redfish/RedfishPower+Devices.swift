import Basics
import HTTP

extension RedfishPower: MediaControl {
    package func media(of bmc: BMC) async throws -> [VirtualMedium] {
        try await client.call(bmc, to: "list the virtual media") { call in
            try await call.media().map(\.medium).map {
                VirtualMedium(
                    id: $0.id,
                    types: $0.types,
                    image: $0.image,
                    isInserted: $0.isInserted,
                    isWriteProtected: $0.isWriteProtected,
                    connectedVia: $0.connectedVia
                )
            }
        }
    }

    package func insert(
        _ image: String,
        into kind: VirtualMedium.Kind,
        of bmc: BMC
    ) async throws {
        try await client.call(bmc, to: "attach \(kind.rawValue) media") { call in
            let media = try await call.media().filter { kind.fits($0.medium) }
            guard let (document, medium) = media.first else {
                throw RedfishTrouble.unknown("it has no virtual drive for \(kind.rawValue)")
            }
            for (document, medium) in media where medium.isInserted {
                try await call.eject(document, medium)
            }
            try await call.insert(image, document, medium)
            for look in 1...RedfishCall.looksMax {
                let shown = RedfishMedium(try await call.get(document.path).value)
                if shown?.isInserted == true { return }
                guard look < RedfishCall.looksMax else { break }
                try await call.client.time.sleep(for: call.client.settings.pause)
            }
            throw RedfishTrouble.disobeyed(
                "it took the image, but its drive is still empty; check that it can read the image's address"
            )
        }
    }

    package func eject(_ kinds: [VirtualMedium.Kind]?, of bmc: BMC) async throws {
        try await client.call(bmc, to: "detach virtual media") { call in
            for (document, medium) in try await call.media() where medium.isInserted {
                guard kinds?.contains(where: { $0.fits(medium) }) != false else { continue }
                try await call.eject(document, medium)
            }
        }
    }
}

extension VirtualMedium.Kind {
    /// Whether a drive takes such media; one for DVDs takes CDs.
    fileprivate func fits(_ medium: RedfishMedium) -> Bool {
        let types: [String] =
            switch self {
            case .cdrom, .dvd: ["CD", "DVD"]
            case .disk: ["USBStick"]
            case .floppy: ["Floppy"]
            }
        return !Set(types).isDisjoint(with: medium.types)
    }
}

extension RedfishCall {
    /// The drives: the system's own, or where it has none those of the BMCs that manage it.
    fileprivate func media() async throws -> [(document: RedfishDocument, medium: RedfishMedium)] {
        let system = try await findSystem().machine
        var lists = [system.virtualMedia].compactMap(\.self)
        if lists.isEmpty {
            for manager in system.managers.prefix(4) {
                let document = try await find(manager)
                lists += [RedfishAnswer.link(document?.value["VirtualMedia"])].compactMap(\.self)
            }
        }
        guard !lists.isEmpty else { throw RedfishTrouble.unsupported("virtual media") }
        var found: [(document: RedfishDocument, medium: RedfishMedium)] = []
        for list in lists {
            let members = RedfishAnswer.links(try await find(list)?.value["Members"])
            for member in members.prefix(16) {
                guard let document = try await find(member),
                    let medium = RedfishMedium(document.value)
                else { continue }
                found.append((document, medium))
            }
        }
        return found
    }

    fileprivate func insert(
        _ image: String,
        _ document: RedfishDocument,
        _ medium: RedfishMedium
    ) async throws {
        guard let action = medium.insert else {
            // Older services take it as a change of the drive.
            return try await patch(document, ["Image": .string(image), "Inserted": true])
        }
        do {
            try await post(action.target, ["Image": .string(image)])
        } catch RedfishTrouble.refused(let status, let words)
            where (400...499).contains(status) && words.contains("TransferProtocolType")
        {
            let scheme = image.prefix { $0 != ":" }.uppercased()
            try await post(
                action.target,
                ["Image": .string(image), "TransferProtocolType": .string(scheme)]
            )
        }
    }

    fileprivate func eject(_ document: RedfishDocument, _ medium: RedfishMedium) async throws {
        guard let action = medium.eject else {
            return try await patch(document, ["Image": .null, "Inserted": false])
        }
        try await post(action.target, [:])
    }
}

extension RedfishPower: IndicatorControl {
    package func indicators(of bmc: BMC) async throws -> [Indicator] {
        try await client.call(bmc, to: "list the indicators") { call in
            try await call.indicators().map(\.indicator)
        }
    }

    package func set(
        _ state: Indicator.State,
        of name: Indicator.Name,
        of bmc: BMC
    ) async throws {
        try await client.call(bmc, to: "switch the indicator \(printable(name.id, max: 80))") {
            call in
            guard let word = state.redfishName else {
                throw RedfishTrouble.unknown("an indicator can be ON, OFF or BLINKING")
            }
            let found = try await call.indicators().first { $0.indicator.name == name }
            guard let found else {
                throw RedfishTrouble.unknown(
                    "it has no such indicator at “\(printable(name.component, max: 40))”"
                )
            }
            try await call.patch(found.document, ["IndicatorLED": .string(word)])
        }
    }
}

extension Indicator.State {
    fileprivate init(redfish word: String) {
        self =
            switch word {
            case "Lit": .on
            case "Off": .off
            case "Blinking": .blinking
            default: .unknown
            }
    }

    fileprivate var redfishName: String? {
        switch self {
        case .on: "Lit"
        case .off: "Off"
        case .blinking: "Blinking"
        case .unknown: nil
        }
    }
}

extension RedfishCall {
    fileprivate func indicators() async throws
        -> [(document: RedfishDocument, indicator: Indicator)]
    {
        let (document, system) = try await findSystem()
        var found: [(document: RedfishDocument, indicator: Indicator)] = []
        for link in system.chassis.prefix(8) {
            guard let chassis = try await find(link) else { continue }
            add(chassis, "chassis", to: &found)
        }
        add(document, "system", to: &found)
        return found
    }

    private func add(
        _ document: RedfishDocument,
        _ component: String,
        to found: inout [(document: RedfishDocument, indicator: Indicator)]
    ) {
        guard let word = RedfishAnswer.text(document.value["IndicatorLED"]),
            let id = RedfishAnswer.text(document.value["UUID"])
                ?? RedfishAnswer.text(document.value["Id"])
        else { return }
        let name = Indicator.Name(component: component, id: id)
        found.append((document, Indicator(name: name, state: Indicator.State(redfish: word))))
    }
}

extension RedfishPower: SensorControl {
    package func readings(of bmc: BMC) async throws -> [SensorReading] {
        try await client.call(bmc, to: "read the sensors") { call in
            var found: [SensorReading] = []
            for link in try await call.findSystem().machine.chassis.prefix(4) {
                guard let chassis = try await call.find(link) else { continue }
                for part in ["Thermal", "Power"] {
                    let link = RedfishAnswer.link(chassis.value[part])
                    guard let document = try await call.find(link) else { continue }
                    found += RedfishAnswer.readings(document.value)
                }
            }
            return Array(found.prefix(RedfishAnswer.sensorsMax))
        }
    }
}

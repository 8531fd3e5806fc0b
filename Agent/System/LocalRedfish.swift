package import Basics
import FoundationEssentials
import Glibc

/// The Redfish service of the machine's own BMC, reached from within the machine.
package protocol LocalRedfish: Sendable {
    /// Writes a text into the `AssetTag` of the machine; blocks its thread for at most a minute.
    /// - Throws: `LocalBMCFailure`.
    func leave(_ tag: String) throws(LocalBMCFailure)
}

/// The service behind the firmware's `HostInterface`.
///
/// Nothing tells in advance which certificate the service has, so any is taken (DSP0270 leaves no other way). That is
/// harmless here: the address is that of a direct neighbour, and it learns a digest that everybody may know and an
/// account that its own BMC made for this purpose. Whoever pretends to be the service gains that account, with which
/// nothing is proven that the controller does not see in the registered BMC itself.
package struct SystemHostInterface: LocalRedfish {
    private let tree: FileTree
    private let network: any Network
    private let time: any TimeSource

    /// - Parameters:
    ///   - tree: where `/sys` and `/dev` are.
    ///   - network: the machine's cards.
    ///   - time: the clock.
    package init(tree: FileTree, network: any Network, time: any TimeSource) {
        self.tree = tree
        self.network = network
        self.time = time
    }

    package func leave(_ tag: String) throws(LocalBMCFailure) {
        let table = tree.bytes("/sys/firmware/dmi/tables/DMI") ?? []
        let interfaces = SMBIOS(table: table).hostInterfaces
        guard !interfaces.isEmpty else {
            throw LocalBMCFailure("its firmware tells of no Redfish host interface")
        }
        for interface in interfaces { takeAddress(interface) }
        let cards = network.interfaces()
        let origin = interfaces.lazy.flatMap { one in cards.compactMap { one.origin(over: $0) } }
            .first
        guard let origin else {
            throw LocalBMCFailure(
                "no card of it has an address in the network of its Redfish host interface"
            )
        }
        let account = try KernelBMC(tree: tree).bootstrapAccount()
        let trust: TLSTrust
        do throws(TransferFailure) {
            trust = try TLSTrust.anybody()
        } catch {
            throw LocalBMCFailure(error.text)
        }
        try LocalSystem(origin: origin, trust: trust, account: account, time: time).leave(tag)
    }

    /// Gives the card that the firmware names its address, when it has none.
    private func takeAddress(_ interface: HostInterface) {
        guard interface.isStatic, let mac = interface.mac, let address = IPv4(interface.host),
            interface.host.count == 4,
            let card = network.interfaces().first(where: { $0.mac == mac }), card.ipv4.isEmpty
        else { return }
        let lease = DHCPLease(
            address: address,
            mask: IPv4(prefix: interface.prefix),
            server: address,
            seconds: .max
        )
        do {
            try network.bringUp(card.name)
            _ = try network.configure(card.name, lease: lease)
        } catch {
            // Then the card has no address, which is looked at next.
        }
    }
}

/// The ComputerSystem of a service that has only one (DMTF DSP0266, schema ComputerSystem).
package struct LocalSystem {
    private static let answerBytesMax = 1 << 20
    private static let budget: Duration = .seconds(50)
    private static let requestBudget: Duration = .seconds(10)
    /// Looks at a tag that was changed, with pauses of half a second.
    private static let looksMax = 4

    private let client: HTTPSClient
    private let authorization: [(name: String, value: Secret)]
    private let time: any TimeSource
    private let end: Duration

    /// - Parameters:
    ///   - origin: where the service is.
    ///   - trust: who may sign its certificate.
    ///   - account: what logs in.
    ///   - time: the clock.
    package init(
        origin: HTTPOrigin,
        trust: TLSTrust?,
        account: BootstrapAccount,
        time: any TimeSource
    ) {
        client = HTTPSClient(origin: origin, trust: trust, time: time)
        let pair = Data("\(account.user):".utf8) + account.password.revealBytes()
        authorization = [
            (name: "Authorization", value: Secret("Basic " + pair.base64EncodedString())),
            (name: "Accept", value: Secret("application/json")),
            (name: "OData-Version", value: Secret("4.0")),
        ]
        self.time = time
        end = time.elapsed + Self.budget
    }

    private struct Link: Decodable {
        let place: String

        enum CodingKeys: String, CodingKey { case place = "@odata.id" }
    }

    private struct Root: Decodable {
        let systems: Link

        enum CodingKeys: String, CodingKey { case systems = "Systems" }
    }

    private struct List: Decodable {
        let members: [Link]

        enum CodingKeys: String, CodingKey { case members = "Members" }
    }

    private struct System: Decodable {
        let tag: String?

        enum CodingKeys: String, CodingKey { case tag = "AssetTag" }
    }

    /// Writes the text into the `AssetTag` and looks whether it stands there.
    /// - Throws: `LocalBMCFailure`.
    package func leave(_ tag: String) throws(LocalBMCFailure) {
        let root: Root = try read("/redfish/v1/")
        let list: List = try read(root.systems.place)
        guard list.members.count == 1 else {
            throw LocalBMCFailure(
                "its Redfish host interface has \(list.members.count) systems instead of one"
            )
        }
        let place = list.members[0].place
        let text = Array(#"{"AssetTag":"\#(tag)"}"#.utf8)
        var status = try change(place, text, [])
        // Services that want to be told which version is changed.
        if status == 412 || status == 428 {
            status = try change(place, text, [(name: "If-Match", value: Secret("*"))])
        }
        guard (200..<300).contains(status) else {
            throw LocalBMCFailure(
                "its Redfish host interface refuses the change of AssetTag with status \(status)"
            )
        }
        for look in 1...Self.looksMax {
            let system: System = try read(place)
            if system.tag == tag { return }
            if look < Self.looksMax { usleep(500_000) }
        }
        throw LocalBMCFailure("its Redfish host interface took AssetTag and does not show it")
    }

    private func change(
        _ path: String,
        _ text: [UInt8],
        _ headers: [(name: String, value: Secret)]
    ) throws(LocalBMCFailure) -> Int {
        let path = try checked(path)
        var body: [UInt8] = []
        do throws(TransferFailure) {
            return try client.patch(
                path,
                headers: authorization + headers,
                content: text,
                bytesMax: Self.answerBytesMax,
                budget: try left(),
                into: &body
            )
        } catch {
            throw LocalBMCFailure("its Redfish host interface fails: \(error.text.prefix(120))")
        }
    }

    private func read<Document: Decodable>(_ path: String) throws(LocalBMCFailure) -> Document {
        let path = try checked(path)
        var body: [UInt8] = []
        let status: Int
        do throws(TransferFailure) {
            status = try client.get(
                path,
                headers: authorization,
                bytesMax: Self.answerBytesMax,
                budget: try left(),
                into: &body
            )
        } catch {
            throw LocalBMCFailure("its Redfish host interface fails: \(error.text.prefix(120))")
        }
        guard status == 200 else {
            throw LocalBMCFailure("its Redfish host interface answers with status \(status)")
        }
        // Why exactly it cannot be read helps nobody; it is the BMC's.
        guard let document = try? JSONDecoder().decode(Document.self, from: Data(body)) else {
            throw LocalBMCFailure("the answer of its Redfish host interface makes no sense")
        }
        return document
    }

    /// A path of the same service: everything else is somebody else's.
    private func checked(_ path: String) throws(LocalBMCFailure) -> String {
        guard path.utf8.count <= 512, path.hasPrefix("/redfish/v1/"),
            path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { throw LocalBMCFailure("its Redfish host interface leads elsewhere") }
        return path
    }

    private func left() throws(TransferFailure) -> Duration {
        let left = end - time.elapsed
        guard left > .zero else {
            throw TransferFailure(.timeout, "it did not end within \(Self.budget)")
        }
        return min(left, Self.requestBudget)
    }
}

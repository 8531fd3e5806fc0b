import Basics
import FoundationEssentials
package import HTTP
import HTTPTypes
import Hummingbird
package import Logging
import Protocol

/// The plain HTTP routes of the provisioning network: scripts, the ramdisk and fragments; nothing else.
///
/// | route | answer |
/// | --- | --- |
/// | `/boot.ipxe?mac=…` | the script for this machine |
/// | `/boot/{mac}/fragment` | its fragment, only to the address that holds the machine's lease |
/// | `/ramdisk/kernel`, `/ramdisk/initrd` | the ramdisk |
/// | `/boot/media/{capability}/ramdisk.iso` | the image of a CD with the ramdisk and a machine's fragment, to whoever has the capability of its present boot |
package struct BootRoutes: RouteArea {
    private let policy: any BootPolicy
    private let leases: LeaseTable
    private let script: BootScript
    private let directory: String
    private let media: BootMedia
    private let logger: Logger

    /// The directory holds `ramdisk/kernel`, `ramdisk/initrd` and `ramdisk/media.iso`.
    package init(
        policy: any BootPolicy,
        leases: LeaseTable,
        script: BootScript,
        directory: String,
        logger: Logger
    ) {
        self.policy = policy
        self.leases = leases
        self.script = script
        self.directory = directory
        media = BootMedia(path: directory + "/ramdisk/media.iso")
        self.logger = logger
    }

    package func addRoutes(to surface: Surface) {
        let routes = surface.area("", dialect: .plain)
        routes.get("/boot.ipxe", .open, .bootScript) { request, context in
            try await bootScript(request, context)
        }
        routes.get("/boot/:mac/fragment", .open, .fragment) { _, context in
            try await fragment(context)
        }
        routes.get(
            "/boot/media/:capability/ramdisk.iso",
            .handler(.capability),
            .medium
        ) { request, context in
            try await medium(request, context)
        }
        for name in ["kernel", "initrd"] {
            routes.get("/ramdisk/\(name)", .open, .ramdisk) { _, context in
                try await file(name, context)
            }
        }
    }

    private func bootScript(_ request: Request, _ context: APIContext) async throws -> Response {
        guard let text = request.query("mac") else { return .text(script.chain) }
        guard let mac = MACAddress(text) else {
            throw Fault(.invalid, "cannot make a boot script: the mac in the query is none")
        }
        let decision = try await policy.decision(for: mac)
        switch decision {
        case .ramdisk:
            logger.info("network boot: ramdisk", metadata: [LogKey.mac: "\(mac)"])
            return .text(script.ramdisk(for: mac))
        case .localDisk(let reason):
            logger.info(
                "network boot: local disk",
                metadata: [LogKey.mac: "\(mac)", LogKey.reason: "\(reason)"]
            )
            return .text(script.localDisk(reason: reason))
        }
    }

    private func fragment(_ context: APIContext) async throws -> Response {
        guard let mac = MACAddress(try context.parameter("mac")) else {
            throw Fault(.invalid, "cannot give a boot fragment: the mac in the path is none")
        }
        guard let address = leases.address(of: mac), address.text == context.remoteAddress else {
            logger.warning(
                "boot fragment refused: another address holds the lease",
                metadata: [LogKey.mac: "\(mac)", LogKey.address: "\(context.remoteAddress)"]
            )
            throw Fault(
                .forbidden,
                "cannot give the boot fragment of \(mac): this address does not hold its lease"
            )
        }
        guard let fragment = try await policy.fragment(for: mac) else {
            throw Fault(.notFound, "cannot give the boot fragment of \(mac): no boot is expected")
        }
        return Response(
            status: .ok,
            headers: [.contentType: "application/octet-stream"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: fragment.archive))
        )
    }

    /// The BMC's address is not looked at: it is another one than the machine's, and often translated.
    private func medium(_ request: Request, _ context: APIContext) async throws -> Response {
        let capability = Secret(try context.parameter("capability"))
        guard let fragment = try await policy.medium(of: capability) else {
            logger.warning(
                "boot image refused: no boot is expected by its capability",
                metadata: [LogKey.address: "\(context.remoteAddress)"]
            )
            throw Fault(
                .notFound,
                "cannot give the boot image: no boot is expected at this address; it ends with the boot that it was made for"
            )
        }
        return try await media.response(to: request, fragment: fragment.archive)
    }

    private func file(_ name: String, _ context: APIContext) async throws -> Response {
        let path = "\(directory)/ramdisk/\(name)"
        do {
            let body = try await FileIO().loadFile(path: path, context: context)
            var headers: HTTPFields = [.contentType: "application/octet-stream"]
            if let length = body.contentLength { headers[.contentLength] = String(length) }
            return Response(status: .ok, headers: headers, body: body)
        } catch let error as HTTPError where error.status == .notFound {
            throw Fault(
                .notFound,
                "cannot give the ramdisk: \(path) is missing; build it with rdo-ramdisk build"
            )
        }
    }
}

extension Operation {
    fileprivate static let bootScript = Operation(
        "Give a machine its iPXE script",
        [.init("mac", .text, "The machine's MAC address; without it the script asks for it.")],
        answers: .text("text/plain; charset=utf-8")
    )
    fileprivate static let fragment = Operation(
        "Give a machine its boot fragment, to the address that holds its lease",
        answers: .bytes("application/octet-stream"),
        refusals: [.forbidden]
    )
    fileprivate static let medium = Operation(
        "Give a BMC the boot image of its machine",
        [.init("Range", .text, "A part of it, as bytes=FIRST-LAST.", in: .header)],
        answers: .bytes("application/octet-stream"),
        .bytes("application/octet-stream", .partialContent),
        refusals: [.notFound, .rangeNotSatisfiable]
    )
    fileprivate static let ramdisk = Operation(
        "Give a machine its ramdisk",
        answers: .bytes("application/octet-stream"),
        refusals: [.notFound]
    )
}

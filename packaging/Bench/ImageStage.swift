import AgentSystem
import Basics
import Crypto
import FoundationEssentials
import Glibc
import HostTools
import Protocol

/// The image in the controller, and a disk to write it to.
struct ImageStage {
    let server: ControllerServer
    let folder: String
    let image: String
    /// The loop device, or the file where there are no loop devices.
    let disk: String
    let isLoop: Bool
    let uploadSeconds: Double
    let manifest: [UInt8]
    let capability: String

    var raw: String { folder + "/disk.raw" }
    var qcow2: String { folder + "/disk.qcow2" }
    /// Where the controller keeps the chunks.
    var chunks: String { server.folder + "/state/images/chunks" }
    var baseURL: String { "https://127.0.0.1:\(server.target.port)/v1/images/\(image)" }

    /// More than the image, so that the partition table has to move.
    private static let diskBytes: Int64 = SampleDisk.bytes + (64 << 20)

    /// Makes the sample, uploads it and sets up the disk.
    static func make(_ options: BenchOptions) async throws -> ImageStage {
        let name = hexadecimal(SystemRandom().bytes(1)[0]) + "\(getpid())"
        let folder = "\(options.directory)/rdo-bench-\(name)"
        try HostTools.makeDirectories(folder, mode: 0o700)
        try await SampleDisk.make(folder + "/disk.raw")
        let server = try await ControllerServer.start(options)
        let (image, seconds) = try upload(folder + "/disk.raw", server)
        let capability = try capability(for: image, server)
        let target = LoadTarget(
            host: "127.0.0.1",
            port: server.target.port,
            trust: server.target.trust
        ).with("Authorization", "Capability \(capability)")
        let manifest = try LoadConnection(target).ask("GET", "/v1/images/\(image)/manifest")
        guard manifest.status == 200 else {
            throw Fault(.unavailable, "cannot fetch the manifest: status \(manifest.status)")
        }
        let (disk, isLoop) = try await makeDisk(folder)
        return ImageStage(
            server: server,
            folder: folder,
            image: image,
            disk: disk,
            isLoop: isLoop,
            uploadSeconds: seconds,
            manifest: manifest.body,
            capability: capability
        )
    }

    /// Takes everything away.
    func remove() async throws {
        if isLoop {
            try await Tool.require(
                "losetup",
                ["--detach", disk],
                budget: .seconds(30),
                time: SystemTime()
            )
        }
        try await server.stop()
        try FileManager.default.removeItem(atPath: folder)
    }

    private static func upload(
        _ path: String,
        _ server: ControllerServer
    ) throws -> (image: String, seconds: Double) {
        struct Made: Decodable { let id: String }
        let connection = LoadConnection(server.target)
        let body = #"{"name":"bench","disk_format":"raw","container_format":"bare"}"#
        let answer = try connection.ask("POST", "/image/v2/images", Array(body.utf8))
        guard answer.status == 201 else {
            throw Fault(.unavailable, "cannot make an image: status \(answer.status)")
        }
        let image = try JSONDecoder().decode(Made.self, from: Data(answer.body)).id
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw systemFault("open \(path)") }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        let watch = Stopwatch(server.pid)
        let put = try connection.upload(
            "PUT",
            "/image/v2/images/\(image)/file",
            count: Int(SampleDisk.bytes)
        ) {
            let count = read(file, &buffer, buffer.count)
            return count > 0 ? Array(buffer[..<count]) : nil
        }
        guard put.status == 204 else {
            let words = String(decoding: put.body.prefix(200), as: UTF8.self)
            throw Fault(.unavailable, "cannot upload the image: status \(put.status): \(words)")
        }
        return (image, watch.seconds)
    }

    /// Signs what the agent has to show, as the controller does when it orders a deployment.
    ///
    /// Only a bench may: it made the sealing key, from which the signing key comes.
    private static func capability(
        for image: String,
        _ server: ControllerServer
    ) throws -> String {
        guard let bytes = FileManager.default.contents(atPath: server.folder + "/sealing.key")
        else {
            throw Fault(.invalid, "cannot read the sealing key of the bench's controller")
        }
        let key = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: bytes),
            info: Array("rdo image capability".utf8),
            outputByteCount: 32
        )
        let payload =
            #"{"attempt":1,"expires":4000000000,"image":"\#(image)","key":"bench","#
            + #""node":"\#(BareMetalLoad.uuid(0))"}"#
        let text = base64URL(Data(payload.utf8))
        let code = HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key)
        return text + "." + base64URL(Data(code))
    }

    private static func base64URL(_ data: Data) -> String {
        String(
            data.base64EncodedString().compactMap { character -> Character? in
                switch character {
                case "+": "-"
                case "/": "_"
                case "=": nil
                default: character
                }
            }
        )
    }

    private static func makeDisk(_ folder: String) async throws -> (path: String, isLoop: Bool) {
        let path = folder + "/target.img"
        try writeText("", to: path, mode: 0o600)
        guard truncate(path, Int(diskBytes)) == 0 else { throw systemFault("make \(path)") }
        try SampleDisk.soil(path)
        let time = SystemTime()
        for direct in ["on", "off"] {
            let result = try await Tool.run(
                "losetup",
                ["--find", "--show", "--direct-io=\(direct)", path],
                budget: .seconds(30),
                time: time
            )
            let device = result.output.filter { $0 != "\n" }
            if result.exitCode == 0, !device.isEmpty { return (device, true) }
        }
        return (path, false)
    }
}

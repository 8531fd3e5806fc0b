import Basics
import FoundationEssentials
import Glibc

/// A short conversation with a machine's QEMU over its monitor socket (QMP).
///
/// Each read and write waits two seconds at most; QEMU answers within milliseconds.
struct Monitor: ~Copyable {
    private struct Answer: Decodable {
        struct Failure: Decodable {
            let desc: String
        }
        let event: String?
        let error: Failure?
    }

    private struct Request: Encodable {
        struct Arguments: Encodable {
            var path: String?
            var property: String?
            var value: Int?
        }
        let execute: String
        var arguments: Arguments?
    }

    private let descriptor: Int32
    private var pending: [UInt8] = []
    private static let answerMax = 1 << 20

    /// Connects and shakes hands.
    /// - Throws: `Fault` (`unavailable`) when nobody answers there.
    static func open(_ path: String) throws -> Monitor {
        var monitor = Monitor(descriptor: try connectUnix(path))
        try monitor.greet()
        return monitor
    }

    private init(descriptor: Int32) { self.descriptor = descriptor }

    private mutating func greet() throws {
        var patience = timeval(tv_sec: 2, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(
                descriptor,
                SOL_SOCKET,
                option,
                &patience,
                socklen_t(MemoryLayout<timeval>.size)
            )
        }
        _ = try line()  // the greeting
        try execute(Request(execute: "qmp_capabilities"))
    }

    deinit { close(descriptor) }

    /// Changes which device the next reset of the guest tries first.
    ///
    /// QEMU hands the order to the firmware at each reset, so a start that is under way is not touched.
    mutating func setBootOrder(first: BootDevice) throws {
        let disk = first == .disk ? 1 : 2
        // Two devices may never have the same place: first clear both.
        for (device, index) in [
            (QEMUArguments.diskDevice, -1), (QEMUArguments.networkDevice, -1),
            (QEMUArguments.diskDevice, disk), (QEMUArguments.networkDevice, 3 - disk),
        ] {
            try execute(
                Request(
                    execute: "qom-set",
                    arguments: .init(
                        path: "/machine/peripheral/\(device)",
                        property: "bootindex",
                        value: index
                    )
                )
            )
        }
    }

    /// Presses the power button once.
    mutating func pressPowerButton() throws { try execute(Request(execute: "system_powerdown")) }

    private mutating func execute(_ request: Request) throws {
        var bytes = Array(try JSONEncoder().encode(request))
        bytes.append(UInt8(ascii: "\n"))
        guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
        else { throw silent }
        while true {
            let answer = try JSONDecoder().decode(Answer.self, from: Data(try line()))
            if answer.event != nil { continue }
            if let error = answer.error {
                throw Fault(
                    .internalError,
                    "cannot \(request.execute) a lab machine: QEMU refused it",
                    detail: error.desc
                )
            }
            return
        }
    }

    private mutating func line() throws -> [UInt8] {
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(pending[..<end])
                pending.removeSubrange(...end)
                return line
            }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0, pending.count < Self.answerMax else { throw silent }
            pending += buffer[..<count]
        }
    }

    private var silent: Fault {
        Fault(.unavailable, "cannot reach a lab machine's QEMU: it does not answer")
    }
}

/// Connects to a Unix socket.
/// - Throws: `Fault` (`unavailable`) with the system's reason.
func connectUnix(_ path: String) throws -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard bytes.count < room else {
        throw Fault(.invalid, "cannot connect to \(path): the path has more than \(room - 1) bytes")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw Fault(.unavailable, "cannot make a socket") }
    let status = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
    guard status == 0 else {
        let text = strerror(errno).map { String(cString: $0).lowercased() } ?? ""
        close(descriptor)
        throw Fault(.unavailable, "cannot connect to \(path): \(text)")
    }
    return descriptor
}

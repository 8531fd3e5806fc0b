import Basics
import FoundationEssentials
import Glibc
import NIOSSL

/// Where a listener gets its connections.
package enum ListenerEndpoint: Sendable, Equatable {
    /// Binds this address; port 0 lets the kernel choose.
    case address(host: String, port: Int)
    /// A listening socket that whoever started us opened: systemd, or the lab across a network namespace.
    case handedOver(descriptor: CInt)
}

/// The certificate and key of the API, as PEM files.
package struct TLSFiles: Sendable {
    package let certificatePath: String
    package let keyPath: String

    package init(certificatePath: String, keyPath: String) {
        self.certificatePath = certificatePath
        self.keyPath = keyPath
    }

    /// Reads both files: TLS 1.2 and later, no client certificates.
    /// - Throws: `Fault` that names the file.
    func configuration() throws -> TLSConfiguration {
        let chain: [NIOSSLCertificate]
        let key: NIOSSLPrivateKey
        do {
            chain = try NIOSSLCertificate.fromPEMFile(certificatePath)
        } catch {
            throw Fault(
                .unavailable,
                "cannot read the certificate \(certificatePath): check that it is a PEM file and readable by this user",
                cause: error
            )
        }
        do {
            key = try NIOSSLPrivateKey(file: keyPath, format: .pem)
        } catch {
            throw Fault(
                .unavailable,
                "cannot read the key \(keyPath): check that it is a PEM file and readable by this user",
                cause: error
            )
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(key)
        )
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        return configuration
    }
}

/// Listening sockets that were handed to this process, as systemd does (sd_listen_fds(3)).
package struct HandedOverSockets: Sendable {
    /// The first one's descriptor, by that convention.
    static let firstDescriptor: CInt = 3
    static let countMax = 16

    /// Name (from `LISTEN_FDNAMES`, else `unknown`) and descriptor, in their order.
    package let sockets: [(name: String, descriptor: CInt)]

    /// Reads `LISTEN_FDS`, `LISTEN_FDNAMES` and `LISTEN_PID`; none when they are not for this process.
    /// - Throws: `Fault` when the variables are broken or a descriptor is no listening socket.
    package init(environment: [String: String], processID: Int32 = getpid()) throws {
        guard let text = environment["LISTEN_FDS"] else {
            sockets = []
            return
        }
        if let owner = environment["LISTEN_PID"], Int32(owner) != processID {
            sockets = []
            return
        }
        guard let count = Int(text), (0...Self.countMax).contains(count) else {
            throw Fault(
                .invalid,
                "cannot take over sockets: LISTEN_FDS is “\(text)”; give a number up to \(Self.countMax)"
            )
        }
        let names = (environment["LISTEN_FDNAMES"] ?? "").split(
            separator: ":",
            omittingEmptySubsequences: false
        ).map(String.init)
        var sockets: [(name: String, descriptor: CInt)] = []
        for index in 0..<count {
            let descriptor = Self.firstDescriptor + CInt(index)
            var listening: CInt = 0
            var size = socklen_t(MemoryLayout<CInt>.size)
            guard getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0,
                listening == 1
            else {
                throw Fault(
                    .invalid,
                    "cannot take over descriptor \(descriptor): it is not a listening socket; check LISTEN_FDS"
                )
            }
            // Our own children (ipmitool, dnsmasq) must not inherit it.
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            sockets.append((index < names.count ? names[index] : "unknown", descriptor))
        }
        self.sockets = sockets
    }

    /// The sockets with this name.
    package func endpoints(named name: String) -> [ListenerEndpoint] {
        sockets.filter { $0.name == name }.map { .handedOver(descriptor: $0.descriptor) }
    }
}

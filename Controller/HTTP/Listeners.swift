import Basics
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

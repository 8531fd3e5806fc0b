import Basics
import Glibc
import HostTools

/// A certificate that is its own authority, made by openssl.
package struct TestCertificate: Sendable {
    /// Its file and that of its key, in PEM.
    package let path: String
    package let keyPath: String

    /// Makes one for a day or two, with a key on P-256.
    /// - Parameters:
    ///   - path: where the certificate is put.
    ///   - keyPath: where its key is put.
    ///   - name: the common name.
    ///   - alternatives: its `subjectAltName`, such as `IP:127.0.0.1`; empty without one.
    /// - Throws: `Fault` when openssl fails.
    package init(
        at path: String,
        key keyPath: String,
        name: String,
        alternatives: [String] = []
    ) async throws {
        (self.path, self.keyPath) = (path, keyPath)
        let extra =
            alternatives.isEmpty
            ? [] : ["-addext", "subjectAltName=" + alternatives.joined(separator: ",")]
        try await Tool.require(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", "/CN=\(name)", "-days", "2", "-keyout", keyPath, "-out", path,
            ] + extra,
            budget: .seconds(30),
            time: SystemTime()
        )
    }

    /// Runs `body` with one in a folder of its own, which is removed then.
    package static func with<Value>(
        name: String,
        alternatives: [String] = [],
        _ body: (TestCertificate) async throws -> Value
    ) async throws -> Value {
        var template = Array("/tmp/rdo-tls-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else {
            throw Fault(.unavailable, "cannot make a folder in /tmp: error \(errno)")
        }
        let folder = String(cString: made)
        defer {
            for name in ["key.pem", "cert.pem"] { unlink("\(folder)/\(name)") }
            rmdir(folder)
        }
        return try await body(
            try await TestCertificate(
                at: "\(folder)/cert.pem",
                key: "\(folder)/key.pem",
                name: name,
                alternatives: alternatives
            )
        )
    }
}

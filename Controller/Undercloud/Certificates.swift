package import Basics
import Crypto
import FoundationEssentials
package import Protocol
import SwiftASN1
import X509

/// The undercloud's own certificate authority and the API's certificate.
///
/// The authority's key is used once and thrown away: a stolen host cannot sign new certificates, and a
/// renewal makes a new authority, which install hands to `clouds.yaml` again.
package struct CertificateBundle: Sendable {
    /// PEM texts.
    package let authority: String
    package let certificate: String
    package let key: Secret

    /// How long certificates are valid; install renews them when less than a quarter is left.
    package static let lifetime: Duration = .seconds(825 * 86_400)

    /// Makes an authority and a certificate for these names and IPv4 addresses.
    package init(names: [String], addresses: [IPv4Number], at now: Timestamp) throws {
        let start = Date(timeIntervalSince1970: now.seconds - 3600)
        let end = Date(timeIntervalSince1970: now.seconds + Self.lifetime.inSeconds)
        let authorityKey = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let serverKey = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let issuer = try DistinguishedName {
            OrganizationName("RDO-Manager")
            CommonName("RDO-Manager undercloud authority")
        }
        let root = try Certificate(
            version: .v3,
            serialNumber: .init(),
            publicKey: authorityKey.publicKey,
            notValidBefore: start,
            notValidAfter: end,
            issuer: issuer,
            subject: issuer,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: authorityKey.publicKey)
            },
            issuerPrivateKey: authorityKey
        )
        let alternatives =
            names.map { GeneralName.dnsName($0) }
            + addresses.map { address in
                GeneralName.ipAddress(
                    ASN1OctetString(
                        contentBytes: [24, 16, 8, 0].map {
                            UInt8(truncatingIfNeeded: address.number >> $0)
                        }[...]
                    )
                )
            }
        let leaf = try Certificate(
            version: .v3,
            serialNumber: .init(),
            publicKey: serverKey.publicKey,
            notValidBefore: start,
            notValidAfter: end,
            issuer: issuer,
            subject: try DistinguishedName {
                OrganizationName("RDO-Manager")
                CommonName(names.first ?? "rdo-controller")
            },
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(alternatives)
                SubjectKeyIdentifier(hash: serverKey.publicKey)
                AuthorityKeyIdentifier(
                    keyIdentifier: SubjectKeyIdentifier(hash: authorityKey.publicKey).keyIdentifier
                )
            },
            issuerPrivateKey: authorityKey
        )
        authority = try root.serializeAsPEM().pemString + "\n"
        certificate = try leaf.serializeAsPEM().pemString + "\n"
        key = Secret(try serverKey.serializeAsPEM().pemString + "\n")
    }

    /// Whether an existing certificate still serves: it names everything and lasts long enough.
    package static func serves(
        _ pem: String,
        names: [String],
        addresses: [IPv4Number],
        at now: Timestamp
    ) -> Bool {
        // A text that is no certificate serves nothing.
        guard let certificate = try? Certificate(pemEncoded: pem),
            let alternatives = try? certificate.extensions.subjectAlternativeNames
        else { return false }
        let left = certificate.notValidAfter.timeIntervalSince1970 - now.seconds
        guard left > lifetime.inSeconds / 4 else { return false }
        let wanted =
            names.map { GeneralName.dnsName($0) }
            + addresses.map { address in
                GeneralName.ipAddress(
                    ASN1OctetString(
                        contentBytes: [24, 16, 8, 0].map {
                            UInt8(truncatingIfNeeded: address.number >> $0)
                        }[...]
                    )
                )
            }
        return wanted.allSatisfy(alternatives.contains)
    }
}

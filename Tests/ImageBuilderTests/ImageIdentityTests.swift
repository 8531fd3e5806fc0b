import Basics
import HostTools
import ImageBuilder
import RamdiskBuilder
import Testing

@Suite struct `An image's identity` {
    private typealias Part = ImageIdentity.Part
    private static let parts = [Part("agent", "one"), Part("kernel", "two")]

    @Test func `does not depend on the order of its parts`() {
        #expect(ImageIdentity(of: Self.parts) == ImageIdentity(of: Self.parts.reversed()))
    }

    @Test func `differs when a part differs`() {
        let others = [
            [Part("agent", "one"), Part("kernel", "three")],
            [Part("agent", "one"), Part("kernels", "two")],
            [Part("agent", "one")],
            [Part("agent", "onetwo"), Part("kernel", "")],
            [],
        ]
        let all = [Self.parts] + others
        #expect(Set(all.map { ImageIdentity(of: $0) }).count == all.count)
    }

    @Test func `gives identifiers that are always the same and all different`() {
        let identity = ImageIdentity(of: Self.parts)
        let uuid = identity.uuid("root")
        #expect(uuid == ImageIdentity(of: Self.parts).uuid("root"))
        #expect(uuid != identity.uuid("boot"))
        #expect(
            uuid.wholeMatch(
                of: /[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/
            ) != nil
        )
        #expect(identity.description.count == 64)
    }
}

@Suite struct `The sources of packages` {
    private static let listing = """
        http://mirror.example/debian/ bookworm main
        http://mirror.example/debian/ bookworm contrib
        http://mirror.example/debian/ bookworm-updates main
        http://mirror.example/debian-security/ bookworm-security main
        https://other.example/apt nodistro main

        """

    @Test func `are those that apt has for the release`() throws {
        let environment = try PackageMirrors(listing: Self.listing, release: "bookworm").environment
        #expect(environment["DIB_DISTRIBUTION_MIRROR"] == "http://mirror.example/debian/")
        #expect(
            environment["DIB_DEBIAN_SECURITY_MIRROR"] == "http://mirror.example/debian-security/"
        )
        #expect(
            environment["DIB_APT_SOURCES_CONF"] == """
                bookworm:deb http://mirror.example/debian/ bookworm main
                bookworm-updates:deb http://mirror.example/debian/ bookworm-updates main
                bookworm-security:deb http://mirror.example/debian-security/ bookworm-security main
                """
        )
    }

    @Test(arguments: ["", "http://mirror.example/debian/ trixie main", "nonsense"])
    func `are refused when the release is not among them`(listing: String) {
        let fault = #expect(throws: Fault.self) {
            try PackageMirrors(listing: listing, release: "bookworm")
        }
        #expect(fault?.message.contains("bookworm") == true)
    }

    @Test func `are found on this host`() async throws {
        let listing = try await Tool.require(
            "apt-get",
            PackageMirrors.listingArguments,
            budget: .seconds(60),
            time: SystemTime()
        )
        #expect(
            try !PackageMirrors(listing: listing.output, release: "bookworm").main.address.isEmpty
        )
    }
}

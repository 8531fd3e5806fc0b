import Basics
import HTTP
import HTTPTypes
import Hummingbird
import Protocol
import Store
import Testing

@testable import Images

@Suite struct ImagesAPITests {
    @Test func `an image is registered as Glance shows it`() async throws {
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create([
                "name": "debian", "disk_format": "qcow2", "container_format": "bare",
                "rdo_agent": "true", "min_disk": 3, "tags": ["b", "a", "b"],
            ])
            let image = try await client.show(id)
            for (name, value) in [
                "status": "queued", "visibility": "shared", "protected": false, "min_disk": 3,
                "owner": "admin", "rdo_agent": "true", "tags": ["a", "b"], "size": .null,
                "checksum": .null, "file": .string("/v2/images/\(id)/file"),
                "created_at": "2027-01-15T08:00:00Z",
            ] as [String: JSONValue] {
                #expect(image[name] == value, "\(name)")
            }
            #expect(try await world.service.image("debian").hasAgent)
        }
    }

    @Test(arguments: [
        (#"{"disk_format":"vmdk"}"#, 400), (#"{"container_format":"ovf"}"#, 400),
        (#"{"visibility":"all"}"#, 400), (#"{"min_disk":-1}"#, 400), (#"{"min_disk":"3"}"#, 400),
        (#"{"checksum":"x"}"#, 403), (#"{"status":"active"}"#, 403), (#"{"locations":[]}"#, 403),
        (#"{"direct_url":"file:///etc/shadow"}"#, 403), (#"{"id":"../../etc"}"#, 400),
        (#"{"extra":{"a":1}}"#, 400), (#"{"tags":[""]}"#, 400), ("[]", 400), ("{", 400),
        (#"{"name":null,"disk_format":null}"#, 201), (#"{"count":3}"#, 201),
    ])
    func `a creation request is checked`(body: String, code: Int) async throws {
        let world = try World()
        try await world.withClient { client in
            let answer = try await client.call(.post, "/image/v2/images", Array(body.utf8))
            #expect(answer.code == code, "\(answer.message)")
        }
    }

    @Test(arguments: [
        (#"[{"op":"replace","path":"/name","value":"new"}]"#, 200),
        (#"[{"op":"add","path":"/colour","value":"red"}]"#, 200),
        (#"[{"op":"remove","path":"/rdo_agent"}]"#, 200),
        (#"[{"op":"remove","path":"/missing"}]"#, 409),
        (#"[{"op":"remove","path":"/name"}]"#, 403),
        (#"[{"op":"replace","path":"/status","value":"active"}]"#, 403),
        (#"[{"op":"add","path":"/locations/-","value":{"url":"file:///etc/passwd"}}]"#, 400),
        (#"[{"op":"replace","path":"/disk_format","value":"iso"}]"#, 400), ("{}", 400),
    ])
    func `a change is checked`(patch: String, code: Int) async throws {
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create(["name": "i", "rdo_agent": "true"])
            let answer = try await client.patch(id, patch)
            #expect(answer.code == code, "\(answer.message)")
            if code != 200 {
                #expect(try await client.show(id)["name"] == "i")
                #expect(try await client.show(id)["status"] == "queued")
            }
        }
    }

    @Test func `a change needs the patch's own type`() async throws {
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create(["name": "i"])
            let answer = try await client.call(.patch, "/image/v2/images/\(id)", Array("[]".utf8))
            #expect(answer.code == 415)
        }
    }

    @Test func `another project's image does not exist for a stranger`() async throws {
        let world = try World()
        try await world.withClient { client in
            let mine = client.as("member:one")
            let other = client.as("admin:two")
            let id = try await mine.create(["name": "private", "visibility": "private"])
            let path = "/image/v2/images/\(id)"
            #expect(try await other.call(.get, path).code == 404)
            #expect(try await other.call(.delete, path).code == 404)
            #expect(try await other.upload(id, [1]).code == 404)
            #expect(try await other.patch(id, "[]").code == 404)
            for query in ["", "?owner=one", "?visibility=private", "?name=private"] {
                let list = try await other.call(.get, "/image/v2/images" + query)
                #expect(list.json?["images"] == [], "\(query)")
            }
            #expect(try await mine.call(.get, path).code == 200)
            #expect(try await client.call(.get, path).code == 200)
        }
    }

    @Test func `an image for everybody is seen by all, changed by its owner, made by the admin`()
        async throws
    {
        let world = try World()
        try await world.withClient { client in
            let member = client.as("member:one")
            let refused = try await member.call(
                .post,
                "/image/v2/images",
                Array(#"{"visibility":"public"}"#.utf8)
            )
            #expect(refused.code == 403)
            let id = try await client.create(["name": "p", "visibility": "public"])
            #expect(try await member.call(.get, "/image/v2/images/\(id)").code == 200)
            #expect(try await member.call(.delete, "/image/v2/images/\(id)").code == 403)
            let reader = client.as("reader:one")
            #expect(try await reader.call(.get, "/image/v2/images/\(id)").code == 200)
            #expect(try await reader.call(.post, "/image/v2/images", Array("{}".utf8)).code == 403)
        }
    }

    @Test func `without a token nothing but discovery answers`() async throws {
        let world = try World()
        try await world.withClient { client in
            let nobody = client.as("")
            let versions = try await nobody.call(.get, "/image")
            #expect(versions.code == 300)
            #expect(try await nobody.call(.get, "/image/v2/").code == 200)
            for path in [
                "/image/v2/images", "/image/v2/images/x", "/image/v2/schemas/image", "/image/v1",
                "/image/v2/images/x/file", "/v1/images/x", "/v1/images/x/manifest",
                "/v1/images/x/chunks/y",
            ] {
                #expect(try await nobody.call(.get, path).code == 401, "\(path)")
            }
        }
    }

    @Test func `a protected image is not deleted`() async throws {
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create(["name": "i", "protected": true])
            #expect(try await client.call(.delete, "/image/v2/images/\(id)").code == 403)
            #expect(
                try await client.patch(
                    id,
                    #"[{"op":"replace","path":"/protected","value":false}]"#
                ).code == 200
            )
            #expect(try await client.call(.delete, "/image/v2/images/\(id)").code == 204)
            #expect(try await client.call(.delete, "/image/v2/images/\(id)").code == 404)
        }
    }

    @Test func `lists are narrowed, ordered and cut into pages`() async throws {
        let world = try World()
        try await world.withClient { client in
            for name in ["c", "a", "b"] {
                _ = try await client.create(["name": .string(name)])
                world.time.advance(.seconds(1))
            }
            func names(_ query: String) async throws -> [String] {
                let answer = try await client.call(.get, "/image/v2/images" + query)
                #expect(answer.code == 200)
                return answer.json?["images"]?.elements?.compactMap { $0["name"]?.text } ?? []
            }
            #expect(try await names("") == ["b", "a", "c"])
            #expect(try await names("?sort=name:asc") == ["a", "b", "c"])
            #expect(try await names("?sort_key=name&sort_dir=desc") == ["c", "b", "a"])
            #expect(try await names("?name=a") == ["a"])
            #expect(try await names("?status=active").isEmpty)
            let page = try await client.call(.get, "/image/v2/images?sort=name:asc&limit=2")
            let next = try #require(page.json?["next"]?.text)
            let rest = try await client.call(.get, "/image" + next + "&sort=name:asc")
            #expect(
                rest.json?["images"]?.elements?.compactMap { $0["name"]?.text } == ["c"]
            )
            for bad in ["?limit=x", "?marker=x", "?status=x", "?sort=size:asc", "?sort=name:x"] {
                #expect(try await client.call(.get, "/image/v2/images" + bad).code == 400)
            }
        }
    }

    @Test func `a name that several images have is ambiguous`() async throws {
        let world = try World()
        try await world.withClient { client in
            let id = try await client.create(["name": "twice"])
            _ = try await client.create(["name": "twice"])
            #expect(try await world.service.image(id).name == "twice")
        }
        let twice = await #expect(throws: Fault.self) { try await world.service.image("twice") }
        #expect(twice?.kind == .conflict)
        let none = await #expect(throws: Fault.self) { try await world.service.image("none") }
        #expect(none?.kind == .notFound)
    }

    @Test func `an image without content has no manifest`() async throws {
        let world = try World()
        try await world.withClient { _ = try await $0.create(["name": "i"]) }
        let image = try await world.service.image("i")
        let fault = await #expect(throws: Fault.self) {
            try await world.service.manifest(of: image.id)
        }
        #expect(fault?.kind == .conflict)
    }
}

@Suite struct AgentImagesTests {
    private static let node = NodeID(unchecked: "11111111-1111-4111-8111-111111111111")
    private static let file = noise(2 * ImageManifest.chunkBytes, seed: 4)

    private func withImages(
        _ body: @escaping @Sendable (World, Client, ImageID, ImageID) async throws -> Void
    ) async throws {
        let world = try World()
        try await world.withClient { client in
            var ids: [ImageID] = []
            for (name, file) in [("one", Self.file), ("two", noise(4096, seed: 8))] {
                let id = try await client.create(["name": .string(name), "disk_format": "raw"])
                #expect(try await client.upload(id, file).code == 204)
                ids.append(try #require(ImageID(id)))
            }
            try await body(world, client.as(""), ids[0], ids[1])
        }
    }

    private static func header(_ world: World, _ image: ImageID) -> HTTPFields {
        let text = world.service.makeCapability(
            image: image,
            node: node,
            attempt: Attempt(2),
            keyFingerprint: "f00d",
            validFor: .seconds(60)
        )
        return [.authorization: "Capability " + text]
    }

    @Test func `with its capability a node gets the manifest and every chunk`() async throws {
        try await withImages { world, client, image, _ in
            let headers = Self.header(world, image)
            let manifest = try await client.call(
                .get,
                "/v1/images/\(image)/manifest",
                headers: headers
            )
            #expect(manifest.code == 200)
            #expect(try await world.service.manifest(of: image).bytes == manifest.bytes)
            var disk: [UInt8] = []
            for extent in manifest.json?["extents"]?.elements ?? [] {
                let digest = try #require(extent["sha256"]?.text)
                let chunk = try await client.call(
                    .get,
                    "/v1/images/\(image)/chunks/\(digest)",
                    headers: headers
                )
                #expect(chunk.code == 200)
                disk += Qcow2Builder.unpack(chunk.bytes, bytes: ImageManifest.chunkBytes)
            }
            #expect(disk == Self.file)
        }
    }

    @Test func `a capability opens one image, for its time, unchanged`() async throws {
        try await withImages { world, client, image, other in
            let manifest = "/v1/images/\(image)/manifest"
            let headers = Self.header(world, image)
            #expect(
                try await client.call(
                    .get,
                    "/v1/images/\(other)/manifest",
                    headers: headers
                ).code == 403
            )
            let foreign = CapabilitySigner(key: Secret(bytes: Array(repeating: 1, count: 32)))
            let forged = foreign.sign(
                Capability(
                    node: Self.node,
                    image: image,
                    attempt: Attempt(2),
                    expires: world.time.now + .seconds(60),
                    key: "f00d"
                )
            )
            let right = try #require(headers[.authorization])
            let parts = right.split(separator: ".").map(String.init)
            for text in [
                "Capability " + forged, "Capability", "Capability ", "Capability .", "", parts[0],
                parts[0] + ".", "Bearer " + forged, parts[0] + "A." + parts[1],
                "Capability " + String(repeating: "a", count: 5000),
            ] {
                let answer = try await client.call(
                    .get,
                    manifest,
                    headers: [.authorization: text]
                )
                #expect(answer.code == 401, "\(text.prefix(30))")
            }
            world.time.advance(.seconds(61))
            #expect(try await client.call(.get, manifest, headers: headers).code == 401)
        }
    }

    @Test func `a chunk of another image, or a path, is not handed out`() async throws {
        try await withImages { world, client, image, other in
            let headers = Self.header(world, image)
            let manifest = try await world.service.manifest(of: other)
            let extents = try JSONValue(parsing: manifest.bytes)["extents"]?.elements
            let foreign = try #require(extents?.first?["sha256"]?.text)
            for name in [
                foreign, String(repeating: "0", count: 64), "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e",
                "x",
            ] {
                let answer = try await client.call(
                    .get,
                    "/v1/images/\(image)/chunks/\(name)",
                    headers: headers
                )
                #expect(answer.code == 404, "\(name)")
            }
        }
    }

    @Test func `a deleted image is not handed out any more`() async throws {
        try await withImages { world, client, image, _ in
            let headers = Self.header(world, image)
            let extents = try JSONValue(parsing: try await world.service.manifest(of: image).bytes)
            let digest = try #require(extents["extents"]?.elements?.first?["sha256"]?.text)
            let path = "/v1/images/\(image)/chunks/\(digest)"
            #expect(try await client.call(.get, path, headers: headers).code == 200)
            #expect(
                try await client.as("admin:admin").call(.delete, "/image/v2/images/\(image)").code
                    == 204
            )
            #expect(try await client.call(.get, path, headers: headers).code == 404)
        }
    }

    @Test func `a user's token does not open the agents' routes`() async throws {
        try await withImages { _, client, image, _ in
            let answer = try await client.as("admin:admin").call(
                .get,
                "/v1/images/\(image)/manifest"
            )
            #expect(answer.code == 401)
        }
    }
}

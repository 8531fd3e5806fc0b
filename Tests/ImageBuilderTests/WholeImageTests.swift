import Basics
import Glibc
import ImageBuilder
import RamdiskBuilder
import Testing

/// Runs diskimage-builder, which takes minutes: only where `RDO_IMAGE_AGENT` names an agent to put in.
@Suite(.enabled(if: getenv("RDO_IMAGE_AGENT") != nil))
struct `A whole image` {
    @Test func `is built once and then comes from the cache`() async throws {
        let agent = String(cString: try #require(getenv("RDO_IMAGE_AGENT")))
        let output =
            getenv("RDO_IMAGE_OUTPUT").map { String(cString: $0) } ?? "/tmp/rdo-overcloud.qcow2"
        let cache = getenv("RDO_IMAGE_CACHE").map { String(cString: $0) } ?? "/var/cache/rdo/image"
        let recipe = ImageRecipe(
            agent: agent,
            output: output,
            cache: cache,
            elements: try ImageLocations.elements(beside: #filePath)
        )
        _ = try await ImageBuild(recipe, time: SystemTime()) { _ in }.run()
        let again = try await ImageBuild(recipe, time: SystemTime()) { _ in }.run()
        #expect(again.cached)
        #expect(again.fileBytes < ImageBuild<SystemTime>.fileBytesMax)
    }
}

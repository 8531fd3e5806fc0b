package import RamdiskBuilder

/// What an overcloud image is made of.
package struct ImageRecipe: Sendable {
    /// Debian's code name.
    package static let release = "bookworm"
    /// The diskimage-builder element of ours.
    package static let element = "rdo-overcloud"

    /// Path of the agent's executable.
    package var agent: String
    /// Path of the qcow2 file to make; a description is written beside it, with `.json` added.
    package var output: String
    /// Directory that keeps packages, the tree and the finished image between runs.
    package var cache: String
    /// Directory with the elements.
    package var elements: String
    /// Decides the kernel.
    package var drivers: DriverSet
    /// Builds the tree anew even when the cache has it, for newer packages.
    package var refresh: Bool

    package init(
        agent: String,
        output: String,
        cache: String,
        elements: String,
        drivers: DriverSet = .virtio,
        refresh: Bool = false
    ) {
        self.agent = HostFile.absolute(agent)
        self.output = HostFile.absolute(output)
        self.cache = HostFile.absolute(cache)
        self.elements = HostFile.absolute(elements)
        self.drivers = drivers
        self.refresh = refresh
    }

    /// What the tree of files is made of: changes here need a run of diskimage-builder.
    /// - Throws: `Fault` when the elements cannot be read.
    func treeIdentity() throws -> ImageIdentity {
        var parts = [
            ImageIdentity.Part("format", "tree 1"), ImageIdentity.Part("release", Self.release),
        ]
        let directory = "\(elements)/\(Self.element)"
        for path in try HostFile.files(below: directory) {
            parts.append(
                ImageIdentity.Part("file \(path)", try HostFile.read("\(directory)/\(path)"))
            )
        }
        return ImageIdentity(of: parts)
    }

    /// What the whole image is made of: changes here need a new assembly.
    /// - Throws: `Fault` when a part cannot be read.
    func imageIdentity(tree: ImageIdentity, kernel: UnpackedKernel) throws -> ImageIdentity {
        ImageIdentity(of: [
            ImageIdentity.Part("format", "image 1"),
            ImageIdentity.Part("tree", tree.description),
            ImageIdentity.Part("kernel", kernel.packageFile),
            ImageIdentity.Part("drivers", drivers.rawValue),
            ImageIdentity.Part("agent", try HostFile.read(agent)),
            ImageIdentity.Part("init", try HostFile.read("\(elements)/initrd/init")),
        ])
    }
}

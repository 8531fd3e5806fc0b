import Basics
import CZstd
import Crypto
import Glibc
import Synchronization

/// The chunks of all images: each once, named by the SHA-256 of its raw bytes, compressed with zstd.
///
/// ```
/// images/chunks/<two digits>/<digest>.zst
/// images/manifests/<digest of the manifest>.json
/// images/incoming/          uploads and half-written chunks; emptied at start
/// ```
///
/// A chunk that an upload relies on is pinned until the upload's references are stored, so that the
/// deletion of another image cannot take it away in between.
final class ChunkStore: Sendable {
    let directory: String
    private let pins = Mutex<[String: Int]>([:])

    /// Makes the directories that are missing (0700) and removes what a crash left in `incoming`.
    init(directory: String) throws {
        self.directory = directory
        for name in ["", "/chunks", "/manifests", "/incoming"] {
            try Self.makeDirectory(directory + name)
        }
        for name in Self.names(in: incomingDirectory) { unlink(incomingDirectory + "/" + name) }
    }

    var incomingDirectory: String { directory + "/incoming" }

    func path(ofChunk digest: String) -> String {
        precondition(isDigest(digest), "a chunk is named by a digest")
        return "\(directory)/chunks/\(digest.prefix(2))/\(digest).zst"
    }

    func path(ofManifest digest: String) -> String {
        precondition(isDigest(digest), "a manifest is named by a digest")
        return "\(directory)/manifests/\(digest).json"
    }

    // MARK: - Pins

    func pin(_ digest: String) { pins.withLock { $0[digest, default: 0] += 1 } }

    func unpin(_ digests: some Sequence<String>) {
        pins.withLock { pins in
            for digest in digests {
                guard let count = pins[digest] else { continue }
                pins[digest] = count > 1 ? count - 1 : nil
            }
        }
    }

    /// Removes a chunk's file unless an upload relies on it.
    ///
    /// Called inside the transaction that made sure that no image refers to it: then no upload can store
    /// its references between the check and the removal.
    func remove(_ digest: String) {
        pins.withLock { pins in
            guard pins[digest] == nil else { return }
            unlink(path(ofChunk: digest))
        }
    }

    // MARK: - Files

    /// Whether a chunk is there.
    func has(_ digest: String) -> Bool { access(path(ofChunk: digest), F_OK) == 0 }

    /// Bytes of a chunk's file; `nil` when it is not there.
    func fileBytes(ofChunk digest: String) -> Int? {
        var status = stat()
        guard stat(path(ofChunk: digest), &status) == 0 else { return nil }
        return Int(status.st_size)
    }

    /// Stores a compressed chunk under its name; whole or not at all.
    func store(_ packed: UnsafeRawBufferPointer, as digest: String, worker: String) throws {
        try Self.makeDirectory("\(directory)/chunks/\(digest.prefix(2))")
        try write(
            packed,
            to: path(ofChunk: digest),
            through: "\(incomingDirectory)/\(digest).\(worker)"
        )
    }

    /// Stores a manifest's bytes under their digest.
    func storeManifest(_ text: String, digest: String, worker: String) throws {
        var text = text
        try text.withUTF8 { bytes in
            try write(
                UnsafeRawBufferPointer(bytes),
                to: path(ofManifest: digest),
                through: "\(incomingDirectory)/\(digest).\(worker)"
            )
        }
    }

    /// Reads a manifest and checks it against its digest.
    /// - Throws: `Fault` when it is damaged or gone.
    func manifest(_ digest: String) throws -> [UInt8] {
        let damaged = Fault(
            .unavailable,
            "cannot read an image's manifest: the file \(path(ofManifest: digest)) is missing or damaged; upload the image again or restore the image store"
        )
        let file = open(path(ofManifest: digest), O_RDONLY | O_CLOEXEC)
        var status = stat()
        guard file >= 0 else { throw damaged }
        guard fstat(file, &status) == 0 else {
            close(file)
            throw damaged
        }
        let handle = SpoolHandle(descriptor: file, bytes: UInt64(status.st_size))
        let bytes = try handle.read(Int(status.st_size), at: 0)
        guard hex(SHA256.hash(data: bytes)) == digest else { throw damaged }
        return bytes
    }

    /// Removes a manifest's file under the same rule as `remove`.
    func removeManifest(_ digest: String) {
        pins.withLock { pins in
            guard pins[digest] == nil else { return }
            unlink(path(ofManifest: digest))
        }
    }

    /// The digests of all chunks and all manifests that are there, sorted.
    func contents() -> (chunks: [String], manifests: [String]) {
        var chunks: [String] = []
        for folder in Self.names(in: directory + "/chunks") {
            for name in Self.names(in: "\(directory)/chunks/\(folder)") {
                let digest = String(name.dropLast(4))
                if name.hasSuffix(".zst"), isDigest(digest) { chunks.append(digest) }
            }
        }
        let manifests = Self.names(in: directory + "/manifests").map { String($0.dropLast(5)) }
        return (chunks.sorted(), manifests.filter(isDigest).sorted())
    }

    private func write(
        _ bytes: UnsafeRawBufferPointer,
        to path: String,
        through temporary: String
    ) throws {
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw fault("store") }
        do {
            defer { close(file) }
            try writeAll(bytes, to: file)
            // Before the rename: a name never stands for bytes that a power cut can still take.
            guard fdatasync(file) == 0 else { throw fault("store") }
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else {
            let fault = fault("store")
            unlink(temporary)
            throw fault
        }
    }

    func writeAll(_ bytes: UnsafeRawBufferPointer, to file: CInt) throws {
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.write(file, rest.baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw fault("store") }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// A fault for the last system call.
    func fault(_ verb: String) -> Fault {
        switch errno {
        case ENOSPC, EDQUOT, EFBIG:
            Fault(
                .unavailable,
                "cannot \(verb) the image: the disk of the image store \(directory) is full; free space and upload again"
            )
        case let code:
            Fault(
                .unavailable,
                "cannot \(verb) the image in \(directory): \(String(cString: strerror(code)))"
            )
        }
    }

    /// Free bytes of the disk.
    var freeBytes: UInt64 {
        var status = statvfs()
        guard statvfs(directory, &status) == 0 else { return .max }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }

    private static func makeDirectory(_ path: String) throws {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
            throw Fault(
                .unavailable,
                "cannot make the directory \(path): \(String(cString: strerror(errno))); check that its parent exists and belongs to the service's user"
            )
        }
    }

    private static func names(in path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}

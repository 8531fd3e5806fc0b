import Basics
import Glibc
import HTTP
import HTTPTypes
import HostTools
import Hummingbird
import NIOCore
import Synchronization

/// Serves the image of a CD with each machine's own fragment in it.
///
/// No image is ever made for a machine: what `rdo-ramdisk` built is sent, and the fragment's bytes in place of
/// its slot's. Reads happen on a thread of its own.
actor BootMedia {
    private let thread = OwnThread(name: "boot media")
    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// An image that stays what it is while it is sent, also when another one takes its place.
    private final class Image: Sendable {
        let descriptor: Int32
        let bytes: UInt64
        let slot: UInt64

        init(descriptor: Int32, bytes: UInt64, slot: UInt64) {
            self.descriptor = descriptor
            self.bytes = bytes
            self.slot = slot
        }

        deinit { close(descriptor) }
    }

    private struct Identity: Equatable {
        let device: UInt64
        let inode: UInt64
        let changed: Int
        let bytes: Int
    }

    private let path: String
    /// Where the slot is in the image that was looked at last.
    private var known: (identity: Identity, slot: UInt64)?

    /// Bytes that are read and sent at a time.
    private static let readBytes: UInt64 = 256 << 10

    init(path: String) { self.path = path }

    /// The image, or the part of it that the request names.
    /// - Throws: `Fault` that says what is missing.
    nonisolated func response(to request: Request, fragment: [UInt8]) async throws -> Response {
        precondition(fragment.count <= MediaSlot.bytes, "a boot fragment fits into its slot")
        let image = try await open()
        var headers: HTTPFields = [
            .contentType: "application/octet-stream", .acceptRanges: "bytes",
        ]
        var status = HTTPResponse.Status.ok
        var range = 0..<image.bytes
        switch ByteRange(request.headers[.range] ?? "").part(of: image.bytes) {
        case .whole: break
        case .part(let part):
            range = part
            status = .partialContent
            headers[.contentRange] =
                "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(image.bytes)"
        case .outside:
            headers[.contentRange] = "bytes */\(image.bytes)"
            return Response(status: .rangeNotSatisfiable, headers: headers)
        }
        headers[.contentLength] = String(range.count)
        let body = ResponseBody(contentLength: range.count) { [range] writer in
            var position = range.lowerBound
            while position < range.upperBound {
                let end = min(range.upperBound, position + Self.readBytes)
                try await writer.write(try await self.read(position..<end, of: image, fragment))
                position = end
            }
            try await writer.finish(nil)
        }
        return Response(status: status, headers: headers, body: body)
    }

    private func open() throws -> Image {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
            if descriptor >= 0 { close(descriptor) }
            throw Fault(
                .unavailable,
                "cannot give the boot image: \(path) is missing; build it with rdo-ramdisk build"
            )
        }
        let identity = Identity(
            device: UInt64(status.st_dev),
            inode: UInt64(status.st_ino),
            changed: status.st_mtim.tv_sec &* 1_000_000_000 &+ status.st_mtim.tv_nsec,
            bytes: Int(status.st_size)
        )
        let slot: UInt64
        do {
            slot =
                try known.flatMap { $0.identity == identity ? $0.slot : nil }
                ?? MediaSlot.offset(in: descriptor, path: path)
        } catch {
            close(descriptor)
            throw error
        }
        known = (identity, slot)
        return Image(descriptor: descriptor, bytes: UInt64(status.st_size), slot: slot)
    }

    private func read(
        _ range: Range<UInt64>,
        of image: Image,
        _ fragment: [UInt8]
    ) throws -> ByteBuffer {
        var bytes = [UInt8](repeating: 0, count: range.count)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                pread(
                    image.descriptor,
                    buffer.baseAddress.map { $0 + done },
                    buffer.count - done,
                    off_t(range.lowerBound) + off_t(done)
                )
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw systemFault("read \(path)") }
            done += count
        }
        // Zeros after an archive are nothing to the kernel.
        let slot = image.slot..<image.slot + UInt64(MediaSlot.bytes)
        for place in range.clamped(to: slot) {
            let index = Int(place - slot.lowerBound)
            bytes[Int(place - range.lowerBound)] = index < fragment.count ? fragment[index] : 0
        }
        return ByteBuffer(bytes: bytes)
    }
}

/// What a `Range` header asks for (RFC 9110, section 14); more than one part, and what is no range, is as none.
struct ByteRange: Equatable {
    enum Part: Equatable {
        case whole
        case part(Range<UInt64>)
        /// It begins behind the end.
        case outside
    }

    private let first: UInt64?
    private let last: UInt64?

    init(_ header: String) {
        let parts =
            header.hasPrefix("bytes=")
            ? header.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false) : []
        let isNumbers = parts.allSatisfy { $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
        guard parts.count == 2, isNumbers else {
            (first, last) = (nil, nil)
            return
        }
        (first, last) = (UInt64(parts[0]), UInt64(parts[1]))
    }

    /// The part of something of that many bytes.
    func part(of bytes: UInt64) -> Part {
        switch (first, last) {
        case (nil, nil): return .whole
        case (nil, let count?):
            guard count > 0, bytes > 0 else { return .outside }
            return .part(bytes - min(count, bytes)..<bytes)
        case (let first?, let last):
            guard last.map({ $0 >= first }) ?? true else { return .whole }
            guard first < bytes else { return .outside }
            return .part(first..<min(last ?? bytes - 1, bytes - 1) + 1)
        }
    }
}

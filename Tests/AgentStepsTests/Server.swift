import AgentSystem
import Basics
import Glibc
import Synchronization

/// `POLLRDHUP`, which hides behind a feature macro: the other side closed its half.
private let pollHangUp: Int16 = 0x2000

/// A TCP server on loopback that gives every connection the same answer.
final class Server: Sendable {
    private struct State {
        var requests: [String] = []
        var dripped = 0
    }

    let port: UInt16
    private let file: Int32
    private let state = Box()

    private final class Box: Sendable { let state = Mutex(State()) }

    /// Listens at once.
    ///
    /// `answer`: sent after the request's head; `nil` takes connections and says nothing.
    /// `drips`: send a letter every 20 ms until the client has enough.
    init(answer: String?, port: UInt16 = 0, drips: Bool = false) throws {
        let file = try Self.listen(port)
        self.file = file
        self.port = try Self.port(of: file)
        startThread(name: "test server") { [state] in
            while true {
                let client = accept(file, nil, nil)
                guard client >= 0 else { return }
                if let answer { Self.serve(client, answer, state) }
                if drips { Self.drip(client, state) }
                close(client)
            }
        }
    }

    deinit {
        shutdown(file, Int32(SHUT_RDWR))
        close(file)
    }

    var requests: [String] { state.state.withLock { $0.requests } }
    var dripped: Int { state.state.withLock { $0.dripped } }

    /// A port on which nobody listens.
    static func freePort() throws -> UInt16 {
        let file = try listen(0)
        defer { close(file) }
        return try port(of: file)
    }

    private static func listen(_ port: UInt16) throws -> Int32 {
        let file = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var on: Int32 = 1
        setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(file, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard file >= 0, status == 0, Glibc.listen(file, 8) == 0 else {
            close(file)
            throw SystemFailure("listen", code: errno)
        }
        return file
    }

    private static func port(of file: Int32) throws -> UInt16 {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(file, $0, &size)
            }
        }
        guard status == 0 else { throw SystemFailure("ask for the port", code: errno) }
        return UInt16(bigEndian: address.sin_port)
    }

    private static func serve(_ client: Int32, _ answer: String, _ box: Box) {
        var request: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while request.firstRange(of: Array("\r\n\r\n".utf8)) == nil {
            let count = recv(client, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            request += buffer[..<count]
        }
        if !request.isEmpty {
            let text = String(decoding: request, as: UTF8.self)
            box.state.withLock { $0.requests.append(text) }
        }
        _ = send(client, answer, answer.utf8.count, Int32(MSG_NOSIGNAL))
    }

    /// Waits for the client to go away; each time that it has not, a letter is sent.
    private static func drip(_ client: Int32, _ box: Box) {
        var entry = pollfd(fd: client, events: pollHangUp, revents: 0)
        while poll(&entry, 1, 20) == 0, send(client, "x", 1, Int32(MSG_NOSIGNAL)) == 1 {
            box.state.withLock { $0.dripped += 1 }
        }
    }
}

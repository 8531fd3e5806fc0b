import Basics
import FoundationEssentials
package import HTTPTypes
package import Hummingbird
import NIOCore

extension Response {
    /// An answer with a JSON body.
    ///
    /// Names are sorted, so that equal answers have equal bytes.
    package static func json(
        encoding value: some Encodable,
        status: HTTPResponse.Status = .ok,
        headers: HTTPFields = [:]
    ) throws -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return json(bytes: try encoder.encode(value), status: status, headers: headers)
    }

    /// An answer with a JSON body.
    package static func json(
        _ value: JSONValue,
        status: HTTPResponse.Status = .ok,
        headers: HTTPFields = [:]
    ) -> Response {
        json(bytes: value.canonicalBytes, status: status, headers: headers)
    }

    /// An answer whose JSON text is there already.
    package static func json(
        bytes: some Sequence<UInt8>,
        status: HTTPResponse.Status = .ok,
        headers: HTTPFields = [:]
    ) -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(
            status: status,
            headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        )
    }

    /// An answer with a text body.
    package static func text(
        _ text: String,
        type: String = "text/plain; charset=utf-8",
        status: HTTPResponse.Status = .ok
    ) -> Response {
        Response(
            status: status,
            headers: [.contentType: type],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }

    /// An answer without a body.
    package static func empty(_ status: HTTPResponse.Status = .noContent) -> Response {
        Response(status: status)
    }
}

extension Request {
    /// A parameter of the query, decoded as forms are (`+` is a blank); `nil` when it is not there.
    package func query(_ name: String) -> String? {
        for pair in (uri.query ?? "").split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard Self.decoded(parts[0]) == name else { continue }
            return parts.count < 2 ? "" : Self.decoded(parts[1])
        }
        return nil
    }

    /// The names of the query's parameters, decoded.
    package var queryNames: Set<String> {
        Set(
            (uri.query ?? "").split(separator: "&").map { pair in
                Self.decoded(pair.prefix { $0 != "=" })
            }
        )
    }

    private static func decoded(_ text: Substring) -> String {
        let spaced = text.replacing("+", with: " ")
        return String(spaced).removingURLPercentEncoding() ?? String(spaced)
    }

    /// Collects the body.
    ///
    /// - Throws: `Fault` when it is too long or does not arrive in `APIContext.bodyBudget`.
    package func bytes(
        _ context: APIContext,
        max bytesMax: Int = APIContext.bodyBytesMax
    ) async throws -> [UInt8] {
        let tooLarge = Fault(
            .tooLarge,
            "cannot take the request: its body is larger than \(bytesMax) bytes"
        )
        if let announced = headers[.contentLength].flatMap(Int.init), announced > bytesMax {
            throw tooLarge
        }
        let body = body
        return try await withBudget(
            APIContext.bodyBudget,
            for: "the request's body",
            on: context.time
        ) {
            var bytes: [UInt8] = []
            for try await buffer in body {
                guard bytes.count + buffer.readableBytes <= bytesMax else { throw tooLarge }
                bytes.append(contentsOf: buffer.readableBytesView)
            }
            return bytes
        }
    }

    /// Reads the body as JSON of any shape.
    package func json(_ context: APIContext) async throws -> JSONValue {
        try JSONValue(parsing: try await bytes(context))
    }

    /// Reads the body as JSON of a known shape.
    /// - Throws: `Fault` of kind `invalid` that names the member that is wrong.
    package func decode<Value: Decodable>(
        _ type: Value.Type = Value.self,
        _ context: APIContext
    ) async throws -> Value {
        let bytes = try await bytes(context)
        // The strict parser goes first: it bounds the nesting before Foundation's sees the text.
        _ = try JSONValue(parsing: bytes)
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch let error as DecodingError {
            throw Fault(error)
        }
    }
}

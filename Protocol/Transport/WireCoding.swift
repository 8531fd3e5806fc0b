import SwiftProtobuf

/// The bytes of a message; `nil` when it exceeds protobuf's own limits, which no frame of ours does.
func encode(_ message: some Message) -> [UInt8]? {
    // Serialization fails only for messages above 2 GiB or with required fields; we have neither.
    try? message.serializedBytes()
}

/// Reads a message; `nil` when the bytes are none.
///
/// Nesting is limited because the sender is not trusted.
func decode<Value: Message>(_ type: Value.Type, _ bytes: [UInt8]) -> Value? {
    var options = BinaryDecodingOptions()
    options.messageDepthLimit = 16
    // Whatever is wrong with foreign bytes, the answer is to drop them.
    return try? Value(serializedBytes: bytes, options: options)
}

import Basics
import Glibc

/// The text of a file of the repository.
func sourceText(_ path: String) throws -> String {
    var folder = Array("\(#filePath)".split(separator: "/"))
    folder.removeLast(3)
    let whole = "/" + folder.joined(separator: "/") + "/" + path
    guard let file = fopen(whole, "r") else { throw Fault(.notFound, "cannot read \(whole)") }
    defer { fclose(file) }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        guard count > 0 else { break }
        text += buffer[..<count]
    }
    return String(decoding: text, as: UTF8.self)
}

import CommandLine
import FoundationEssentials

func decode(_ text: String) throws -> JSON {
    try JSONDecoder().decode(JSON.self, from: Data(text.utf8))
}

import ArgumentParser
import CommandLine

/// The program `rdo`.
///
/// All of it is in `CommandLine`, so that tests can use that without inheriting the program's static
/// runtime.
@main
enum Program {
    static func main() async { await Rdo.main() }
}

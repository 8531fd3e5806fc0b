import ArgumentParser
import ControllerDaemon

/// The program `rdo-controller`.
///
/// All of it is in `ControllerDaemon`, so that tests can use that without inheriting the program's static
/// runtime.
@main
enum Program {
    static func main() async { await RdoController.main() }
}

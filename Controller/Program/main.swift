import ArgumentParser
import ControllerDaemon

await RdoController.main()

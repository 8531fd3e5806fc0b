import ArgumentParser
import CommandLine

await Rdo.main()

// swift-tools-version: 6.3
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

/// Executables carry the Swift runtime inside, so that they run where no toolchain is installed
/// (the ramdisk, an overcloud image, an operator's machine), while tests in the same build link it
/// dynamically: one build serves both.
///
/// The named archives are those that `FoundationEssentials` and `Foundation` need and that only a
/// compile with `-static-stdlib` would link by itself.
let essentials = [
    "-static-stdlib", "-l_FoundationCollections", "-l_FoundationCShims", "-lswiftSynchronization",
    "-Xlinker", "--gc-sections",
]
let foundation =
    essentials + [
        "-lFoundationInternationalization", "-lCoreFoundation", "-l_FoundationICU", "-lstdc++",
    ]

// MARK: - Products of other packages

func product(_ name: String, _ package: String) -> Target.Dependency {
    .product(name: name, package: package)
}

let argumentParser = product("ArgumentParser", "swift-argument-parser")
let asyncHTTPClient = product("AsyncHTTPClient", "async-http-client")
let certificates = product("X509", "swift-certificates")
let asn1 = product("SwiftASN1", "swift-asn1")
let configuration = product("Configuration", "swift-configuration")
let crypto = product("Crypto", "swift-crypto")
let cryptoExtras = product("CryptoExtras", "swift-crypto")
let deque = product("DequeModule", "swift-collections")
let grdb = product("GRDB", "GRDB.swift")
let hummingbird = product("Hummingbird", "hummingbird")
let hummingbirdTLS = product("HummingbirdTLS", "hummingbird")
let hummingbirdTesting = product("HummingbirdTesting", "hummingbird")
let logging = product("Logging", "swift-log")
let lifecycle = product("ServiceLifecycle", "swift-service-lifecycle")
let unixSignals = product("UnixSignals", "swift-service-lifecycle")
let mustache = product("Mustache", "swift-mustache")
let nioCore = product("NIOCore", "swift-nio")
let nioHTTP1 = product("NIOHTTP1", "swift-nio")
let nioPosix = product("NIOPosix", "swift-nio")
let nioSSL = product("NIOSSL", "swift-nio-ssl")
let protobuf = product("SwiftProtobuf", "swift-protobuf")
let subprocess = product("Subprocess", "swift-subprocess")
let systemPackage = product("SystemPackage", "swift-system")
let yams = product("Yams", "Yams")

// MARK: - Targets

func library(
    _ name: String,
    _ path: String,
    _ dependencies: [Target.Dependency],
    exclude: [String] = [],
    resources: [Resource] = []
) -> Target {
    .target(
        name: name,
        dependencies: dependencies,
        path: path,
        exclude: exclude,
        resources: resources,
        swiftSettings: settings
    )
}

/// A folder of the controller's.
func area(
    _ name: String,
    _ dependencies: [Target.Dependency],
    resources: [Resource] = []
) -> Target {
    library(name, "Controller/\(name)", dependencies, resources: resources)
}

func tests(
    _ name: String,
    _ dependencies: [Target.Dependency],
    exclude: [String] = []
) -> Target {
    .testTarget(
        name: name,
        dependencies: dependencies,
        path: "Tests/\(name)",
        exclude: exclude,
        swiftSettings: settings
    )
}

func program(
    _ name: String,
    _ path: String,
    _ dependencies: [Target.Dependency],
    link: [String]
) -> Target {
    .executableTarget(
        name: name,
        dependencies: dependencies,
        path: path,
        swiftSettings: settings,
        linkerSettings: [.unsafeFlags(link)]
    )
}

let package = Package(
    name: "rdo-manager",
    products: [
        .executable(name: "rdo-controller", targets: ["ControllerProgram"]),
        .executable(name: "rdo-agent", targets: ["AgentDaemon"]),
        .executable(name: "rdo-ramdisk", targets: ["RamdiskCommand"]),
        .executable(name: "rdo", targets: ["CommandLineProgram"]),
        .executable(name: "rdo-bench", targets: ["BenchCommand"]),
        .executable(name: "simulate", targets: ["Simulate"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0"),
    ],
    targets: [
        // Protocol: what both daemons share.
        .systemLibrary(name: "CZeroMQ", path: "Protocol/CZeroMQ", pkgConfig: "libzmq"),
        .systemLibrary(name: "CZstd", path: "Protocol/CZstd", pkgConfig: "libzstd"),
        .systemLibrary(name: "CZlib", path: "Protocol/CZlib", pkgConfig: "zlib"),
        library(
            "Protocol",
            "Protocol/Messages",
            [protobuf],
            exclude: [
                "command.proto", "control.proto", "enrol.proto", "inventory.proto",
                "telemetry.proto",
            ]
        ),
        library("Basics", "Protocol/Basics", ["Protocol", logging]),
        library(
            "Transport",
            "Protocol/Transport",
            ["Protocol", "Basics", "CZeroMQ", logging, protobuf]
        ),

        // Controller.
        .target(name: "CHostTools", path: "Controller/CHostTools"),
        area(
            "HostTools",
            ["Basics", "CHostTools", subprocess, systemPackage]
        ),
        area("Store", ["Protocol", "Basics", grdb, logging, crypto]),
        area(
            "HTTP",
            [
                "Protocol", "Basics", hummingbird, hummingbirdTLS, lifecycle, nioCore, nioPosix,
                nioSSL, logging,
            ]
        ),
        area(
            "Power",
            [
                "Protocol", "Basics", "HostTools", "HTTP", asyncHTTPClient, nioCore, nioHTTP1,
                nioPosix, nioSSL, logging,
            ]
        ),
        area(
            "Boot",
            ["Protocol", "Basics", "HTTP", "HostTools", "Store", hummingbird, logging]
        ),
        area(
            "Identity",
            [
                "Protocol", "Basics", "Store", "HTTP", crypto, cryptoExtras, grdb, logging,
                hummingbird,
            ]
        ),
        area(
            "Images",
            [
                "Protocol", "Basics", "Store", "HTTP", "Identity", "CZstd", "CZlib", crypto, grdb,
                logging, hummingbird, nioCore, nioPosix,
            ]
        ),
        area(
            "Agents",
            [
                "Protocol", "Basics", "Store", "Transport", crypto, grdb, logging, lifecycle,
                protobuf,
            ]
        ),
        area(
            "Baremetal",
            [
                "Protocol", "Basics", "Store", "HTTP", "Power", "Boot", "Identity", "Images",
                "Agents", crypto, grdb, logging, lifecycle, hummingbird, deque,
            ]
        ),
        area(
            "Deployment",
            [
                "Protocol", "Basics", "Store", "HTTP", "Identity", "Agents", crypto, grdb, logging,
                lifecycle, hummingbird,
            ]
        ),
        area(
            "Telemetry",
            [
                "Protocol", "Basics", "Store", "HTTP", "Identity", "Transport", "Agents", protobuf,
                logging, lifecycle, hummingbird, asyncHTTPClient, crypto, grdb, nioPosix, nioSSL,
            ]
        ),
        area(
            "Dashboard",
            [
                "Protocol", "Basics", "Store", "HTTP", "Identity", "Baremetal", "Deployment",
                "Telemetry", crypto, mustache, logging, hummingbird,
            ],
            resources: [.embedInCode("Pages")]
        ),
        library(
            "ControllerDaemon",
            "Controller/Daemon",
            [
                "Protocol", "Basics", "Transport", "Store", "HTTP", "Power", "Boot", "Identity",
                "Images", "Agents", "Baremetal", "Deployment", "Telemetry", "Dashboard",
                "HostTools", configuration, argumentParser, yams, lifecycle, unixSignals, logging,
                hummingbird, crypto,
            ]
        ),
        area(
            "CommandLine",
            [
                "Protocol", "Basics", "HostTools", "Lab", "RamdiskBuilder", "ImageBuilder",
                "Undercloud", argumentParser, asyncHTTPClient, crypto, nioCore, nioHTTP1, nioSSL,
                yams, logging,
            ]
        ),
        area(
            "Undercloud",
            [
                "Protocol", "Basics", "HostTools", "Transport", certificates, asn1, crypto,
                cryptoExtras, yams, logging,
            ]
        ),

        // Thin programs: whoever depends on a program inherits its static runtime, which tests must not.
        program(
            "ControllerProgram",
            "Controller/Program",
            ["ControllerDaemon", argumentParser],
            link: foundation
        ),
        program(
            "CommandLineProgram",
            "Controller/CommandLineProgram",
            ["CommandLine", argumentParser],
            link: foundation
        ),

        // Agent.
        .target(
            name: "CLinux",
            path: "Agent/CLinux",
            linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]
        ),
        library("AgentSystem", "Agent/System", ["Protocol", "Basics", "CLinux", "CZstd", logging]),
        library(
            "AgentSteps",
            "Agent/Steps",
            ["Protocol", "Basics", "AgentSystem", "CZstd", logging]
        ),
        library(
            "AgentCore",
            "Agent/Core",
            ["Protocol", "Basics", "Transport", "AgentSystem", "AgentSteps", logging, protobuf]
        ),
        program(
            "AgentDaemon",
            "Agent/Daemon",
            [
                "Protocol", "Basics", "Transport", "AgentSystem", "AgentSteps", "AgentCore",
                logging, protobuf,
            ],
            // The toolchain exports every symbol, which keeps all of the runtime alive.
            link: essentials + ["-Xlinker", "--no-export-dynamic", "-Xlinker", "--icf=safe"]
        ),

        // Ramdisk.
        library(
            "RamdiskBuilder",
            "Ramdisk/Builder",
            ["Protocol", "Basics", "HostTools", "CZstd", crypto, logging]
        ),
        program(
            "RamdiskCommand",
            "Ramdisk/Command",
            ["RamdiskBuilder", "Basics", argumentParser, logging],
            link: foundation
        ),

        // Packaging.
        library("Lab", "packaging/Lab", ["Protocol", "Basics", "HostTools"]),
        library(
            "ImageBuilder",
            "packaging/ImageBuilder",
            ["Protocol", "Basics", "HostTools", "RamdiskBuilder", crypto, logging]
        ),
        library(
            "Bench",
            "packaging/Bench",
            [
                "Protocol", "Basics", "HostTools", "Transport", "Harness", "AgentSystem",
                "AgentSteps", "CLinux", "CZeroMQ", crypto, protobuf,
            ]
        ),
        // Stays on the machine that built it, so its runtime may stay outside.
        program("BenchCommand", "packaging/BenchCommand", ["Bench", argumentParser], link: []),

        // Tests.
        tests("ProtocolTests", ["Protocol", "Basics", protobuf]),
        tests("BasicsTests", ["Basics", "Protocol", logging]),
        tests("TransportTests", ["Transport", "Protocol", "Basics", "CZeroMQ", protobuf]),
        tests("HostToolsTests", ["HostTools", "Basics"]),
        tests("StoreTests", ["Store", "Basics", "Protocol", grdb]),
        tests(
            "HTTPTests",
            ["HTTP", "Harness", "HostTools", "Basics", hummingbird, hummingbirdTesting, logging]
        ),
        tests(
            "PowerTests",
            ["Power", "HTTP", "Harness", "HostTools", "Lab", "Basics", hummingbird, nioCore],
            exclude: ["Recordings"]
        ),
        tests(
            "BootTests",
            ["Boot", "HTTP", "HostTools", "Basics", "Protocol", hummingbird, hummingbirdTesting]
        ),
        tests(
            "IdentityTests",
            [
                "Identity", "Store", "HTTP", "Basics", "Protocol", "Rights", grdb, hummingbird,
                hummingbirdTesting,
            ]
        ),
        tests(
            "ImagesTests",
            [
                "Images", "Identity", "Store", "HTTP", "HostTools", "Basics", "Protocol", "CZstd",
                "CZlib", hummingbird, logging, hummingbirdTesting,
            ]
        ),
        tests(
            "AgentsTests",
            [
                "Agents", "Store", "Transport", "Basics", "Protocol", grdb, logging, lifecycle,
                protobuf,
            ]
        ),
        tests(
            "BaremetalTests",
            [
                "Baremetal", "Agents", "Boot", "Power", "Images", "Identity", "Store", "HTTP",
                "HostTools", "Basics", "Protocol", "Rights", "AgentSystem", "Harness", grdb,
                hummingbird, hummingbirdTesting,
            ]
        ),
        tests(
            "DeploymentTests",
            [
                "Deployment", "Baremetal", "Agents", "Identity", "Store", "HTTP", "Basics",
                "Protocol", hummingbird, hummingbirdTesting,
            ]
        ),
        tests(
            "TelemetryTests",
            [
                "Telemetry", "Baremetal", "Agents", "Identity", "Store", "HTTP", "Transport",
                "Basics", "HostTools", "Harness", logging, "Protocol", hummingbird,
                hummingbirdTesting, protobuf,
            ]
        ),
        tests(
            "DashboardTests",
            [
                "Dashboard", "Telemetry", "Deployment", "Baremetal", "Identity", "Store", "HTTP",
                "Basics", hummingbird, hummingbirdTesting,
            ]
        ),
        tests(
            "ControllerDaemonTests",
            [
                "ControllerDaemon", "Baremetal", "Identity", "Protocol", "Store", "Basics", "HTTP",
                "Harness", "HostTools", "Rights", "Transport", hummingbird, hummingbirdTesting,
                logging,
            ]
        ),
        tests("CommandLineTests", ["CommandLine", "Undercloud", "Harness", "HostTools", "Basics"]),
        tests("AgentSystemTests", ["AgentSystem", "Basics", "Protocol", "CLinux"]),
        tests("AgentStepsTests", ["AgentSteps", "AgentSystem", "Basics", "Protocol", "CZstd"]),
        tests(
            "AgentCoreTests",
            [
                "AgentCore", "AgentSteps", "AgentSystem", "Transport", "Basics", "Protocol",
                logging,
            ]
        ),
        tests("RamdiskBuilderTests", ["RamdiskBuilder", "HostTools", "Basics", "CZstd"]),
        tests("LabTests", ["Lab", "HostTools", "Protocol", "Basics"]),
        tests("ImageBuilderTests", ["ImageBuilder", "RamdiskBuilder", "HostTools", "Basics"]),
        tests("BenchTests", ["Bench"]),
        library("Harness", "Tests/Harness", ["Basics", "HostTools"]),
        library("Rights", "Tests/Rights", ["Basics", "HTTP"]),
        tests("CompatibilityTests", ["Harness", "HostTools", "Basics", "Undercloud"]),
        tests(
            "IntegrationTests",
            [
                "AgentSteps", "AgentSystem", "Harness", "HostTools", "Basics", "Agents",
                "Baremetal", "Boot", "HTTP", "Images", "Power", "Protocol", "RamdiskBuilder",
                "Store", "Transport", logging,
            ]
        ),
        tests(
            "FuzzTests",
            [
                "AgentCore", "AgentSteps", "AgentSystem", "Agents", "Basics", "Boot", "HTTP",
                "HostTools", "Images", "Baremetal", "Power", "Protocol", "Store", "Telemetry",
                "Transport", "Undercloud", "CZlib", "CZstd", hummingbird, hummingbirdTesting,
                protobuf,
            ]
        ),
        // The simulator: both daemons on one thread.
        .target(
            name: "CFaultVFS",
            path: "Tests/CFaultVFS",
            linkerSettings: [.linkedLibrary("sqlite3")]
        ),
        library(
            "Simulator",
            "Tests/Simulator",
            [
                "CFaultVFS", "CZstd", "Protocol", "Basics", "Transport", "Store", "HTTP", "Power",
                "Boot", "Images", "Agents", "Baremetal", "Deployment", "AgentSystem", "AgentSteps",
                "AgentCore", "HostTools", logging, protobuf,
            ]
        ),
        tests("SimulationTests", ["Simulator", "Basics", "Protocol"], exclude: ["Planted"]),
        program(
            "Simulate",
            "Tests/Simulate",
            ["Simulator", "Basics", "Protocol", argumentParser],
            link: foundation
        ),
        tests("TidyTests", ["Basics"]),
    ],
    swiftLanguageModes: [.v6]
)

// MARK: - A part of the package

// RDO_ONLY=Transport,Agents makes the package those modules, what they need and their tests, so that
// work on one area builds and tests without the others.
if let only = Context.environment["RDO_ONLY"], !only.isEmpty {
    var wanted = Set(only.split(separator: ",").map(String.init))
    wanted.formUnion(wanted.map { "\($0)Tests" })
    if wanted.contains("Simulation") { wanted.insert("Simulate") }
    var size = 0
    while size != wanted.count {
        size = wanted.count
        for target in package.targets where wanted.contains(target.name) {
            for case .byNameItem(let name, _) in target.dependencies { wanted.insert(name) }
        }
    }
    package.targets.removeAll { !wanted.contains($0.name) }
    let left = Set(package.targets.map(\.name))
    package.products.removeAll { product in
        guard let executable = product as? Product.Executable else { return false }
        return !left.isSuperset(of: executable.targets)
    }
}

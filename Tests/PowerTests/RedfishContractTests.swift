import Basics
import Harness
import HostTools
import Testing

@testable import Power

/// A Redfish service that tests speak to.
enum RedfishSubject: String, CaseIterable, CustomTestStringConvertible {
    /// sushy-tools' emulator, which we did not write.
    case emulator = "sushy-tools"
    /// Our double with the documents of DMTF's examples.
    case double = "the double"

    var testDescription: String { rawValue }

    /// Runs the body with a driver and the address of the service's machine.
    func with(_ body: @escaping @Sendable (RedfishPower, BMC) async throws -> Void) async throws {
        switch self {
        case .double:
            try await RedfishDouble("plain").serve { port in
                try await Self.drive(.double(port: port), body)
            }
        case .emulator:
            let emulator = try await RedfishEmulator()
            let bmc = BMC(
                host: "127.0.0.1",
                port: emulator.port,
                user: RedfishEmulator.user,
                password: Secret(RedfishEmulator.password),
                redfish: RedfishAccess(isSecure: false, system: RedfishEmulator.system)
            )
            try await Self.drive(bmc, body)
            try await emulator.kill()
        }
    }

    /// Runs the body with a driver that is shut down afterwards.
    static func drive(
        _ bmc: BMC,
        settings edit: (inout RedfishSettings) -> Void = { _ in },
        _ body: (RedfishPower, BMC) async throws -> Void
    ) async throws {
        var settings = RedfishSettings()
        settings.pause = .milliseconds(50)
        edit(&settings)
        let driver = RedfishPower(settings: settings, time: SystemTime())
        do {
            try await body(driver, bmc)
        } catch {
            await driver.shutDown()
            throw error
        }
        await driver.shutDown()
    }
}

extension BMC {
    /// The double's.
    static func double(
        port: UInt16,
        password: String = RedfishDouble.password,
        _ edit: (inout RedfishAccess) -> Void = { _ in }
    ) -> BMC {
        var access = RedfishAccess(isSecure: false)
        edit(&access)
        return BMC(
            host: "127.0.0.1",
            port: port,
            user: RedfishDouble.user,
            password: Secret(password),
            redfish: access
        )
    }
}

/// What every Redfish service must do with us, the foreign emulator and our double alike.
@Suite(.serialized) struct RedfishContractTests {
    @Test(arguments: RedfishSubject.allCases)
    func `the power goes on and off`(_ subject: RedfishSubject) async throws {
        try await subject.with { driver, bmc in
            for (change, goal) in [
                (PowerChange.on, PowerState.on), (.cycle, .on), (.softOff, .off), (.on, .on),
                (.off, .off),
            ] {
                try await driver.change(change, of: bmc)
                // The emulator's machines follow after one to eleven seconds.
                try await eventually("power \(goal.rawValue)", within: .seconds(40)) {
                    try await driver.power(of: bmc) == goal
                }
                // Asking again is harmless.
                if change != .cycle { try await driver.change(change, of: bmc) }
            }
        }
    }

    @Test(arguments: RedfishSubject.allCases)
    func `the boot device is what was set`(_ subject: RedfishSubject) async throws {
        try await subject.with { driver, bmc in
            for device in [BootDevice.pxe, .cdrom, .disk] {
                try await driver.setBootDevice(device, persistent: true, mode: .uefi, of: bmc)
                let choice = try await driver.bootDevice(of: bmc)
                #expect(choice == BootChoice(device: device, isPersistent: true))
            }
            let fault = await #expect(throws: PowerFault.self) {
                try await driver.setBootDevice(.safe, persistent: false, mode: .uefi, of: bmc)
            }
            #expect(fault?.reason == .unsupported)
        }
    }

    @Test(arguments: RedfishSubject.allCases)
    func `boot mode and secure boot are what was set`(_ subject: RedfishSubject) async throws {
        try await subject.with { driver, bmc in
            var policy = try await driver.bootPolicy(of: bmc)
            #expect(policy == BootPolicyState(mode: .uefi, isSecure: false))
            try await driver.setSecureBoot(true, of: bmc)
            policy = try await driver.bootPolicy(of: bmc)
            #expect(policy.isSecure == true)
            try await driver.setSecureBoot(false, of: bmc)
            try await driver.setBootMode(.bios, of: bmc)
            policy = try await driver.bootPolicy(of: bmc)
            #expect(policy == BootPolicyState(mode: .bios, isSecure: false))
            let fault = await #expect(throws: PowerFault.self) {
                try await driver.setSecureBoot(true, of: bmc)
            }
            #expect(fault?.message.contains("takes the boot mode uefi") == true)
            try await driver.setBootDevice(.pxe, persistent: false, mode: .uefi, of: bmc)
            policy = try await driver.bootPolicy(of: bmc)
            #expect(policy.mode == .uefi)
        }
    }

    @Test(arguments: RedfishSubject.allCases)
    func `lamps are switched`(_ subject: RedfishSubject) async throws {
        try await subject.with { driver, bmc in
            let lamps = try await driver.indicators(of: bmc)
            #expect(Set(lamps.map(\.name.component)) == ["chassis", "system"])
            for lamp in lamps {
                for state in [Indicator.State.blinking, .off, .on] {
                    try await driver.set(state, of: lamp.name, of: bmc)
                    let shown = try await driver.indicators(of: bmc)
                    #expect(shown.first { $0.name == lamp.name }?.state == state)
                }
            }
            let nothing = Indicator.Name(component: "system", id: "nothing")
            let fault = await #expect(throws: PowerFault.self) {
                try await driver.set(.on, of: nothing, of: bmc)
            }
            #expect(fault?.reason == .unsupported)
        }
    }

    @Test(arguments: RedfishSubject.allCases)
    func `media are attached and detached`(_ subject: RedfishSubject) async throws {
        // The emulator fetches what it is told to attach.
        try await RedfishDouble("media-server").serve { server in
            let image = "http://127.0.0.1:\(server)/ramdisk.iso"
            try await subject.with { driver, bmc in
                try await driver.insert(image, into: .cdrom, of: bmc)
                var drive = try await driver.media(of: bmc).first { $0.types.contains("CD") }
                #expect(drive?.isInserted == true)
                #expect(drive?.image == image)
                try await driver.insert(image, into: .cdrom, of: bmc)
                try await driver.eject([.floppy], of: bmc)
                drive = try await driver.media(of: bmc).first { $0.types.contains("CD") }
                #expect(drive?.isInserted == true)
                try await driver.eject(nil, of: bmc)
                let media = try await driver.media(of: bmc)
                #expect(media.count == 2)
                #expect(media.allSatisfy { !$0.isInserted })
            }
        }
    }

    @Test(arguments: RedfishSubject.allCases)
    func `sensors, identity and firmware are read`(_ subject: RedfishSubject) async throws {
        try await subject.with { driver, bmc in
            let readings = try await driver.readings(of: bmc)
            let processor = readings.first { $0.name == "CPU Temp" }
            #expect(processor?.kind == .temperature)
            #expect(processor?.value == 41)
            #expect(processor?.unit == "Cel")
            #expect(readings.contains { $0.kind == .fan && $0.value == 2100 && $0.unit == "RPM" })
            let identity = try await driver.identity(of: bmc)
            #expect(identity?.count == 36)
            let components = try await driver.components(of: bmc)
            #expect(components.contains { $0.name == "bmc" && !$0.version.isEmpty })
        }
    }

    @Test(arguments: RedfishSubject.allCases)
    func `a wrong password is told as one`(_ subject: RedfishSubject) async throws {
        try await subject.with { driver, bmc in
            let wrong = BMC(
                host: bmc.host,
                port: bmc.port,
                user: bmc.user,
                password: Secret("another one"),
                redfish: bmc.redfish
            )
            let fault = await #expect(throws: PowerFault.self) { try await driver.power(of: wrong) }
            #expect(fault?.reason == .credentials)
            #expect(fault?.message.contains("correct redfish_username") == true)
        }
    }

    @Test func `the emulator's certificate is checked as redfish_verify_ca says`() async throws {
        let emulator = try await RedfishEmulator(isSecure: true)
        func bmc(_ verification: RedfishAccess.Verification) -> BMC {
            BMC(
                host: "127.0.0.1",
                port: emulator.port,
                user: RedfishEmulator.user,
                password: Secret(RedfishEmulator.password),
                redfish: RedfishAccess(system: RedfishEmulator.system, verification: verification)
            )
        }
        try await RedfishSubject.drive(bmc(.host)) { driver, untrusted in
            let fault = await #expect(throws: PowerFault.self) {
                try await driver.power(of: untrusted)
            }
            #expect(fault?.reason == .settings)
            #expect(fault?.message.contains("certificate is not trusted") == true)
            for verification in [RedfishAccess.Verification.off, .file(emulator.certificate)] {
                let state = try await driver.power(of: bmc(verification))
                #expect(state == .off)
            }
        }
        try await emulator.kill()
    }

    @Test func `a machine of the emulator is found by its name's redirect`() async throws {
        let emulator = try await RedfishEmulator()
        let bmc = BMC(
            host: "127.0.0.1",
            port: emulator.port,
            user: RedfishEmulator.user,
            password: Secret(RedfishEmulator.password),
            redfish: RedfishAccess(isSecure: false, system: "/redfish/v1/Systems/m0")
        )
        try await RedfishSubject.drive(bmc) { driver, bmc in
            let state = try await driver.power(of: bmc)
            #expect(state == .off)
            try await emulator.kill()
            let fault = await #expect(throws: PowerFault.self) { try await driver.power(of: bmc) }
            #expect(fault?.reason == .noAnswer)
        }
    }
}

import Basics
import Harness
import HTTP
import Synchronization
import Testing

@testable import Power

@Suite struct RedfishCredentialTests {
    private static let password = Secret("Aa1-cdefghijklmn")

    private func with(
        _ recording: String,
        _ access: @escaping @Sendable (inout RedfishAccess) -> Void = { _ in },
        _ body: @escaping @Sendable (RedfishPower, BMC, RedfishDouble) async throws -> Void
    ) async throws {
        let double = try RedfishDouble(recording)
        try await double.serve { port in
            try await RedfishSubject.drive(.double(port: port, access)) { driver, bmc in
                try await body(driver, bmc, double)
            }
        }
    }

    @Test(arguments: RedfishAccess.Authentication.allCases)
    func `a password is changed, and only the new one holds`(
        _ kind: RedfishAccess.Authentication
    ) async throws {
        try await with("accounts", { $0.authentication = kind }) {
            driver,
            bmc,
            double async throws in
            try await driver.setPassword(Self.password, of: bmc)
            #expect(double.state.withLock(\.password) == Self.password.reveal())
            _ = try await driver.power(of: bmc.with(password: Self.password))
            let fault = await #expect(throws: PowerFault.self) {
                _ = try await driver.power(of: bmc)
            }
            #expect(fault?.reason == .credentials)
            let patched = double.asked.filter { $0.method == "PATCH" }.map(\.path)
            #expect(patched == ["/redfish/v1/AccountService/Accounts/2"])
        }
    }

    @Test func `a BMC that repeats the password in its refusal does not give it away`() async throws
    {
        try await with("accounts-policy") { driver, bmc, _ async throws in
            let fault = await #expect(throws: PowerFault.self) {
                try await driver.setPassword(Self.password, of: bmc)
            }
            #expect(fault?.message.contains("*** is too weak") == true)
            #expect(fault.map { "\($0)".contains(Self.password.reveal()) } == false)
            _ = try await driver.power(of: bmc)
        }
    }

    @Test func `a BMC without accounts says so`() async throws {
        try await with("plain") { driver, bmc, _ async throws in
            let fault = await #expect(throws: PowerFault.self) {
                try await driver.setPassword(Self.password, of: bmc)
            }
            #expect(fault?.reason == .unsupported)
        }
    }
}

package import Basics
import HTTP

extension RedfishPower: CredentialControl {
    /// DSP0266, schemas AccountService and ManagerAccount: a change of the account's `Password`.
    package func setPassword(_ password: Secret, of bmc: BMC) async throws {
        try await client.call(bmc, to: "change the password") { call in
            do {
                let account = try await call.account()
                try await call.patch(account, ["Password": .string(password.reveal())])
            } catch RedfishTrouble.refused(let status, let words) {
                let secret = password.reveal()
                throw RedfishTrouble.refused(status, words.replacing(secret, with: "***"))
            }
        }
    }
}

extension RedfishCall {
    /// Accounts of a BMC that are looked at.
    private static let accountsMax = 32

    /// The account as which the BMC is spoken to.
    fileprivate func account() async throws -> RedfishDocument {
        guard !bmc.user.isEmpty, let service = try await find(try await root().accounts),
            let list = try await find(RedfishAnswer.link(service.value["Accounts"]))
        else { throw RedfishTrouble.unsupported("a change of its users") }
        let members = RedfishAnswer.links(list.value["Members"]).prefix(Self.accountsMax)
        for member in members {
            guard let document = try await find(member),
                document.value["UserName"]?.text == bmc.user
            else { continue }
            return document
        }
        throw RedfishTrouble.unsupported("a change of the user, whom it does not list")
    }
}

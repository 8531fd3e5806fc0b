import Basics
import Dashboard
import Deployment
import HTTP
import Identity
import Store

/// Seals configuration runs with the installation's key, under a purpose of their own.
struct DeploymentSealer: SpecificationSealer {
    let sealer: Sealer

    func seal(_ bytes: [UInt8], context: String) throws -> [UInt8] {
        try sealer.seal(Secret(bytes: bytes), for: "deployment/\(context)")
    }

    func open(_ sealed: [UInt8], context: String) throws -> [UInt8] {
        try sealer.open(sealed, for: "deployment/\(context)").revealBytes()
    }
}

/// Lets the dashboard's visitors in by the identity area, with its lock-out and its limits.
struct IdentityDashboardSignIn: DashboardSignIn {
    let identity: IdentityService

    func signIn(user: String, password: Secret, address: String) async throws -> Principal {
        let request = SignIn(
            proof: .password(userID: nil, userName: user, password: password), scope: .system)
        return try await identity.signIn(request, from: address).principal
    }
}

/// The routes of the controller that belong neither to the Bare Metal nor to the Identity API.
package enum ControllerAccess {
    private typealias Call = AccessCall<Need>

    /// Every call; the image is private and `owner`'s, and so is the webhook.
    package static let calls: [AccessCall<Need>] = discovery + images + runs + access + telemetry

    /// Routes that are in no table, and why.
    package static let others: [String: String] = {
        let capability = "an agent's, with what it was given for one image; ImagesTests"
        let sender = "a BMC's, with what it was told when its events were subscribed; BMCEventTests"
        let session = "a person's with the dashboard's cookie; DashboardTests"
        return [
            "GET /v1/images/:/manifest": capability, "GET /v1/images/:/chunks/:": capability,
            "POST /v1/redfish_events/:/:": sender,
            "POST /dashboard/sign-in": session, "POST /dashboard/sign-out": session,
            "GET /dashboard/live": session,
        ]
    }()

    private static let discovery: [Call] = [
        Call("GET", "/", .open), Call("GET", "/v1", .open), Call("GET", "/image", .open),
        Call("GET", "/image/versions", .open), Call("GET", "/image/v2", .open),
        Call("GET", "/dashboard", .open), Call("GET", "/dashboard/bootstrap.css", .open),
        Call("GET", "/dashboard/style.css", .open), Call("GET", "/dashboard/live.js", .open),
        Call("GET", "/openapi.json", .token),
    ]

    private static let images: [Call] =
        ["image", "images"].map {
            Call("GET", "/image/v2/schemas/\($0)", .apiReader)
        } + [
            Call("GET", "/image/v2/images", .apiReader),
            Call("POST", "/image/v2/images", .apiMember, #"{"name":"new"}"#),
            Call("GET", "/image/v2/images/{image}", .ownerReader),
            Call("PATCH", "/image/v2/images/{image}", .ownerMember, "[]"),
            Call("DELETE", "/image/v2/images/{image}", .ownerMember),
            Call("GET", "/image/v2/images/{image}/members", .ownerReader),
            Call("PUT", "/image/v2/images/{image}/file", .ownerMember, "x"),
            Call("GET", "/image/v2/images/{image}/file", .ownerReader),
            Call("PUT", "/image/v2/images/{image}/tags/{tag}", .ownerMember),
            Call("DELETE", "/image/v2/images/{image}/tags/{tag}", .ownerMember),
        ]

    private static let runs: [Call] = [
        Call("GET", "/v1/deployments", .systemReader),
        Call("POST", "/v1/deployments", .systemAdmin, "{}"),
        Call("GET", "/v1/deployments/{none}", .systemReader, missing: "find deployment"),
        Call("DELETE", "/v1/deployments/{none}", .systemAdmin, missing: "find deployment"),
        Call(
            "POST",
            "/v1/deployments/{none}/resume",
            .systemAdmin,
            "{}",
            missing: "find deployment"
        ),
        Call("POST", "/v1/deployments/{none}/cancel", .systemAdmin, missing: "find deployment"),
    ]

    private static let access: [Call] = [
        Call("GET", "/v1/audit", .systemAdmin), Call("GET", "/v1/agents", .systemAdmin),
        Call(
            "POST",
            "/v1/agents/accept",
            .systemAdmin,
            #"{"fingerprint":"none"}"#,
            missing: "fingerprint"
        ),
        Call("GET", "/v1/stream/keys", .systemAdmin),
        Call("POST", "/v1/stream/keys", .systemAdmin, #"{"name":"new"}"#),
        Call("DELETE", "/v1/stream/keys/{nobody}", .systemAdmin, missing: "nobody"),
        Call("POST", "/v1/readers", .systemAdmin, #"{"name":"new"}"#),
        Call("DELETE", "/v1/readers/{nobody}", .systemAdmin, missing: "nobody"),
    ]

    private static let telemetry: [Call] = [
        Call("GET", "/metrics", .systemReader),
        Call("GET", "/v1/telemetry/nodes/{none}", .systemReader),
        Call("GET", "/v1/events", .systemReader),
        Call("GET", "/v1/webhooks", .apiManager),
        Call(
            "POST",
            "/v1/webhooks",
            .apiManager,
            #"{"url":"https://hooks.example/new","secret":"a secret of sixteen"}"#
        ),
        Call("GET", "/v1/webhooks/{webhook}", .ownAlone),
        Call("PATCH", "/v1/webhooks/{webhook}", .ownAlone, #"{"enabled":true}"#),
        Call("DELETE", "/v1/webhooks/{webhook}", .ownAlone),
    ]
}

/// What must come of a command.
enum IdentityOutcome: Sendable {
    case done
    /// It fails, and says this.
    case refused(String)
    /// It says this, and does not fail.
    case says(String)
    /// It shows an object with these members.
    case shows([String: String])
    /// It lists rows whose column holds all of the first and none of the second.
    case lists(String, has: [String], hasNot: [String] = [])
}

/// One command, and what must come of it.
struct IdentityStep: Sendable {
    let command: String
    let outcome: IdentityOutcome
    var cloud = "admin"
    /// By which name later commands use what it showed.
    var name: String?

    init(
        _ command: String,
        _ outcome: IdentityOutcome = .done,
        as cloud: String = "admin",
        save name: String? = nil
    ) {
        self.command = command
        self.outcome = outcome
        self.cloud = cloud
        self.name = name
    }
}

/// Every identity command of the `openstack` command line, in an order in which each finds what it needs.
enum IdentityCommands {
    static let all =
        tokens + domains + projects + users + groups + roles + scopes + catalog + credentials
        + removal + federation + notOffered

    private static let tokens = [
        IdentityStep("token issue", .done, save: "token"),
        IdentityStep("token issue", .done, as: "plain", save: "plain"),
        IdentityStep(
            "--os-token {plain.id} token issue",
            .shows(["project_id": "{token.project_id}"]),
            as: "token"
        ),
        IdentityStep("token issue", .shows(["system": "all"]), as: "system"),
        IdentityStep("token revoke {token.id}"),
        IdentityStep("token revoke {token.id}", .refused("404")),
        IdentityStep("catalog list", .lists("Type", has: ["baremetal", "identity", "image"])),
        IdentityStep("catalog show image", .shows(["name": "glance", "type": "image"])),
        IdentityStep("token issue", .refused("401"), as: "ann"),
    ]

    private static let domains = [
        IdentityStep(
            "domain create shop --description 'the shop'",
            .shows(["name": "shop", "enabled": "true", "description": "the shop"]),
            save: "shop"
        ),
        IdentityStep("domain create shop", .refused("409")),
        IdentityStep("domain create shop --or-show", .shows(["id": "{shop.id}"])),
        IdentityStep("domain create old --disable", .shows(["enabled": "false"])),
        IdentityStep("domain set old --name older --description x"),
        IdentityStep("domain show older", .shows(["name": "older", "description": "x"])),
        IdentityStep("domain list", .lists("Name", has: ["Default", "shop", "older"])),
        IdentityStep("domain list --name shop", .lists("Name", has: ["shop"], hasNot: ["Default"])),
        IdentityStep("domain list --enabled", .lists("Name", has: ["shop"], hasNot: ["older"])),
        IdentityStep("domain delete shop", .refused("disable it first")),
        IdentityStep("domain delete older"),
        IdentityStep("domain show older", .refused("older")),
    ]

    private static let projects = [
        IdentityStep(
            "project create web --domain shop --description sells --tag a --tag b --property cost=7",
            .shows(["name": "web", "description": "sells", "cost": "7", "enabled": "true"]),
            save: "web"
        ),
        IdentityStep("project create web --domain shop", .refused("409")),
        IdentityStep("project create web --domain shop --or-show", .shows(["name": "web"])),
        IdentityStep("project create web", .shows(["domain_id": "default"])),
        IdentityStep(
            "project create cart --domain shop --parent {web.id} --disable",
            .shows(["name": "cart", "enabled": "false"])
        ),
        IdentityStep("project show cart --domain shop --parents", .shows(["name": "cart"])),
        IdentityStep("project show {web.id} --children", .shows(["name": "web"])),
        IdentityStep("project set cart --domain shop --name basket --enable --tag c"),
        IdentityStep("project set basket --domain shop --description 'a basket' --property cost=8"),
        IdentityStep(
            "project show basket --domain shop",
            .shows(["description": "a basket", "cost": "8", "tags": "[c]", "enabled": "true"])
        ),
        IdentityStep("project set basket --domain shop --clear-tags"),
        IdentityStep("project list", .lists("Name", has: ["admin", "web", "basket"])),
        IdentityStep(
            "project list --domain shop --long",
            .lists("Name", has: ["web", "basket"], hasNot: ["admin"])
        ),
        IdentityStep(
            "project list --parent {web.id}",
            .lists("Name", has: ["basket"], hasNot: ["web"])
        ),
        IdentityStep("project list --tags a,b", .lists("Name", has: ["web"], hasNot: ["basket"])),
        IdentityStep("project list --my-projects", .lists("Name", has: ["admin"], hasNot: ["web"])),
        IdentityStep("project list --sort name:desc", .lists("Name", has: ["web"])),
        IdentityStep("project list --disabled", .lists("Name", has: [], hasNot: ["web"])),
        IdentityStep("project delete {web.id}", .refused("below it")),
        IdentityStep("project delete web --domain default"),
    ]

    private static let users = [
        IdentityStep(
            "user create ann --domain shop --password secret --email ann@shop.example --project web --project-domain shop --description buys",
            .shows(["name": "ann", "email": "ann@shop.example", "description": "buys"]),
            save: "ann"
        ),
        IdentityStep("user create ann --domain shop", .refused("409")),
        IdentityStep("user create ann --domain shop --or-show", .shows(["name": "ann"])),
        IdentityStep(
            "user create boss --domain shop --password first",
            .shows(["enabled": "true"])
        ),
        IdentityStep("user create zed --domain shop --disable", .shows(["enabled": "false"])),
        IdentityStep("user set boss --domain shop --password secret --email boss@shop.example"),
        IdentityStep("user set zed --domain shop --name zoe --enable --ignore-password-expiry"),
        IdentityStep("user show zoe --domain shop", .shows(["enabled": "true", "name": "zoe"])),
        IdentityStep("user list", .lists("Name", has: ["admin", "ann", "zoe"])),
        IdentityStep(
            "user list --domain shop --long",
            .lists("Name", has: ["ann"], hasNot: ["admin"])
        ),
        IdentityStep("user set zoe --domain shop --disable"),
        IdentityStep("user list --disabled", .lists("Name", has: ["zoe"], hasNot: ["ann"])),
        IdentityStep(
            "user list --enabled --domain shop",
            .lists("Name", has: ["ann"], hasNot: ["zoe"])
        ),
        IdentityStep("user delete zoe --domain shop"),
        IdentityStep("user show zoe", .refused("zoe")),
    ]

    private static let groups = [
        IdentityStep(
            "group create crew --domain shop --description works",
            .shows(["name": "crew"])
        ),
        IdentityStep("group create crew --domain shop", .refused("409")),
        IdentityStep("group create crew --domain {shop.id} --or-show", .shows(["name": "crew"])),
        IdentityStep("group add user crew ann boss --group-domain shop --user-domain shop"),
        IdentityStep("group contains user crew ann --group-domain shop --user-domain shop"),
        IdentityStep("group remove user crew boss --group-domain shop --user-domain shop"),
        IdentityStep(
            "group contains user crew boss --group-domain shop --user-domain shop",
            .says("boss not in group")
        ),
        IdentityStep("user list --group crew", .lists("Name", has: ["ann"], hasNot: ["boss"])),
        IdentityStep("group list --user ann --user-domain shop", .lists("Name", has: ["crew"])),
        IdentityStep("group set crew --domain shop --name team --description plays"),
        IdentityStep(
            "group show team --domain shop",
            .shows(["name": "team", "description": "plays"])
        ),
        IdentityStep("group list --domain shop --long", .lists("Description", has: ["plays"])),
    ]

    private static let roles = [
        IdentityStep(
            "role create helper --description helps",
            .shows(["name": "helper"]),
            save: "helper"
        ),
        IdentityStep("role create helper", .refused("409")),
        IdentityStep("role create helper --or-show", .shows(["name": "helper"])),
        IdentityStep("role create local --domain shop", .shows(["name": "local"])),
        IdentityStep(
            "role list",
            .lists("Name", has: ["admin", "reader", "helper"], hasNot: ["local"])
        ),
        IdentityStep("role list --domain shop", .lists("Name", has: ["local"], hasNot: ["admin"])),
        IdentityStep("role set helper --name aide --description aids"),
        IdentityStep("role show aide", .shows(["name": "aide", "description": "aids"])),
        IdentityStep("role set admin --name root", .refused("immutable")),
        IdentityStep(
            "implied role list",
            .lists("Implied Role Name", has: ["manager", "member", "reader"])
        ),
        IdentityStep("implied role create aide --implied-role reader"),
        IdentityStep("implied role list", .lists("Prior Role Name", has: ["aide"])),
        IdentityStep(
            "role add member --user ann --user-domain shop --project web --project-domain shop"
        ),
        IdentityStep(
            "role add aide --group team --group-domain shop --project web --project-domain shop"
        ),
        IdentityStep("role add reader --group team --group-domain shop --domain shop --inherited"),
        IdentityStep("role add admin --user boss --user-domain shop --domain shop"),
        IdentityStep("role add reader --user boss --user-domain shop --system all"),
        IdentityStep(
            "role assignment list --system all --names",
            .lists("User", has: ["admin@Default", "boss@shop"])
        ),
        IdentityStep("role remove reader --user boss --user-domain shop --system all"),
        IdentityStep(
            "role assignment list --user ann --user-domain shop --names",
            .lists("Role", has: ["member"], hasNot: ["aide"])
        ),
        IdentityStep(
            "role assignment list --user ann --user-domain shop --effective --names --project web --project-domain shop",
            .lists("Role", has: ["member", "reader", "aide"], hasNot: ["admin"])
        ),
        IdentityStep(
            "role assignment list --group team --group-domain shop --inherited --names",
            .lists("Domain", has: ["shop"])
        ),
        IdentityStep(
            "role assignment list --role admin --domain shop --names",
            .lists("User", has: ["boss@shop"])
        ),
        IdentityStep("user list --project web", .lists("Name", has: ["ann"], hasNot: ["boss"])),
        IdentityStep(
            "project list --user {ann.id}",
            .lists("Name", has: ["web", "basket"], hasNot: ["admin"])
        ),
        IdentityStep(
            "role remove reader --group team --group-domain shop --domain shop --inherited"
        ),
        IdentityStep(
            "role remove reader --group team --group-domain shop --domain shop --inherited",
            .done
        ),
        IdentityStep("implied role delete aide --implied-role reader"),
        IdentityStep("implied role delete admin --implied-role manager", .refused("403")),
    ]

    private static let scopes = [
        IdentityStep("token issue", .shows(["domain_id": "{shop.id}"]), as: "boss"),
        IdentityStep(
            "user list",
            .lists("Name", has: ["ann", "boss"], hasNot: ["admin"]),
            as: "boss"
        ),
        IdentityStep("project list", .lists("Name", has: ["web"], hasNot: ["admin"]), as: "boss"),
        IdentityStep("domain list", .lists("Name", has: ["shop"], hasNot: ["Default"]), as: "boss"),
        IdentityStep(
            "user create eve --password secret",
            .shows(["domain_id": "{shop.id}"]),
            as: "boss"
        ),
        IdentityStep("role add member --user eve --project web", as: "boss"),
        IdentityStep(
            "role assignment list --names",
            .lists("User", has: ["eve@shop"], hasNot: ["admin@Default"]),
            as: "boss"
        ),
        IdentityStep("domain create mine", .refused("403"), as: "boss"),
        IdentityStep("service create x", .refused("403"), as: "boss"),
        IdentityStep("user show admin", .refused("admin"), as: "boss"),
        IdentityStep("baremetal node list", .refused("domain"), as: "boss"),
        IdentityStep("user list", .refused("403"), as: "ann"),
        IdentityStep("project list", .lists("Name", has: ["web"], hasNot: ["admin"]), as: "ann"),
        IdentityStep("user show {ann.id}", .shows(["name": "ann"]), as: "ann"),
        IdentityStep(
            "user password set --original-password wrong --password other",
            .refused("401"),
            as: "ann"
        ),
        IdentityStep("user password set --original-password secret --password other", as: "ann"),
        IdentityStep("token issue", .refused("401"), as: "ann"),
        IdentityStep("user set ann --domain shop --password secret"),
    ]

    private static let catalog = [
        IdentityStep("region create north --description up", .shows(["region": "north"])),
        IdentityStep("region create north", .refused("409")),
        IdentityStep(
            "region create attic --parent-region north",
            .shows(["parent_region": "north"])
        ),
        IdentityStep("region set attic --description dusty"),
        IdentityStep("region show attic", .shows(["description": "dusty"])),
        IdentityStep("region list", .lists("Region", has: ["RegionOne", "north", "attic"])),
        IdentityStep(
            "region list --parent-region north",
            .lists("Region", has: ["attic"], hasNot: ["north"])
        ),
        IdentityStep(
            "service create compute --name nova --description vms",
            .shows(["type": "compute", "enabled": "true"])
        ),
        IdentityStep("service set nova --description machines --disable"),
        IdentityStep("service show nova", .shows(["description": "machines", "enabled": "false"])),
        IdentityStep("service set compute --enable"),
        IdentityStep("service list --long", .lists("Name", has: ["nova", "keystone", "glance"])),
        IdentityStep("service delete keystone", .refused("the controller's own")),
        IdentityStep(
            "endpoint create nova public 'http://nova.example/$(project_id)s' --region north",
            .shows(["interface": "public", "service_type": "compute", "region": "north"]),
            save: "nova"
        ),
        IdentityStep("endpoint set {nova.id} --url http://nova2.example --interface internal"),
        IdentityStep(
            "endpoint show {nova.id}",
            .shows(["url": "http://nova2.example", "interface": "internal"])
        ),
        IdentityStep(
            "endpoint list --service nova --region north",
            .lists("Interface", has: ["internal"])
        ),
        IdentityStep(
            "endpoint list --interface public",
            .lists("Service Name", has: ["ironic"], hasNot: ["nova"])
        ),
        IdentityStep("endpoint add project {nova.id} web --project-domain shop"),
        IdentityStep(
            "endpoint list --project web --project-domain shop",
            .lists("Service Name", has: ["nova"], hasNot: ["glance"])
        ),
        IdentityStep("endpoint list --endpoint {nova.id}", .lists("Name", has: ["web"])),
        IdentityStep("endpoint remove project {nova.id} web --project-domain shop"),
        IdentityStep("catalog show compute", .shows(["name": "nova"])),
        IdentityStep("region delete north", .refused("403")),
        IdentityStep("endpoint delete {nova.id}"),
        IdentityStep("endpoint delete keystone-public", .refused("the controller's own")),
        IdentityStep("service delete nova"), IdentityStep("region delete attic north"),
    ]

    /// Signs in with the application credential that was made before.
    private static let robot =
        "--os-application-credential-id {ci0.ID} --os-application-credential-secret {ci0.Secret}"

    private static let credentials = [
        IdentityStep(
            #"application credential create ci --role member --description robot --expiration 2100-01-01T00:00:00 --access-rules '[{"method":"GET","path":"/v1/nodes","service":"baremetal"}]'"#,
            .shows(["Name": "ci", "Unrestricted": "false", "Description": "robot"]),
            as: "ann",
            save: "ci0"
        ),
        IdentityStep("application credential create ci", .refused("409"), as: "ann"),
        IdentityStep(
            "application credential create free --secret open --unrestricted",
            .shows(["Secret": "open"]),
            as: "ann"
        ),
        IdentityStep(
            "application credential list",
            .lists("Name", has: ["ci", "free"]),
            as: "ann"
        ),
        IdentityStep(
            "application credential list --user ann --user-domain shop",
            .lists("Name", has: ["ci"])
        ),
        IdentityStep(
            "application credential show ci",
            .shows(["Name": "ci", "Project ID": "{web.id}"]),
            as: "ann"
        ),
        IdentityStep(
            "access rule list",
            .lists("Path", has: ["/v1/nodes"]),
            as: "ann",
            save: "rule"
        ),
        IdentityStep(
            "access rule show {rule.ID}",
            .shows(["Method": "GET", "Service": "baremetal"]),
            as: "ann"
        ),
        IdentityStep("access rule delete {rule.ID}", .refused("access rules failed"), as: "ann"),
        IdentityStep("\(robot) token issue", .done, as: "app"),
        IdentityStep("\(robot) baremetal node list", .done, as: "app"),
        IdentityStep("\(robot) image list", .refused("access rule"), as: "app"),
        IdentityStep(
            "--os-application-credential-id {ci0.ID} --os-application-credential-secret wrong token issue",
            .refused("401"),
            as: "app"
        ),
        IdentityStep("application credential delete ci free", .done, as: "ann"),
        IdentityStep("access rule delete {rule.ID}", .done, as: "ann"),
    ]

    private static let removal = [
        IdentityStep("role delete aide"), IdentityStep("role delete local --domain shop"),
        IdentityStep("role delete reader", .refused("built in")),
        IdentityStep("group delete team --domain shop"),
        IdentityStep("user delete ann eve --domain shop"),
        IdentityStep("token issue", .refused("401"), as: "ann"),
        IdentityStep("project delete basket web --domain shop"),
        IdentityStep("domain set shop --disable"),
        IdentityStep("token issue", .refused("401"), as: "boss"),
        IdentityStep("domain delete shop"),
        IdentityStep("user list", .lists("Name", has: ["admin"], hasNot: ["boss"])),
    ]

    private static let federation = [
        IdentityStep("federation project list", .lists("Name", has: ["admin"], hasNot: ["web"])),
        IdentityStep("federation domain list", .lists("Name", has: [])),
    ]

    /// One command of each family that README.md says is not offered.
    private static let notOffered =
        [
            "credential list", "ec2 credentials list", "endpoint group list",
            "federation protocol list --identity-provider x", "identity provider list",
            "limit list", "mapping list", "policy list", "registered limit list",
            "service provider list", "trust list",
        ].map { IdentityStep($0, .refused("404")) }
        + [
            "consumer list", "request token authorize --request-key k --role member",
            "access token create --consumer-key k --consumer-secret s --request-key k --request-secret s --verifier v",
        ].map { IdentityStep($0, .refused("oauthlib")) }
}

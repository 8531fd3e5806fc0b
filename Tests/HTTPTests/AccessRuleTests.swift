import HTTP
import Testing

@Suite struct AccessRuleTests {
    @Test(arguments: [
        ("baremetal", "/v1/nodes", "GET", "/v1/nodes", true),
        ("baremetal", "/v1/nodes", "POST", "/v1/nodes", false),
        ("baremetal", "/v1/nodes", "GET", "/v1/nodes/n1", false),
        ("baremetal", "/v1/nodes/*", "GET", "/v1/nodes/n1", true),
        ("baremetal", "/v1/nodes/*", "GET", "/v1/nodes/", false),
        ("baremetal", "/v1/nodes/*", "GET", "/v1/nodes/n1/states", false),
        ("baremetal", "/v1/nodes/{id}/states", "GET", "/v1/nodes/n1/states", true),
        ("baremetal", "/v1/nodes/{id}/states", "GET", "/v1/nodes/n1/x/states", false),
        ("baremetal", "/v1/**", "GET", "/v1/nodes/n1/states", true),
        ("baremetal", "**", "GET", "/v1/nodes", true),
        ("baremetal", "**", "GET", "/image/v2/images", false),
        ("baremetal", "**", "GET", "/identity/v3/users", false),
        ("image", "/v2/images", "GET", "/image/v2/images", true),
        ("image", "/image/v2/images", "GET", "/image/v2/images", true),
        ("image", "/v2/images", "GET", "/v2/images", false),
        ("image", "/v2/*.*/x", "GET", "/image/v2/a.b/x", true),
        ("image", "/v2/{broken", "GET", "/image/v2/{broken", true),
        ("image", "", "GET", "/image/v2", false),
        ("compute", "**", "GET", "/v1/nodes", false),
    ])
    func `a rule lets through what it names`(
        service: String,
        pattern: String,
        method: String,
        path: String,
        isAdmitted: Bool
    ) {
        let rule = AccessRule(service: service, method: "GET", path: pattern)
        #expect(rule.admits(method, path) == isAdmitted)
    }

    @Test func `a pattern of stars takes no long time`() {
        let pattern = String(repeating: "*a", count: 60)
        let path = "/" + String(repeating: "a", count: 4000)
        let rule = AccessRule(service: "baremetal", method: "GET", path: pattern)
        #expect(!rule.admits("GET", path + "b"))
    }
}

@Suite struct AuditSubjectTests {
    @Test(arguments: [
        ("POST", "/v1/nodes", "create", "baremetal/nodes", ""),
        ("PUT", "/v1/nodes/n1/states/provision", "update/states", "baremetal/nodes", "n1"),
        ("POST", "/v1/nodes/n1/vifs", "update/vifs", "baremetal/nodes", "n1"),
        ("DELETE", "/v1/nodes/n1", "delete", "baremetal/nodes", "n1"),
        ("DELETE", "/v1/nodes/n1/maintenance", "delete/maintenance", "baremetal/nodes", "n1"),
        ("PATCH", "/image/v2/images/i1", "update", "image/images", "i1"),
        ("POST", "/identity/v3/auth/tokens", "authenticate", "identity/tokens", ""),
        ("DELETE", "/identity/v3/auth/tokens", "delete", "identity/tokens", ""),
        ("GET", "/identity/v3/users/u1", "read", "identity/users", "u1"),
        ("PUT", "/identity/v3/OS-EP-FILTER/projects/p", "update", "identity/projects", "p"),
        ("PUT", "/dashboard/login", "update", "baremetal/dashboard", "login"),
        ("POST", "/", "create", "baremetal/", ""),
    ])
    func `a call is an action on a target`(
        method: String,
        path: String,
        action: String,
        type: String,
        id: String
    ) {
        let subject = AuditSubject(method: method, path: path)
        #expect(subject == AuditSubject(action: action, targetType: type, targetID: id))
        #expect(AuditSubject(method: method, path: path, noted: "x").targetID == "x")
    }
}

import Basics
import CommandLine
import Testing

@Suite struct CloudTests {
    private let text = """
        clouds:
          rdo:
            auth:
              auth_url: https://192.0.2.1:6385/identity/
              username: admin
              password: "geheim"
              project_name: admin
            cacert: /etc/rdo/tls/ca.pem
          empty:
            auth:
              auth_url: https://192.0.2.1:6385
        """

    @Test func `an entry is read and its address completed`() throws {
        let cloud = try Cloud(yaml: text, name: "rdo", path: "clouds.yaml")
        #expect(cloud.authURL == "https://192.0.2.1:6385/identity/v3")
        #expect(cloud.base == "https://192.0.2.1:6385")
        #expect(cloud.password == Secret("geheim"))
        #expect(cloud.authorityFile == "/etc/rdo/tls/ca.pem")
        #expect(cloud.verifies)
    }

    @Test func `a cloud that is not there is named together with those that are`() {
        let fault = #expect(throws: Fault.self) {
            try Cloud(yaml: text, name: "prod", path: "clouds.yaml")
        }
        #expect(fault?.message.contains("“prod” in clouds.yaml: it holds empty, rdo") == true)
    }

    @Test func `a missing field is named`() {
        let fault = #expect(throws: Fault.self) {
            try Cloud(yaml: text, name: "empty", path: "clouds.yaml")
        }
        #expect(
            fault?.message == "cannot use cloud “empty” of clouds.yaml: auth.username is missing"
        )
    }

    @Test(arguments: ["", "clouds: []", "- a", "clouds: {rdo: 1}", "\t"])
    func `what is no clouds file is refused`(text: String) {
        #expect(throws: Fault.self) { try Cloud(yaml: text, name: "rdo", path: "clouds.yaml") }
    }

    @Test(arguments: [
        (#"{"error_message": "{\"faultstring\": \"cannot do it\"}"}"#, "cannot do it"),
        (
            #"{"error_message": {"faultcode": "Client", "faultstring": "cannot do it"}}"#,
            "cannot do it"
        ),
        (
            #"{"error": {"code": 401, "message": "who are you", "title": "Unauthorized"}}"#,
            "who are you"
        ),
        (#"{"message": "plain"}"#, "plain"),
    ])
    func `every service's error has a sentence`(answer: String, sentence: String) throws {
        #expect(try decode(answer).errorMessage == sentence)
    }
}

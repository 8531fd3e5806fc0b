import CommandLine
import Testing

@Suite struct NodeTaskTests {
    private func node(_ state: String, error: String? = nil) -> NodeView {
        var node = NodeView(["uuid": "1", "name": "c0", "provision_state": .text(state)])
        node.lastError = error
        return node
    }

    @Test func `a new node is managed, inspected and provided`() {
        var task = NodeTask(node("enroll"), steps: [.manage, .inspect, .provide])
        #expect(task.advance(node("enroll")) == .ask("manage"))
        #expect(task.advance(node("verifying")) == .wait)
        #expect(task.advance(node("manageable")) == .ask("inspect"))
        #expect(task.advance(node("inspecting")) == .wait)
        #expect(task.advance(node("inspect wait")) == .wait)
        #expect(task.advance(node("manageable")) == .ask("provide"))
        #expect(task.advance(node("cleaning")) == .wait)
        #expect(task.advance(node("available")) == .done)
        #expect(task.isDone)
    }

    @Test(arguments: [
        ("enroll", "cannot manage node c0: the BMC refuses the password"),
        ("inspect failed", "cannot manage node c0: the BMC refuses the password"),
    ])
    func `a step that ends elsewhere has failed with the node's own error`(
        state: String,
        message: String
    ) {
        var task = NodeTask(node("enroll"), steps: [.manage])
        #expect(task.advance(node("enroll")) == .ask("manage"))
        #expect(
            task.advance(node(state, error: "the BMC refuses the password")) == .failed(message)
        )
        #expect(!task.isDone)
    }

    @Test func `an error that is a whole sentence is not wrapped in another`() {
        var task = NodeTask(node("enroll"), steps: [.manage])
        #expect(task.advance(node("enroll")) == .ask("manage"))
        let error = "cannot manage node c0: its BMC does not answer"
        #expect(task.advance(node("enroll", error: error)) == .failed(error))
    }

    @Test func `a node that is further on skips what is done`() {
        var managed = NodeTask(node("manageable"), steps: [.manage, .inspect])
        #expect(managed.advance(node("manageable")) == .ask("inspect"))
        var available = NodeTask(node("available"), steps: [.manage, .inspect, .provide])
        #expect(available.advance(node("available")) == .done)
        var active = NodeTask(node("active"), steps: [.deploy])
        #expect(active.advance(node("active")) == .done)
    }

    @Test func `work that somebody else began is waited for`() {
        var task = NodeTask(node("deploying"), steps: [.deploy])
        #expect(task.advance(node("deploying")) == .wait)
        #expect(task.advance(node("wait call-back")) == .wait)
        #expect(task.advance(node("active")) == .done)
    }
}

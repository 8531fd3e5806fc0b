package import Boot
import Protocol

/// What the configuration says about this area.
package struct BaremetalSettings: Sendable {
    package var budgets = NodeBudgets()
    /// Whether `provide` and undeploy clean the disks, unless the node says otherwise.
    package var automatedClean = true
    /// Other turns of cleaning steps than their own, by `interface.step`; 0 leaves one out.
    package var cleanPriorities: [String: Int] = [:]
    /// Whether machines that nobody registered get the ramdisk and become nodes in state `enroll`.
    package var isDiscoveryOpen = false
    /// Whether a machine without registered ports is recognised by the BMC address that it tells itself.
    package var trustsFirstBoot = false
    /// Where agents fetch images: `https://192.0.2.1:6385`.
    package var imageURL: String
    /// Where BMCs fetch boot images; the boot files' own address.
    package var bootURL: String
    /// What boot fragments and config drives tell about the controller.
    package var controller: BootFragment.Controller
    /// This host's name, as the API shows it for the conductor.
    package var hostName: String
    /// Where BMCs are told to send their events: our API's public address; `nil` tells none.
    package var eventsURL: String?
    /// Whether a BMC's user gets another password when its node is verified for the first time.
    package var rotatesCredentials = false
    /// How often the power state of idle nodes is read; zero never.
    package var powerPoll: Duration = .seconds(60)
    /// How many nodes are worked on at a time, by the kind of work; the others wait for their turn.
    package var work = WorkLimits()
    /// Nodes that are looked at at the same time.
    ///
    /// One that waits for its BMC takes a task and some kilobytes, no thread; the calls themselves are bounded by
    /// the drivers. A bound that a rack of silent BMCs can fill would stop the work on all others.
    package var workersMax = 10_000

    package init(imageURL: String, controller: BootFragment.Controller, hostName: String) {
        self.imageURL = imageURL
        bootURL = "http://\(controller.address):8088"
        self.controller = controller
        self.hostName = hostName
    }
}

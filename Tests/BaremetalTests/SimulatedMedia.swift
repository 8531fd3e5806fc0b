import Basics
import Power

@testable import Baremetal

extension SimulatedWorld: MediaControl {
    func media(of bmc: BMC) async throws -> [VirtualMedium] { [] }

    func insert(_ image: String, into kind: VirtualMedium.Kind, of bmc: BMC) async throws {
        let id = try reach(bmc)
        edit(id) { machine in
            machine.log.append("insert \(kind.rawValue)")
            machine.medium = image
        }
    }

    func eject(_ kinds: [VirtualMedium.Kind]?, of bmc: BMC) async throws {
        let id = try reach(bmc)
        edit(id) { machine in
            machine.log.append("eject")
            machine.medium = nil
        }
    }

    /// The part of an image's address that only the BMC was told.
    static func capability(of image: String) -> Secret {
        let parts = image.split(separator: "/")
        return Secret(parts.count == 6 ? String(parts[4]) : "")
    }
}

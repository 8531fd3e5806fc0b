import Basics
import Power

@testable import Baremetal

extension SimulatedWorld: MediaControl {
    func media(of bmc: BMC) async throws -> [VirtualMedium] {
        let image = machine(try reach(bmc))?.medium
        return [
            VirtualMedium(
                id: "1",
                types: ["CD"],
                image: image,
                isInserted: image != nil,
                isWriteProtected: true,
                connectedVia: nil
            )
        ]
    }

    func insert(_ image: String, into kind: VirtualMedium.Kind, of bmc: BMC) async throws {
        let id = try reach(bmc)
        guard machine(id)?.keepsMedia != true else {
            throw PowerFault(.refused, "cannot attach media: it cannot read \(image) (x)")
        }
        edit(id) { machine in
            machine.log.append("insert \(kind.rawValue)")
            machine.medium = image
        }
    }

    func eject(_ kinds: [VirtualMedium.Kind]?, of bmc: BMC) async throws {
        let id = try reach(bmc)
        guard machine(id)?.keepsMedia != true else {
            throw PowerFault(.refused, "cannot detach media: it does not want to")
        }
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

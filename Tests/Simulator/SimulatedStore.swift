import Basics
import CFaultVFS

/// The controller's disk: SQLite's files in memory, which lose and tear what was not synced.
final class SimulatedStore: Sendable {
    private let store: Confined<OpaquePointer>
    private let mount = Confined<OpaquePointer?>(nil)

    init(seed: UInt64) {
        let status = rdo_fault_start()
        precondition(status == 0, "SQLite does not take another file system: error \(status)")
        guard let made = rdo_store_make(seed) else { preconditionFailure("out of memory") }
        store = Confined(made)
    }

    deinit {
        if let mount = mount.value { rdo_mount_release(mount) }
        rdo_store_release(store.value)
    }

    /// Grows with every write.
    var writes: UInt64 { rdo_store_writes(store.value) }

    /// The path of the database for a new run of the controller; the run before has no effect any more.
    func open() -> String {
        cut(keepsUnsynced: true)
        guard let next = rdo_mount_make(store.value) else { preconditionFailure("out of memory") }
        mount.value = next
        return "\(RDO_FAULT_ROOT)\(rdo_mount_number(next))/controller.sqlite"
    }

    /// Ends the present run: a crash of the program keeps what the kernel has, a power cut may not.
    func cut(keepsUnsynced: Bool) {
        guard let old = mount.value else { return }
        mount.value = nil
        rdo_mount_cut(old, keepsUnsynced ? RDO_CUT_PROGRAM : RDO_CUT_POWER)
        rdo_mount_release(old)
    }

    /// The next writes and syncs fail, once `after` have gone well.
    func fail(_ fault: rdo_fault, after: Int, count: Int) {
        rdo_store_fail(store.value, fault, UInt64(after), UInt64(count))
    }

    func heal() { rdo_store_fail(store.value, RDO_FAULT_NONE, 0, 0) }

    /// Begins with the files of another store.
    func copy(of other: SimulatedStore) { rdo_store_copy(other.store.value, store.value) }
}

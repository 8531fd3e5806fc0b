/// Seeds that failed once; each stays, with what it found.
enum KeptSeeds {
    struct Kept {
        let seed: UInt64
        let history: String
    }

    private static let contested =
        "2026-11-25: a session whose key was contested was used for the next job, which waited in vain"
    private static let locked =
        "2026-11-25: a machine was switched on although it was locked while it was being switched off"
    private static let bootedAnew =
        "2026-11-25: a machine that booted anew by itself before its command came was taken for one that had left the ramdisk"
    private static let olderRun =
        "2026-11-25: an agent busy with a step of an older run refused the next run's step, and the refusal was taken for one of the ramdisk that was just left"

    static let all = [
        Kept(seed: 1, history: contested), Kept(seed: 24, history: contested),
        Kept(seed: 60, history: contested), Kept(seed: 12, history: locked),
        Kept(seed: 49, history: locked), Kept(seed: 20_261_199, history: bootedAnew),
        Kept(seed: 26, history: olderRun),
    ]
}

/// Seeds that failed once; each stays, with what it found.
enum KeptSeeds {
    struct Kept {
        let seed: UInt64
        let history: String
    }

    static let all: [Kept] = []
}

import Glibc

/// The calling thread, as a number that differs between living threads.
func currentThread() -> Int { Int(bitPattern: UInt(pthread_self())) }

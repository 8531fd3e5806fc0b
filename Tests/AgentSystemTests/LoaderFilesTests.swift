import Foundation
import Glibc
import Testing

@testable import AgentSystem

struct `Boot loaders out of an image` {
    private let folder = FileManager.default.temporaryDirectory
        .appendingPathComponent("rdo-loaders-\(UInt64.random(in: 0...UInt64.max))").path

    private func make(_ path: String, _ text: String = "x") throws {
        let full = "\(folder)/\(path)"
        let parent = String(full[..<(full.lastIndex(of: "/") ?? full.endIndex)])
        try FileManager.default.createDirectory(
            atPath: parent,
            withIntermediateDirectories: true
        )
        try #require(FileManager.default.createFile(atPath: full, contents: Data(text.utf8)))
    }

    private func copy() throws -> [String] {
        try LoaderFiles.copy(from: "\(folder)/root", "boot/efi/EFI", to: "\(folder)/efi", "EFI")
    }

    private func clean() { try? FileManager.default.removeItem(atPath: folder) }

    @Test func `are copied with their directories`() throws {
        defer { clean() }
        try make("root/boot/efi/EFI/BOOT/BOOTX64.EFI", "loader")
        try make("root/boot/efi/EFI/debian/grub.cfg", "menu")
        try make("efi/old")
        #expect(try copy() == ["EFI/BOOT/BOOTX64.EFI", "EFI/debian/grub.cfg"])
        #expect(
            FileManager.default.contents(atPath: "\(folder)/efi/EFI/BOOT/BOOTX64.EFI")
                == Data("loader".utf8)
        )
        // Once more over what is there.
        #expect(try copy().count == 2)
    }

    @Test func `are none where the image has none`() throws {
        defer { clean() }
        try make("root/boot/vmlinuz")
        try make("efi/old")
        #expect(try copy() == [])
    }

    @Test func `never come from behind a link`() throws {
        defer { clean() }
        try make("root/boot/efi/EFI/BOOT/BOOTX64.EFI", "loader")
        try make("secret/key", "secret")
        try make("efi/old")
        let place = "\(folder)/root/boot/efi/EFI"
        try #require(symlink("\(folder)/secret", "\(place)/tree") == 0)
        try #require(symlink("\(folder)/secret/key", "\(place)/file") == 0)
        try #require(mkfifo("\(place)/pipe", 0o600) == 0)
        #expect(try copy() == ["EFI/BOOT/BOOTX64.EFI"])
        try FileManager.default.removeItem(atPath: "\(folder)/root/boot/efi")
        try #require(symlink("\(folder)/secret", "\(folder)/root/boot/efi") == 0)
        #expect(throws: SystemFailure.self) { try copy() }
    }

    @Test func `are refused when they are nested without end`() throws {
        defer { clean() }
        let deep = Array(repeating: "d", count: LoaderFiles.depthMax + 1).joined(separator: "/")
        try make("root/boot/efi/EFI/\(deep)/file")
        try make("efi/old")
        let refusal = #expect(throws: SystemFailure.self) { try copy() }
        #expect(refusal?.code == EFBIG)
    }
}

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

    private func menu(bytesMax: Int = 100) throws -> [UInt8]? {
        try LoaderFiles.read(
            "/boot/grub/grub.cfg",
            below: "\(folder)/root",
            bytesMax: bytesMax
        )
    }

    @Test func `come with a menu that is read as it is`() throws {
        defer { clean() }
        try make("root/boot/vmlinuz")
        #expect(try menu() == nil)
        try make("root/boot/grub/grub.cfg", "menuentry")
        #expect(try menu() == Array("menuentry".utf8))
        #expect(try menu(bytesMax: 9)?.count == 9)
        let refusal = #expect(throws: SystemFailure.self) { try menu(bytesMax: 8) }
        #expect(refusal?.code == EFBIG)
    }

    @Test func `have no menu behind a link or in a pipe`() throws {
        defer { clean() }
        try make("secret/grub.cfg", "secret")
        try make("root/boot/grub/other")
        let place = "\(folder)/root/boot/grub"
        try #require(symlink("\(folder)/secret/grub.cfg", "\(place)/grub.cfg") == 0)
        #expect(throws: SystemFailure.self) { try menu() }
        try #require(unlink("\(place)/grub.cfg") == 0)
        try #require(mkfifo("\(place)/grub.cfg", 0o600) == 0)
        let refusal = #expect(throws: SystemFailure.self) { try menu() }
        #expect(refusal?.code == EINVAL)
        for depth in ["boot/grub", "boot"] {
            try FileManager.default.removeItem(atPath: "\(folder)/root/\(depth)")
            let target = depth == "boot" ? folder : "\(folder)/secret"
            try #require(symlink(target, "\(folder)/root/\(depth)") == 0)
            #expect(throws: SystemFailure.self) { try menu() }
            try #require(unlink("\(folder)/root/\(depth)") == 0)
            try make("root/boot/x")
        }
    }

    @Test(arguments: [
        ("set default=0\nmenuentry x {\n}\n", false), ("insmod blscfg\n\tblscfg\n", true),
        ("blscfg", true), ("# blscfg\nset x=blscfg\n", false), ("blscfgs\n", false), ("", false),
    ])
    func `whose menu is Fedora's are told apart`(text: String, needs: Bool) {
        let menu = MenuFile(folder: "/boot/grub2", text: Array(text.utf8))
        #expect(menu == MenuFile(folder: "/boot/grub2", needsEntries: needs))
    }
}

// Copying a journal. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/copy_journal.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <span>
#include <vector>

#include <unistd.h>

#include <shmbus/result.h>

#include "cli/trouble.h"
#include "journal/superblock.h"

namespace shmbus::cli {

namespace {

using base::File;
using journal::Moved;
using journal::SuperblockFile;

constexpr std::size_t part_bytes = std::size_t{1} << 20;

void sync(const File& file, const std::string& name) {
    if (::fsync(file.fd()) != 0)
        throw SetupError{"syncing a copy", name, errno, "the copy is not to be used"};
}

[[nodiscard]] File made_directory(const std::string& to) {
    try {
        return base::make_private_directory(to);
    } catch (const SetupError& error) {
        throw trouble_of(error, exit_of_making(error));
    }
}

[[nodiscard]] File empty_directory(const std::string& to) {
    File directory = made_directory(to);
    for (const auto& entry : std::filesystem::directory_iterator(to))
        if (entry.path().filename() != "LOCK")
            throw Trouble(Exit::cannot_create,
                          to + " is not empty: " + entry.path().filename().string() + " is there",
                          "a journal or an older copy stands there, and nothing is overwritten",
                          "name another directory, or move that one away");
    return directory;
}

[[nodiscard]] std::uint64_t copy_file(StillJournal& journal, const std::string& name,
                                      const File& directory) {
    int error = 0;
    const auto from = journal.open(name, error);
    if (!from) throw SetupError{"copying a journal", name, error, "the copy is not to be used"};
    const File to = File::create_at(directory.fd(), name, 0600);
    std::vector<std::byte> part(part_bytes);
    std::uint64_t offset = 0;
    // Ends: with the file.
    for (;;) {
        const Moved got = from->read(part, offset);
        if (got.error != 0)
            throw SetupError{"copying a journal", name, got.error, "the copy is not to be used"};
        if (got.bytes == 0) break;
        to.write_all(std::span(part).first(got.bytes), offset);
        offset += got.bytes;
    }
    sync(to, name);
    return offset;
}

}  // namespace

Copied copy_journal(StillJournal& from, const std::string& to) {
    const File target = empty_directory(to);
    std::vector<std::string> names;
    static_cast<void>(from.list(names));
    // The superblock comes first in the list and last into the copy, when everything else is on
    // disk: whatever cuts this off leaves files that are no journal without it.
    std::rotate(names.begin(), names.begin() + 1, names.end());
    Copied copied;
    try {
        for (const std::string& name : names) {
            if (name == SuperblockFile::name) sync(target, to);
            copied.bytes += copy_file(from, name, target);
            ++copied.files;
        }
        sync(target, to);
    } catch (...) {
        // All of them are ours: there was nothing. The superblock first.
        for (auto name = names.rbegin(); name != names.rend(); ++name)
            static_cast<void>(::unlinkat(target.fd(), name->c_str(), 0));
        throw;
    }
    return copied;
}

}  // namespace shmbus::cli

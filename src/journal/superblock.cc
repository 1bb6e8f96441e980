// Reading and writing the two slots.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/superblock.h"

#include <cerrno>
#include <vector>

namespace shmbus::journal {

namespace {

constexpr const char* unfinished_name = "tmp-superblock";

[[nodiscard]] Block block_of(const Superblock& superblock) {
    return sealed_block(bytes_of(superblock), superblock.generation % 2);
}

void look_at(SuperblockFile::Found& found, std::span<const std::byte> block, std::size_t slot) {
    const auto superblock = read_as<Superblock>(block);
    if (!block_is_right(block, slot) || superblock.magic != Superblock::right_magic) {
        found.damaged[slot] = true;
    } else if (superblock.version != format_version) {
        found.wrong_version = superblock.version;
    } else if (!found.newest || superblock.generation > found.newest->generation) {
        found.newest = superblock;
    }
}

}  // namespace

SuperblockFile::Found SuperblockFile::read(Storage& storage) {
    Found found;
    const Storage::FilePointer file = storage.open(name, found.error);
    if (!file) {
        if (found.error == ENOENT) found.error = 0;
        return found;
    }
    found.there = true;
    std::vector<std::byte> both(2 * block_bytes);
    const Moved moved = file->read(both, 0);
    found.error = moved.error;
    if (moved.error != 0) return found;
    const std::span<const std::byte> all(both);
    for (std::size_t slot = 0; slot < 2; ++slot)
        look_at(found, all.subspan(slot * block_bytes, block_bytes), slot);
    return found;
}

int SuperblockFile::make(Storage& storage, Superblock first) {
    int error = 0;
    const Storage::FilePointer file = storage.create(unfinished_name, error);
    if (!file) return error;
    first.generation = 2;
    const Block block = block_of(first);
    // Both slots hold something from the start, so a slot of zeros is damage and no beginning.
    first.generation = 1;
    const Block older = block_of(first);
    if ((error = write_all(*file, block, 0)) != 0) return error;
    if ((error = write_all(*file, older, block_bytes)) != 0) return error;
    if ((error = file->sync()) != 0) return error;
    if ((error = storage.rename(unfinished_name, name)) != 0) return error;
    return storage.sync_directory();
}

int SuperblockFile::open(Storage& storage) {
    int error = 0;
    file_ = storage.open(name, error);
    return error;
}

int SuperblockFile::write(Superblock& next) {
    if (given_up_ || !file_) return EIO;
    ++next.generation;
    const Block block = block_of(next);
    int error = write_all(*file_, block, next.generation % 2 * block_bytes);
    if (error == 0) error = file_->sync();
    given_up_ = error != 0;
    return error;
}

}  // namespace shmbus::journal

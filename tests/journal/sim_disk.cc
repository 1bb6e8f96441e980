// The simulated disk.
//
// SPDX-License-Identifier: BSL-1.0
#include "sim_disk.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "journal/crc32c.h"

namespace shmbus::test {

using journal::Block;
using journal::block_bytes;

namespace {

const Block zeros{};

[[nodiscard]] const Block& bytes_of_block(const SimBlockPointer& block) {
    return block ? block->bytes : zeros;
}

[[nodiscard]] SimBlockPointer make_block(const Block& bytes) {
    if (journal::all_zero(bytes)) return nullptr;
    auto made = std::make_shared<SimBlock>();
    made->bytes = bytes;
    const std::span<const std::byte> all(made->bytes);
    made->hash = std::uint64_t{journal::crc32c(1, all)} << 32 ^
                 journal::crc32c(2, all.first(2048)) * 0x9E3779B97F4A7C15U;
    return made;
}

void grow(SimContent& content, std::uint64_t bytes) {
    content.bytes = std::max(content.bytes, bytes);
    content.blocks.resize((content.bytes + block_bytes - 1) / block_bytes);
}

void put(SimContent& content, std::uint64_t index, SimBlockPointer block) {
    if (content.blocks.size() <= index) grow(content, (index + 1) * block_bytes);
    content.blocks[index] = std::move(block);
}

[[nodiscard]] SimBlockPointer block_at(const SimContent& content, std::uint64_t index) {
    return index < content.blocks.size() ? content.blocks[index] : nullptr;
}

// Writes bytes [from, to) of `data` over what is durable, all or, torn, granules by chance.
void apply(SimContent& durable, const SimPending& write, std::uint64_t granule,
           std::mt19937_64& random) {
    if (write.grows_to != 0) {
        grow(durable, write.grows_to);
        return;
    }
    Block block = bytes_of_block(block_at(durable, write.block));
    // Torn by single bytes: one border, as a copy cut short; else each granule for itself.
    const std::uint64_t cut = granule == 1 ? write.from + random() % (write.to - write.from) : 0;
    const bool front = (random() & 1U) != 0;
    for (std::uint64_t at = write.from; at < write.to;) {
        const std::uint64_t next =
            granule == 0   ? write.to
            : granule == 1 ? (at < cut ? cut : write.to)
                           : std::min<std::uint64_t>(write.to, (at / granule + 1) * granule);
        const bool kept = granule == 0   ? true
                          : granule == 1 ? (at < cut) == front
                                         : (random() & 1U) != 0;
        if (kept) std::memcpy(block.data() + at, write.data->bytes.data() + at, next - at);
        at = next;
    }
    put(durable, write.block, make_block(block));
}

void misplace(SimInode& file, const SimPending& write, std::mt19937_64& random) {
    if (write.grows_to != 0 || file.durable.blocks.empty()) return;
    const std::uint64_t to = random() % file.durable.blocks.size();
    if (!file.durable.blocks[to] && !block_at(file.cached, to))
        file.durable.blocks[to] = write.data;
}

void apply(std::map<std::string, std::uint64_t>& names, const SimStep& step) {
    if (step.what == SimStep::What::link) names[step.name] = step.inode;
    if (step.what == SimStep::What::unlink) names.erase(step.name);
    if (step.what == SimStep::What::rename) {
        names.erase(step.name);
        names[step.to] = step.inode;
    }
}

void drop_nameless(DiskState& state) {
    std::erase_if(state.inodes, [&](const auto& entry) {
        return std::ranges::none_of(state.names,
                                    [&](const auto& name) { return name.second == entry.first; });
    });
}

}  // namespace

std::size_t DiskState::units() const {
    std::size_t count = steps.size();
    for (const auto& [number, file] : inodes) count += file.pending.size();
    return count;
}

std::uint64_t DiskState::hash() const {
    std::uint64_t sum = 14695981039346656037U;
    const auto mix = [&](std::uint64_t value) {
        sum = (sum ^ value) * 0x9E3779B97F4A7C15U;
        sum ^= sum >> 29;
    };
    for (const auto& [name, number] : durable_names) {
        mix(std::hash<std::string>{}(name));
        const SimContent& content = inodes.at(number).durable;
        mix(content.bytes);
        for (const SimBlockPointer& block : content.blocks) mix(block ? block->hash : 1);
    }
    return sum;
}

std::uint64_t DiskState::used_bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& [name, number] : names) bytes += inodes.at(number).cached.bytes;
    return bytes;
}

std::vector<std::byte> DiskState::content(const std::string& name) const {
    const SimContent& content = inodes.at(names.at(name)).cached;
    std::vector<std::byte> all;
    for (const SimBlockPointer& block : content.blocks) {
        const Block& bytes = bytes_of_block(block);
        all.insert(all.end(), bytes.begin(), bytes.end());
    }
    all.resize(content.bytes);
    return all;
}

void DiskState::set_content(const std::string& name, std::span<const std::byte> bytes) {
    if (!names.contains(name)) names[name] = durable_names[name] = next_inode++;
    SimInode& file = inodes[names[name]];
    file.cached = {};
    grow(file.cached, bytes.size());
    for (std::uint64_t at = 0; at < bytes.size(); at += block_bytes) {
        Block block{};
        std::memcpy(block.data(), bytes.data() + at, std::min(block_bytes, bytes.size() - at));
        file.cached.blocks[at / block_bytes] = make_block(block);
    }
    file.durable = file.cached;
}

void DiskState::flip_bit(const std::string& name, std::uint64_t bit) {
    SimInode& file = inodes.at(names.at(name));
    const std::uint64_t index = bit / 8 / block_bytes;
    Block block = bytes_of_block(file.cached.blocks.at(index));
    block[bit / 8 % block_bytes] ^= static_cast<std::byte>(1U << bit % 8);
    file.cached.blocks[index] = file.durable.blocks[index] = make_block(block);
}

DiskState after_crash(const DiskState& before, const Chooser& choose, std::mt19937_64& random) {
    DiskState after = before;
    std::size_t unit = 0;
    for (auto& [number, file] : after.inodes) {
        for (const SimPending& write : file.pending) {
            switch (choose(unit++, &write)) {
                case Fate::kept:
                    apply(file.durable, write, 0, random);
                    break;
                case Fate::lost:
                    break;
                case Fate::torn_1:
                    apply(file.durable, write, 1, random);
                    break;
                case Fate::torn_512:
                    apply(file.durable, write, 512, random);
                    break;
                case Fate::torn_block:
                    apply(file.durable, write, block_bytes, random);
                    break;
                case Fate::misplaced:
                    misplace(file, write, random);
                    break;
            }
        }
        file.pending.clear();
        file.cached = file.durable;
    }
    for (const SimStep& step : after.steps)
        if (choose(unit++, nullptr) == Fate::kept) apply(after.durable_names, step);
    after.steps.clear();
    after.names = after.durable_names;
    drop_nameless(after);
    return after;
}

DiskState after_random_crash(const DiskState& before, std::mt19937_64& random) {
    const std::uint64_t style = random();
    const std::uint64_t odds = style % 3 == 0 ? 90 : style % 3 == 1 ? 50 : 15;
    return after_crash(
        before,
        [&](std::size_t, const SimPending* write) {
            const std::uint64_t dice = random();
            if (dice % 100 < odds) return Fate::kept;
            if (write == nullptr || (style >> 8 & 1U) != 0) return Fate::lost;
            static constexpr std::array fates{Fate::lost, Fate::torn_1, Fate::torn_512,
                                              Fate::torn_block, Fate::misplaced};
            return fates[dice / 100 % fates.size()];
        },
        random);
}

DiskState after_kill(const DiskState& before) {
    DiskState after = before;
    // What is not synced stays so: the next crash may still take it away.
    return after;
}

class SimFile final : public journal::StorageFile {
public:
    SimFile(SimDisk& disk, std::uint64_t number) : disk_(disk), number_(number) {}

    journal::Moved read(std::span<std::byte> into, std::uint64_t offset) override {
        if (const int error = disk_.next_call(false)) return {0, error};
        const SimContent& content = disk_.inode(number_).cached;
        if (offset >= content.bytes) return {0, 0};
        const std::uint64_t bytes = std::min<std::uint64_t>(into.size(), content.bytes - offset);
        for (std::uint64_t done = 0; done < bytes;) {
            const std::uint64_t at = offset + done;
            const std::uint64_t part = std::min(bytes - done, block_bytes - at % block_bytes);
            const Block& block = bytes_of_block(content.blocks[at / block_bytes]);
            std::memcpy(into.data() + done, block.data() + at % block_bytes, part);
            done += part;
        }
        disk_.read_bytes += bytes;
        return {bytes, 0};
    }

    journal::Moved write(std::span<const std::byte> from, std::uint64_t offset) override {
        bool is_short = false;
        const int error = disk_.next_call(true, &is_short);
        // A write that fails may have written some of it, or none.
        if (error != 0) from = from.first(disk_.random() % (from.size() + 1));
        if (is_short && from.size() > 1) from = from.first(1 + disk_.random() % (from.size() - 1));
        SimInode& file = disk_.inode(number_);
        for (std::uint64_t done = 0; done < from.size();) {
            const std::uint64_t at = offset + done;
            const std::uint64_t part =
                std::min<std::uint64_t>(from.size() - done, block_bytes - at % block_bytes);
            disk_.write_block(file, at, from.subspan(done, part));
            done += part;
        }
        return {error != 0 ? 0 : from.size(), error};
    }

    // Half of what is begun is written only when it is waited for, from where the bytes are then.
    void start_write(std::span<const std::byte> from, std::uint64_t offset) override {
        ++disk_.begun_writes;
        if (offset / block_bytes % 2 == 0) journal::StorageFile::start_write(from, offset);
        else begun_.emplace_back(from, offset);
    }

    void start_zeros(std::uint64_t bytes, std::uint64_t offset) override {
        if (bytes % block_bytes != 0 || offset % block_bytes != 0)
            disk_.violations.push_back("zeros that are no whole blocks, so not past the cache");
        disk_.zeros += bytes;
        static constexpr std::array<std::byte, block_bytes> zeros{};
        for (std::uint64_t at = 0; at < bytes; at += block_bytes)
            begun_.emplace_back(std::span(zeros), offset + at);
    }

    int finish_writes() override {
        int error = journal::StorageFile::finish_writes();
        for (const auto& [from, offset] : std::exchange(begun_, {}))
            if (error == 0) error = write_all(*this, from, offset);
        return error;
    }

    int sync() override {
        if (!begun_.empty()) disk_.violations.push_back("a sync before what was begun was written");
        const int error = disk_.next_call(true);
        SimInode& file = disk_.inode(number_);
        if (error != 0) {
            // As a kernel does it: some of it may be on disk, all of it counts as clean, and the
            // next sync has nothing to do and succeeds.
            for (const SimPending& write : file.pending)
                if ((disk_.random() & 1U) != 0) apply(file.durable, write, 0, disk_.random);
        } else {
            for (const SimPending& write : file.pending)
                apply(file.durable, write, 0, disk_.random);
        }
        file.pending.clear();
        return error;
    }

    int allocate(std::uint64_t bytes) override {
        if (const int error = disk_.next_call(true)) return error;
        SimInode& file = disk_.inode(number_);
        const std::uint64_t more = bytes > file.cached.bytes ? bytes - file.cached.bytes : 0;
        if (disk_.state.used_bytes() + more > disk_.capacity_bytes) return ENOSPC;
        if (more != 0) {
            grow(file.cached, bytes);
            file.pending.push_back({0, 0, 0, bytes, nullptr});
        }
        return 0;
    }

    int forget_cached() override {
        if (const int error = disk_.next_call(false)) return error;
        SimInode& file = disk_.inode(number_);
        if (file.pending.empty()) file.cached = file.durable;
        return 0;
    }

    journal::Moved size() override {
        if (const int error = disk_.next_call(false)) return {0, error};
        return {disk_.inode(number_).cached.bytes, 0};
    }

private:
    SimDisk& disk_;
    std::uint64_t number_;
    std::vector<std::pair<std::span<const std::byte>, std::uint64_t>> begun_;
};

int SimDisk::next_call(bool changes, bool* is_short) {
    if (changes && before_change) before_change();
    ++calls;
    if (now_full_) {
        if (!fault.for_ever) now_full_ = false;
        if (changes) return ENOSPC;
    }
    if (fault.call == 0 || calls < fault.call || (calls > fault.call && !fault.for_ever)) return 0;
    if (fault.error != 0) return fault.error;
    if (is_short != nullptr) {
        *is_short = true;
        now_full_ = true;
        return 0;
    }
    return changes ? ENOSPC : 0;
}

void SimDisk::write_block(SimInode& file, std::uint64_t offset, std::span<const std::byte> from) {
    const std::uint64_t index = offset / block_bytes;
    const auto begin = static_cast<std::uint32_t>(offset % block_bytes);
    if (file.write_once && block_at(file.durable, index))
        violations.push_back("a write at offset " + std::to_string(offset) +
                             " overlaps a synced block");
    const std::uint64_t end = offset + from.size();
    if (end > file.cached.bytes) {
        grow(file.cached, end);
        file.pending.push_back({0, 0, 0, end, nullptr});
    }
    Block block = bytes_of_block(block_at(file.cached, index));
    std::memcpy(block.data() + begin, from.data(), from.size());
    const SimBlockPointer made = make_block(block);
    file.cached.blocks[index] = made;
    // Zeros over zeros change nothing that a crash could tell.
    if (!made && !block_at(file.durable, index) && file.pending.empty()) return;
    auto data = std::make_shared<SimBlock>();
    data->bytes = block;
    file.pending.push_back({index, begin, begin + static_cast<std::uint32_t>(from.size()), 0,
                            made ? made : SimBlockPointer(std::move(data))});
}

int SimDisk::lock() {
    if (const int error = next_call(false)) return error;
    return locked_by_other ? EWOULDBLOCK : 0;
}

journal::Storage::FilePointer SimDisk::open(const std::string& name, int& error) {
    error = next_call(false);
    if (error == 0 && !state.names.contains(name)) error = ENOENT;
    if (error != 0) return nullptr;
    return std::make_unique<SimFile>(*this, state.names.at(name));
}

journal::Storage::FilePointer SimDisk::create(const std::string& name, int& error) {
    error = next_call(true);
    if (error == 0 && state.names.contains(name)) error = EEXIST;
    if (error != 0) return nullptr;
    const std::uint64_t number = state.next_inode++;
    state.inodes[number].write_once =
        name.starts_with("seg-") || name.starts_with("tmp-seg") || name.starts_with("tmp-merge");
    state.names[name] = number;
    state.steps.push_back({SimStep::What::link, name, {}, number});
    return std::make_unique<SimFile>(*this, number);
}

int SimDisk::rename(const std::string& from, const std::string& to) {
    if (const int error = next_call(true)) return error;
    if (!state.names.contains(from)) return ENOENT;
    const std::uint64_t number = state.names.at(from);
    if (!inode(number).pending.empty() && from.starts_with("tmp-"))
        violations.push_back("renamed " + from + " before its content was synced");
    ++renamed[from];
    state.names.erase(from);
    state.names[to] = number;
    state.steps.push_back({SimStep::What::rename, from, to, number});
    return 0;
}

int SimDisk::unlink(const std::string& name) {
    if (const int error = next_call(true)) return error;
    if (!state.names.contains(name)) return ENOENT;
    state.names.erase(name);
    state.steps.push_back({SimStep::What::unlink, name, {}, 0});
    return 0;
}

int SimDisk::sync_directory() {
    if (const int error = next_call(true)) return error;
    state.durable_names = state.names;
    state.steps.clear();
    return 0;
}

int SimDisk::list(std::vector<std::string>& names) {
    if (const int error = next_call(false)) return error;
    names.clear();
    for (const auto& [name, number] : state.names) names.push_back(name);
    return 0;
}

}  // namespace shmbus::test

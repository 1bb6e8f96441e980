// The daemon's side of the directory.
//
// SPDX-License-Identifier: BSL-1.0
#include "directory/writer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <span>

#include <unistd.h>

#include <shmbus/result.h>

#include "base/clock.h"
#include "base/random.h"
#include "directory/boot.h"
#include "directory/check_rows.h"
#include "directory/reader.h"
#include "wire/names.h"

namespace shmbus::directory {
namespace {

constexpr const char* unfinished_name = "directory.new";

void store_words(std::byte* into, const void* from, std::size_t bytes) noexcept {
    auto* words = reinterpret_cast<std::uint64_t*>(into);
    for (std::size_t word = 0; word < bytes / sizeof(std::uint64_t); ++word) {
        std::uint64_t value = 0;
        std::memcpy(&value, static_cast<const std::byte*>(from) + word * sizeof(value),
                    sizeof(value));
        // relaxed: this copy is inactive; ACTIVE carries all of it to the readers.
        std::atomic_ref<std::uint64_t>(words[word]).store(value, std::memory_order_relaxed);
    }
}

void load_words(const std::byte* from, void* into, std::size_t bytes) noexcept {
    const auto* words = reinterpret_cast<const std::uint64_t*>(from);
    for (std::size_t word = 0; word < bytes / sizeof(std::uint64_t); ++word) {
        const std::uint64_t value = base::read_once(words[word]);
        std::memcpy(static_cast<std::byte*>(into) + word * sizeof(value), &value, sizeof(value));
    }
}

// Calls `use(rows, table)` for each of the six tables of an image.
template <class Image, class Use>
void for_each_table(Image& image, Use&& use) {
    std::apply(
        [&](auto&... rows) {
            (use(rows, std::remove_cvref_t<decltype(rows)>::value_type::table), ...);
        },
        image);
}

}  // namespace

DirectoryWriter DirectoryWriter::create(int bus_directory, const DirectorySpec& spec) {
    if (!sizes_are_sane(spec.rows))
        throw SetupError{"making the directory of a bus", base::path_of(bus_directory), EINVAL,
                         "table sizes are 2 to 1048576 rows, types at most 65536"};
    const Shape shape = shape_of(spec.rows);
    base::unlink_at(bus_directory, unfinished_name);
    base::File file =
        base::File::create_at(bus_directory, unfinished_name, spec.mode, spec.group);
    try {
        file.allocate(shape.file_bytes);
    } catch (...) {
        base::unlink_at(bus_directory, unfinished_name);
        throw;
    }
    const BootId boot = this_boot();
    Identity identity{};
    identity.magic = directory_magic;
    identity.major = layout_major;
    identity.minor = layout_minor;
    identity.bus_high = base::random_u64();
    identity.bus_low = base::random_u64();
    identity.boot_high = boot.high;
    identity.boot_low = boot.low;
    identity.rows = shape.rows;
    identity.copy_bytes = shape.copy_bytes;
    identity.file_bytes = shape.file_bytes;
    identity.created_ns = base::realtime_ns();
    identity.owner_uid = ::geteuid();
    DirectoryWriter made(std::move(file), identity);
    // Killed before the renaming: the next daemon finds no directory and starts over.
    base::rename_at(bus_directory, unfinished_name, wire::directory_file);
    return made;
}

DirectoryWriter::DirectoryWriter(base::File file, const Identity& identity)
    : file_(std::move(file)), identity_(identity), shape_(shape_of(identity.rows)) {
    map();
    for_each_table(image_,
                   [&](auto& rows, Table table) { rows.resize(shape_.rows_of(table)); });
    head_.used.fill(1);
    // Version 2 is the first: 0 means "no directory", and an even version names copy 0.
    version_ = 2;
    write_head(0);
    write_head(1);
    version_word().store(version_, std::memory_order_release);  // ACTIVE, as in commit()
    file_.write_all(std::as_bytes(std::span(&identity_, 1)), 0);
    // Last, in a call of its own: a file that says ready was filled before.
    identity_.ready = 1;
    file_.write_all(std::as_bytes(std::span(&identity_.ready, 1)), offsetof(Identity, ready));
}

DirectoryWriter::DirectoryWriter(base::File file) : file_(std::move(file)) {
    file_.require_regular();
    std::string text;
    if (read_identity(file_, identity_, text) != Trouble::none)
        throw SetupError{"taking up the directory of a bus: " + text, base::path_of(file_.fd()), 0,
                         "use the version of shmbus that made it; if no process uses this bus any "
                         "more, remove its directory"};
    shape_ = shape_of(identity_.rows);
    map();
    for_each_table(image_,
                   [&](auto& rows, Table table) { rows.resize(shape_.rows_of(table)); });
    read_active();
}

void DirectoryWriter::map() {
    mapping_ = base::Mapping(file_, {0, shape_.file_bytes}, base::Access::read_write);
}

// Whatever stands in the inactive copy, an unfinished change included, is overwritten.
void DirectoryWriter::read_active() {
    // relaxed: the daemon that stored this is gone, the lock that we hold came after its end.
    version_ = version_word().load(std::memory_order_relaxed);
    const std::size_t active = version_ & 1;
    const std::size_t inactive = active ^ 1;
    load_words(mapping_.data() + shape_.head_at(active), &head_, sizeof(head_));
    for_each_table(image_, [&](auto& rows, Table table) {
        using Row = typename std::remove_cvref_t<decltype(rows)>::value_type;
        for (std::uint32_t index = 0; index < rows.size(); ++index)
            load_words(mapping_.data() + shape_.row_at(active, table, index), &rows[index],
                       sizeof(Row));
    });
    const std::string wrong = version_ < 2 ? "it has no version" : what_is_wrong(*this, shape_);
    if (!wrong.empty())
        throw SetupError{"taking up the directory of a bus: " + wrong, base::path_of(file_.fd()),
                         0, "somebody wrote into it; stop the processes of this bus and remove its "
                            "directory"};
    write_head(inactive);
    for_each_table(image_, [&](auto& rows, Table table) {
        for (std::uint32_t index = 0; index < rows.size(); ++index)
            write_row(inactive, {table, index});
    });
}

void DirectoryWriter::write_row(std::size_t copy, Marked row) {
    for_each_table(image_, [&](auto& rows, Table table) {
        using Row = typename std::remove_cvref_t<decltype(rows)>::value_type;
        if (table != row.table) return;
        store_words(mapping_.data() + shape_.row_at(copy, table, row.index), &rows[row.index],
                    sizeof(Row));
    });
}

void DirectoryWriter::write_head(std::size_t copy) {
    store_words(mapping_.data() + shape_.head_at(copy), &head_, sizeof(head_));
}

void DirectoryWriter::mark(Table table, std::uint32_t index) {
    base::check(index > 0 && index < shape_.rows_of(table),
                "a row of the directory is in its table");
    marked_.push_back({table, index});
    if (notes_changes_) {
        make_room_for_notes(1);
        changes_.push_back({table, index});
    }
    std::uint32_t& used = head_.used[static_cast<std::size_t>(table)];
    used = std::max(used, index + 1);
}

// Nobody may ask for them for days, while the same rows change: where there is no place left each
// is kept once, so that there are at most about twice as many as rows.
void DirectoryWriter::make_room_for_notes(std::size_t more) {
    if (changes_.capacity() - changes_.size() >= more) return;
    std::sort(changes_.begin(), changes_.end());
    changes_.erase(std::unique(changes_.begin(), changes_.end()), changes_.end());
    changes_.reserve(2 * changes_.size() + more);
}

std::set<DirectoryWriter::Changed> DirectoryWriter::take_changes() {
    const std::set<Changed> all(changes_.begin(), changes_.end());
    notes_changes_ = true;
    changes_.clear();
    return all;
}

void DirectoryWriter::make_room_for(std::size_t changes) {
    marked_.reserve(marked_.size() + changes);
    make_room_for_notes(changes);
}

std::uint64_t DirectoryWriter::new_lane_id() {
    // Microseconds since 1970 stay below 2^52 until the year 2112. The clock may step back: the
    // number still grows by one.
    const std::uint64_t id = std::max(head_.next_lane_id, base::realtime_ns() / 1000);
    head_.next_lane_id = id + 1;
    head_changed_ = true;
    return id & ((std::uint64_t{1} << 52) - 1);
}

void DirectoryWriter::lane_ids_above(std::uint64_t known) noexcept {
    if (known < head_.next_lane_id) return;
    head_.next_lane_id = known + 1;
    head_changed_ = true;
}

void DirectoryWriter::commit(CommitStep step, void* argument) {
    if (!changed()) return;
    const auto tell = [&](int number) {
        if (step) step(number, argument);
    };
    std::sort(marked_.begin(), marked_.end());
    marked_.erase(std::unique(marked_.begin(), marked_.end()), marked_.end());
    tell(0);
    const std::size_t inactive = (version_ & 1) ^ 1;
    // UNCHANGED: behind the version that was stored last and in front of the first store into this
    // copy, which some reader may still be reading as the one before. Other end:
    // DirectoryReader::consistently.
    base::StdAtomics::fence(std::memory_order_release);
    for (const Marked& row : last_marked_) write_row(inactive, row);
    for (const Marked& row : marked_) write_row(inactive, row);
    tell(1);
    write_head(inactive);
    tell(2);
    ++version_;
    // ACTIVE: the copy is complete. Other end: DirectoryReader::version.
    version_word().store(version_, std::memory_order_release);
    tell(3);
    last_marked_ = std::move(marked_);
    marked_.clear();
    head_changed_ = false;
}

}  // namespace shmbus::directory

// The daemon's side of the directory: makes the file, changes it, never leaves it half changed.
//
// Used by the daemon's one thread. Changes are made to an image in private memory and marked;
// commit() brings the marked rows into the copy that nobody reads and then moves the version.
//
//   step of commit()                     killed right after it
//   1 rows of the last commit and of     readers stay on the active copy; the next daemon copies
//     this one into the inactive copy    the active copy over the inactive one: the change never
//   2 its head                           happened
//   3 version + 1                        the change happened
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/atomics.h"
#include "base/file.h"
#include "base/mapping.h"
#include "directory/layout.h"

namespace shmbus::directory {

struct DirectorySpec {
    TableSizes rows = default_sizes;
    mode_t mode = 0600;
    std::optional<gid_t> group;
};

// Called between the stores of commit(); the tests stop or kill there. Numbered as above, 0 before
// the first.
using CommitStep = void (*)(int step, void* argument);

class DirectoryWriter {
public:
    // Makes a new directory file under a temporary name and gives it its name when it is complete.
    // Replaces one that is there. Throws SetupError.
    static DirectoryWriter create(int bus_directory, const DirectorySpec& spec);
    // Takes up the file that an earlier daemon left: checks it, reads the active copy, repairs the
    // inactive one. Throws SetupError when it is not to be trusted; the text says why.
    explicit DirectoryWriter(base::File file);
    DirectoryWriter(DirectoryWriter&&) noexcept = default;

    [[nodiscard]] const Identity& identity() const noexcept { return identity_; }
    [[nodiscard]] const base::File& file() const noexcept { return file_; }
    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

    // All rows of a table, used or not; index 0 is never used.
    template <class Row>
    [[nodiscard]] const std::vector<Row>& rows() const noexcept {
        return std::get<std::vector<Row>>(image_);
    }
    // Rows ever used: no row from here on is anything but zero.
    template <class Row>
    [[nodiscard]] std::uint32_t used() const noexcept {
        return head_.used[static_cast<std::size_t>(Row::table)];
    }
    template <class Row>
    [[nodiscard]] const Row& row(std::uint32_t index) const noexcept {
        return rows<Row>()[index];
    }
    // For changing; the row is part of the next commit.
    template <class Row>
    [[nodiscard]] Row& change(std::uint32_t index) {
        mark(Row::table, index);
        return std::get<std::vector<Row>>(image_)[index];
    }
    // The lowest free row, or 0 when the table is full. It is taken by changing its state.
    template <class Row>
    [[nodiscard]] std::uint32_t free_row() const noexcept;
    // Empties a row; its generation, where it has one, stays for the next user.
    template <class Row>
    void clear(std::uint32_t index);
    template <class Row>
    [[nodiscard]] std::uint32_t live_rows() const noexcept;
    // Those ever used that `fits` is true of, in their order.
    template <class Row, class Fits>
    [[nodiscard]] std::vector<std::uint32_t> rows_that(Fits&& fits) const;

    // Never the same twice, on this host and bus, also after a restart; part of the next commit.
    [[nodiscard]] std::uint64_t new_lane_id();
    // None from here on is this one or lower; part of the next commit.
    void lane_ids_above(std::uint64_t known) noexcept;

    // See CopyHead; part of the next commit.
    [[nodiscard]] std::uint64_t again_to() const noexcept { return head_.again_to; }
    [[nodiscard]] bool is_kept() const noexcept { return head_.is_kept != 0; }
    void set_kept(std::uint64_t again_to) noexcept {
        head_.again_to = again_to;
        head_.is_kept = 1;
        head_changed_ = true;
    }

    // A row that was changed, of any table.
    struct Changed {
        Table table;
        std::uint32_t index;
        friend auto operator<=>(const Changed&, const Changed&) = default;
    };
    // The next so many changes cannot fail. Throws std::bad_alloc.
    void make_room_for(std::size_t changes);
    // All that were changed since the last call, each once; from the second call on.
    [[nodiscard]] std::set<Changed> take_changes();

    // Publishes all changes since the last commit in one step. Without changes it does nothing.
    void commit(CommitStep step = nullptr, void* argument = nullptr);
    [[nodiscard]] bool changed() const noexcept { return !marked_.empty() || head_changed_; }

private:
    using Version = base::StdAtomics::word<std::uint64_t>;
    using Marked = Changed;

    DirectoryWriter(base::File file, const Identity& identity);
    void map();
    void read_active();
    void write_row(std::size_t copy, Marked row);
    void write_head(std::size_t copy);
    void mark(Table table, std::uint32_t index);
    void make_room_for_notes(std::size_t more);
    [[nodiscard]] Version& version_word() const noexcept {
        return mapping_.at<Version>(version_at);
    }

    base::File file_;
    Identity identity_{};
    Shape shape_{};
    base::Mapping mapping_;
    CopyHead head_{};
    std::tuple<std::vector<ParticipantRow>, std::vector<EndpointRow>, std::vector<TypeRow>,
               std::vector<SubscriptionRow>, std::vector<PublicationRow>, std::vector<LaneRow>>
        image_;
    std::vector<Marked> marked_;       // since the last commit
    std::vector<Changed> changes_;
    bool notes_changes_ = false;
    std::vector<Marked> last_marked_;  // in the last commit: still missing in the inactive copy
    bool head_changed_ = false;
    std::uint64_t version_ = 0;
};

template <class Row>
std::uint32_t DirectoryWriter::free_row() const noexcept {
    const auto& table = rows<Row>();
    for (std::uint32_t index = 1; index < table.size(); ++index)
        if (table[index].state == RowState::free) return index;
    return 0;
}

template <class Row>
void DirectoryWriter::clear(std::uint32_t index) {
    Row empty{};
    if constexpr (requires { empty.generation; }) empty.generation = row<Row>(index).generation;
    change<Row>(index) = empty;
}

template <class Row>
std::uint32_t DirectoryWriter::live_rows() const noexcept {
    std::uint32_t count = 0;
    for (std::uint32_t index = 1; index < used<Row>(); ++index)
        count += row<Row>(index).state != RowState::free ? 1 : 0;
    return count;
}

template <class Row, class Fits>
std::vector<std::uint32_t> DirectoryWriter::rows_that(Fits&& fits) const {
    std::vector<std::uint32_t> found;
    for (std::uint32_t index = 1; index < used<Row>(); ++index)
        if (fits(row<Row>(index))) found.push_back(index);
    return found;
}

}  // namespace shmbus::directory

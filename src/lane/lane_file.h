// Making, opening and checking a lane's file; the parts that a writer or a reader maps of it.
//
// The daemon makes the files; writers get a descriptor from it, consumers open by name.
#pragma once

#include "base/fault_guard.h"
#include "base/file.h"
#include "base/mapping.h"
#include "lane/layout.h"

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include <shmbus/result.h>

namespace shmbus::lane {

// A lane or an inbox that another version made: sound, for all that this one can tell.
struct OtherLayout : SetupError {
    using SetupError::SetupError;
};

struct LaneSpec {
    std::uint64_t lane_id = 0;
    std::uint64_t capacity = 0;  // bytes, a power of two, at least 4096
    std::uint64_t writer = 0;
    std::uint64_t predecessor = 0;
    std::uint32_t endpoint = 0;
    std::uint32_t endpoint_generation = 0;
    std::uint32_t writer_uid = 0;
    mode_t mode = 0600;
    std::optional<gid_t> group;
};

// The name of a lane's file in the directory of lanes: 16 hexadecimal digits.
[[nodiscard]] std::string lane_file_name(std::uint64_t lane_id);

inline constexpr std::uint64_t least_capacity = 4096;
inline constexpr std::uint64_t most_capacity = std::uint64_t{1} << 32;
[[nodiscard]] constexpr bool is_lane_capacity(std::uint64_t bytes) noexcept {
    return bytes >= least_capacity && bytes <= most_capacity && (bytes & (bytes - 1)) == 0;
}

// Makes the file, its memory really allocated, `ready` stored last. Cut off before, a file that
// is not ready remains, which open() refuses and the daemon removes at its next start.
// Throws SetupError: the name is taken, no room in the file system, bad capacity.
[[nodiscard]] base::File create_lane_file(int lanes_directory, const LaneSpec& spec);

// Reads and checks the identity page: magic, version, readiness, that the file is a regular one
// of exactly the length that its capacity asks for. Throws SetupError saying what was found, of
// another version OtherLayout.
[[nodiscard]] LaneIdentity read_lane_identity(const base::File& file);

// Mapped parts of a lane and the flag that says that its file was cut short under us.
// Immovable inside: hold it by unique_ptr.
class LaneParts {
public:
    // onlooker: maps nothing for writing.
    enum class Side : std::uint8_t { writer, reader, onlooker };
    // Throws SetupError.
    LaneParts(const base::File& file, Side side);
    LaneParts(const LaneParts&) = delete;
    LaneParts& operator=(const LaneParts&) = delete;

    [[nodiscard]] const LaneIdentity& identity() const noexcept { return identity_; }
    [[nodiscard]] StdWriterPage& writer_page() const noexcept {
        return writer_.at<StdWriterPage>();
    }
    [[nodiscard]] StdReaderPage& reader_page() const noexcept {
        return reader_.at<StdReaderPage>();
    }
    // `capacity` bytes, and the same bytes once more behind them.
    [[nodiscard]] std::byte* data() const noexcept { return data_.data(); }
    // relaxed: a hint; whoever sees it stops using the lane.
    [[nodiscard]] bool lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

private:
    LaneIdentity identity_;
    std::atomic<bool> lost_{false};
    base::Mapping writer_;
    base::Mapping reader_;
    base::RingMapping data_;
    base::FaultGuard writer_guard_;
    base::FaultGuard reader_guard_;
    base::FaultGuard data_guard_;
};

// The daemon's question about a lane whose writer has left or died: is everything taken? Walks
// from the head over published records without mapping for writing; false as soon as one is found.
[[nodiscard]] bool is_drained(const LaneParts& parts) noexcept;

}  // namespace shmbus::lane

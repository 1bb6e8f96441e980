// Making, opening and checking a lane's file. See the header.
#include "lane/lane_file.h"

#include "base/random.h"
#include "lane/protocol.h"

#include <shmbus/result.h>

#include <cerrno>
#include <cstring>
#include <span>

namespace shmbus::lane {

namespace {

// A salt is at least 2^63, so that no control word is 0, and so far below 2^64 that none wraps.
std::uint64_t new_salt() {
    return (base::random_u64() >> 2) | std::uint64_t{1} << 63;
}

[[noreturn]] void refuse(const base::File& file, const std::string& what, std::string helps) {
    throw SetupError("opening a lane: " + what, base::path_of(file.fd()), EPROTO,
                     std::move(helps));
}

}  // namespace

std::string lane_file_name(std::uint64_t lane_id) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string name(16, '0');
    for (std::size_t i = 0; i < 16; ++i) name[15 - i] = digits[lane_id >> (4 * i) & 0xFU];
    return name;
}

base::File create_lane_file(int lanes_directory, const LaneSpec& spec) {
    const std::string name = lane_file_name(spec.lane_id);
    if (!is_lane_capacity(spec.capacity))
        throw SetupError("making a lane of " + std::to_string(spec.capacity) + " bytes", name,
                         EINVAL, "lane sizes are powers of two from 4096 to 2^32");
    base::File file = base::File::create_at(lanes_directory, name, spec.mode, spec.group);
    try {
        file.allocate(data_at + spec.capacity);
        LaneIdentity identity{};
        identity.magic = lane_magic;
        identity.major = layout_major;
        identity.minor = layout_minor;
        identity.lane_id = spec.lane_id;
        identity.salt = new_salt();
        identity.capacity = spec.capacity;
        identity.writer = spec.writer;
        identity.predecessor = spec.predecessor;
        identity.endpoint = spec.endpoint;
        identity.endpoint_generation = spec.endpoint_generation;
        identity.writer_uid = spec.writer_uid;
        file.write_all(std::as_bytes(std::span(&identity, 1)), 0);
        // Last, in a call of its own: a file that says ready was filled before.
        identity.ready = 1;
        file.write_all(std::as_bytes(std::span(&identity.ready, 1)),
                       offsetof(LaneIdentity, ready));
    } catch (...) {
        base::unlink_at(lanes_directory, name);
        throw;
    }
    return file;
}

LaneIdentity read_lane_identity(const base::File& file) {
    file.require_regular();
    LaneIdentity identity{};
    const std::size_t got = file.read_all(std::as_writable_bytes(std::span(&identity, 1)), 0);
    if (got < sizeof(identity)) {
        refuse(file, "the file has only " + std::to_string(got) + " bytes",
               "it was cut short; senders open a new one by themselves");
    }
    if (identity.magic != lane_magic || identity.ready != 1) {
        refuse(file, "this is no finished lane file",
               "it was left half made by a death or is not ours; the daemon removes it");
    }
    if (identity.major != layout_major) {
        throw OtherLayout("opening a lane: its layout is version " +
                              std::to_string(identity.major) + ", this program's is " +
                              std::to_string(layout_major),
                          base::path_of(file.fd()), EPROTO,
                          "use programs built with one version of shmbus on one bus");
    }
    if (!is_lane_capacity(identity.capacity) || identity.salt >> 63 != 1 ||
        file.facts().bytes != data_at + identity.capacity) {
        refuse(file,
               "its length is " + std::to_string(file.facts().bytes) +
                   " bytes and its capacity says " + std::to_string(identity.capacity),
               "it was cut short or written to by a stranger; senders open a new one");
    }
    return identity;
}

LaneParts::LaneParts(const base::File& file, Side side)
    : identity_(read_lane_identity(file)),
      writer_(file, {writer_page_at, page_bytes},
              side == Side::writer ? base::Access::read_write : base::Access::read_only),
      reader_(file, {reader_page_at, page_bytes},
              side == Side::reader ? base::Access::read_write : base::Access::read_only),
      data_(file, {data_at, identity_.capacity},
            side == Side::writer ? base::Access::read_write : base::Access::read_only),
      writer_guard_(writer_.data(), page_bytes, &lost_),
      reader_guard_(reader_.data(), page_bytes, &lost_),
      data_guard_(data_.data(), 2 * data_.bytes(), &lost_) {}

bool is_drained(const LaneParts& parts) noexcept {
    // HELD: the position that was taken last. Other end: take.
    const std::uint64_t head = parts.reader_page().head.load(std::memory_order_acquire);
    const std::uint64_t position = position_in(head);
    const std::uint64_t offset = position * wire::unit_bytes & (parts.identity().capacity - 1);
    const auto& control =
        *reinterpret_cast<const base::StdWord<std::uint64_t>*>(parts.data() + offset);
    return !is_published(control, parts.identity().salt, position);
}

}  // namespace shmbus::lane

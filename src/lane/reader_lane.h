// One lane as a consumer sees it: where the next record is, and whether it may be believed.
#pragma once

#include "lane/lane_file.h"
#include "lane/protocol.h"

namespace shmbus::lane {

class ReaderLane {
public:
    // Throws SetupError.
    explicit ReaderLane(const base::File& file)
        : parts_(file, LaneParts::Side::reader),
          head_(&parts_.reader_page().head),
          data_(parts_.data()),
          mask_(parts_.identity().capacity - 1),
          lane_id_(parts_.identity().lane_id),
          salt_(parts_.identity().salt),
          capacity_units_(parts_.identity().capacity / wire::unit_bytes) {}
    ReaderLane(const ReaderLane&) = delete;
    ReaderLane& operator=(const ReaderLane&) = delete;

    [[nodiscard]] const LaneIdentity& identity() const noexcept { return parts_.identity(); }
    [[nodiscard]] std::uint64_t lane_id() const noexcept { return lane_id_; }
    [[nodiscard]] const LaneParts& parts() const noexcept { return parts_; }
    [[nodiscard, gnu::always_inline]] base::StdWord<std::uint64_t>& head() const noexcept {
        return *head_;
    }
    [[nodiscard, gnu::always_inline]] const std::byte* record(
        std::uint64_t position) const noexcept {
        return data_ + (position * wire::unit_bytes & mask_);
    }
    [[nodiscard, gnu::always_inline]] bool published(std::uint64_t position) const noexcept {
        return published_at(record(position), position);
    }
    // The meta word of a published record, read once.
    [[nodiscard, gnu::always_inline]] std::uint64_t meta(std::uint64_t position) const noexcept {
        return meta_at(record(position));
    }
    // The same for those who know where the record stands.
    [[nodiscard, gnu::always_inline]] bool published_at(const std::byte* record,
                                                        std::uint64_t position) const noexcept {
        return is_published(*reinterpret_cast<const Word*>(record), salt_, position);
    }
    [[nodiscard, gnu::always_inline]] static std::uint64_t meta_at(
        const std::byte* record) noexcept {
        // Carried by PUBLISHED; acquire, so that a look at the head after this is one after this.
        return reinterpret_cast<const Word*>(record)[1].load(std::memory_order_acquire);
    }
    // A record longer than any writer may make is a stranger's.
    [[nodiscard]] std::uint64_t most_units() const noexcept { return capacity_units_ / 4; }
    [[nodiscard]] std::uint64_t capacity_units() const noexcept { return capacity_units_; }

    bool is_warm = false;
    std::uint32_t quiet = 0;            // takes in a row that found nothing
    bool poisoned = false;              // in our eyes: never read again
    std::uint64_t room_given = 0;       // position up to which we last gave room back

private:
    using Word = base::StdWord<std::uint64_t>;
    LaneParts parts_;
    Word* head_;
    const std::byte* data_;
    std::uint64_t mask_;
    std::uint64_t lane_id_;
    std::uint64_t salt_;
    std::uint64_t capacity_units_;
};

}  // namespace shmbus::lane

// The limit of a stream: a ring in shared memory with one writer, one reader and nothing else.
//
// No acknowledgement, no second reader, no survivor of a death: what is left is what the hardware
// charges for moving the bytes. Records stand on 64-byte borders; the word at their front says
// "published" and is valid for one position only, so the reader needs no tail. The reader says how
// far it is only now and then, the writer looks only when it believes the ring full.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "copy.h"
#include "pages.h"
#include "ticks.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <sched.h>

namespace shmbus::bench {

// What suits depends on the cores' distance; see bare_limits.cc, which measures it.
struct RingTuning {
    // How long the reader stays away once nothing is found: a reader at the writer's heels pays
    // for every line twice.
    unsigned empty_pauses = 50;
    unsigned full_pauses = 20;
};

//   a record
//   0          8           16                 32
//   +----------+-----------+------------------+---------------------- -
//   | word     | bytes     | unused           | payload, to the next 64
//   +----------+-----------+------------------+---------------------- -
struct BareRecord {
    std::atomic<std::uint64_t> word;
    std::uint64_t payload_bytes;
    std::uint64_t unused[2];
};
static_assert(sizeof(BareRecord) == 32);

class BareRing {
public:
    static constexpr std::size_t unit_bytes = 64;

    // `capacity_bytes` is a power of two of at least one page.
    explicit BareRing(std::size_t capacity_bytes)
        : data_(capacity_bytes, Pages::Shape::mirrored), capacity_(capacity_bytes / unit_bytes) {}

    // Where the records are. Both ends keep a copy, which the compiler can hold in registers.
    struct View {
        std::byte* data;
        std::uint64_t mask;

        BareRecord& record_at(std::uint64_t position) const noexcept {
            return *reinterpret_cast<BareRecord*>(data + (position & mask) * unit_bytes);
        }
    };

    View view() const noexcept { return {data_.data(), capacity_ - 1}; }

    static std::byte* payload_of(BareRecord& record) noexcept {
        return reinterpret_cast<std::byte*>(&record) + sizeof(BareRecord);
    }

    static std::uint64_t units_for(std::size_t payload_bytes) noexcept {
        return (sizeof(BareRecord) + payload_bytes + unit_bytes - 1) / unit_bytes;
    }

    // Never zero, so that an untouched ring is an empty one.
    static std::uint64_t word_for(std::uint64_t position) noexcept {
        return position ^ 0x5a17'0000'0000'0000;
    }

    std::uint64_t capacity() const noexcept { return capacity_; }
    std::atomic<std::uint64_t>& read_up_to() const noexcept { return *read_up_to_; }

private:
    Pages data_;
    Shared<std::atomic<std::uint64_t>> read_up_to_;  // a page of its own
    std::uint64_t capacity_;
};

class BareWriter {
public:
    BareWriter(const BareRing& ring, RingTuning tuning) noexcept
        : ring_(ring), view_(ring.view()), tuning_(tuning) {}

    // Copies the payload in and publishes it; false if there is no room.
    bool try_write(const void* payload, std::size_t payload_bytes) noexcept {
        const std::uint64_t units = BareRing::units_for(payload_bytes);
        if (tail_ + units - read_up_to_ > ring_.capacity()) [[unlikely]] {
            // Edge BARE_ROOM: the reader is done with what we are about to overwrite.
            read_up_to_ = ring_.read_up_to().load(std::memory_order_acquire);
            if (tail_ + units - read_up_to_ > ring_.capacity()) return false;
        }
        BareRecord& record = view_.record_at(tail_);
        record.payload_bytes = payload_bytes;
        copy(BareRing::payload_of(record), static_cast<const std::byte*>(payload), payload_bytes);
        // Edge BARE_PUBLISHED: the payload is the reader's from here on.
        record.word.store(BareRing::word_for(tail_), std::memory_order_release);
        tail_ += units;
        return true;
    }

    // Writes, waiting on its core while there is no room.
    void write(const void* payload, std::size_t payload_bytes) noexcept {
        while (!try_write(payload, payload_bytes)) relax(tuning_.full_pauses);
    }

    // The same for writers that share a core: one that waits gives it away.
    void write_yielding(const void* payload, std::size_t payload_bytes) noexcept {
        while (!try_write(payload, payload_bytes)) ::sched_yield();
    }

private:
    const BareRing& ring_;
    BareRing::View view_;
    RingTuning tuning_;
    std::uint64_t tail_ = 0;
    std::uint64_t read_up_to_ = 0;
};

class BareReader {
public:
    explicit BareReader(const BareRing& ring) noexcept
        : ring_(ring), view_(ring.view()), told_every_(ring.capacity() / 16) {}

    // Hands the payload of up to `limit` records to `take`; returns how many there were. All have
    // `payload_bytes`; whatever says otherwise ends the reading, and so the measurement.
    //
    // The size is a constant on purpose: a position computed from a size that was read from the
    // record is known only when its line has come, and lines come one after the other; a constant
    // one lets the core fetch several at once, which is worth a factor of two.
    template <std::size_t payload_bytes, typename Take>
    std::size_t poll(std::size_t limit, Take&& take) noexcept {
        const BareRing::View view = view_;
        std::uint64_t head = head_;
        std::size_t found = 0;
        while (found < limit) {
            BareRecord& record = view.record_at(head);
            // Edge BARE_PUBLISHED: the writer filled the payload before it stored this word.
            if (record.word.load(std::memory_order_acquire) != BareRing::word_for(head)) break;
            if (record.payload_bytes != payload_bytes) [[unlikely]] break;
            take(BareRing::payload_of(record));
            head += BareRing::units_for(payload_bytes);
            ++found;
            if (head - told_ >= told_every_) tell(head);
        }
        if (found == 0 && told_ != head) tell(head);
        head_ = head;
        return found;
    }

private:
    void tell(std::uint64_t head) noexcept {
        // Edge BARE_ROOM: we have read what the writer may now overwrite.
        ring_.read_up_to().store(head, std::memory_order_release);
        told_ = head;
    }

    const BareRing& ring_;
    BareRing::View view_;
    std::uint64_t head_ = 0;
    std::uint64_t told_ = 0;
    std::uint64_t told_every_;
};

}  // namespace shmbus::bench

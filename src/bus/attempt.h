// One message's attempts: call its handler, again when it throws, and give it up in the end.
//
// Used by whichever thread handles: the polling one, or one of a pool. What has happened so far
// stands in the record's progress word in the hand, in shared memory, so that an adopter goes on
// from there:
//
//   starts + 1      before the handler      killed behind it: the adopter counts a death
//   starts - 1      after it                killed before: the message is delivered again, marked
//   failures + 1    it threw, and not       kept until the message is done
//                   for want of the daemon
//   done + 1        handled, dropped, or given to the error endpoint
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/endpoint.h>

#include <array>
#include <string_view>

#include "bus/delivery.h"
#include "bus/dispatcher.h"
#include "bus/meter.h"
#include "bus/tally.h"
#include "lane/consumer.h"

namespace shmbus::detail {

// Counters of one handling thread. A cache line each: other threads write theirs.
struct alignas(64) Tallies {
    Tally handled;
    Tally threw;
    Tally redelivered;
    Tally failed;
    Tally dropped;
};

struct AttemptRules {
    std::uint32_t most_throws = 5;
    std::uint32_t most_deaths = 3;
    std::string_view error_endpoint;
};
// Behind the name of an error endpoint: where goes what fails there as well.
inline constexpr std::string_view unhandled_suffix = ".unhandled";

// What an exception or a refused output said.
struct Complaint {
    std::array<char, 76> text{};
    std::uint16_t bytes = 0;
    void say(std::string_view sentence) noexcept;
};

// A record whose next message has to wait: for room in the error endpoint, or for the daemon.
struct Kept {
    std::uint32_t index = 0;
    Complaint complaint;
    bool needs_daemon = false;
};

// A record in a batch, and where its payload may be read.
struct Record {
    lane::Batch* batch = nullptr;
    std::uint32_t index = 0;
    std::uint64_t lane_id = 0;
    bool must_copy = false;
    [[nodiscard]] lane::Entry entry() const noexcept { return batch->entry(index); }
};

class Attempt {
public:
    Attempt(Delivery& delivery, const Dispatcher& dispatcher, Tallies& counters,
            Meter& meter_of_all) noexcept
        : tallies(counters), meter(meter_of_all), delivery_(delivery), dispatcher_(dispatcher) {}

    enum class End : std::uint8_t {
        done,    // all messages of the record are
        limit,   // as many as were asked for
        kept,    // one is to be given up, but the error endpoint cannot take it now; or its
                 // handler failed for want of the daemon (Delivery::daemon_missed)
        foreign, // no writer makes such a record
    };
    // Handles up to `limit` messages of the record, from the first that is not done; adds to
    // `handled` how many. `row` is that of the record's type.
    End go_on(const Record& record, const DispatchRow& row, const AttemptRules& rules,
              std::size_t limit, std::size_t& handled);

    // Why the message that was kept is given up: found again after a pause.
    Complaint complaint;
    // Of a record that has just ended as kept.
    [[nodiscard]] Kept kept(std::uint32_t index) const noexcept {
        return {index, complaint, delivery_.daemon_missed()};
    }
    [[nodiscard]] const std::string& why_kept() const noexcept { return delivery_.why_kept(); }
    Tallies& tallies;  // of this thread
    Meter& meter;      // of the endpoint
    Sampler sampler;   // of this thread

    // Counts it in both, of a message in this record.
    void count(Tally& tally, lane::Counter counter, const lane::Entry& entry) noexcept {
        tally.add(1);
        meter.count_trouble(counter, wire::Meta::of(entry.meta).type);
    }

    // The messages in one record.
    struct Items {
        const std::byte* first = nullptr;
        std::size_t bytes = 0;  // of each
        std::uint32_t count = 1;
    };
    // Where they stand; in a private copy when the record's writer is not trusted to leave them
    // alone meanwhile. False: no writer makes such a record.
    [[nodiscard]] bool find_items(const Record& record, Items& into);

private:
    enum class Settled : std::uint8_t { handled, given_up, kept };
    FailureReason call_once(const DispatchRow& row, std::span<const std::byte> payload,
                            bool& threw) noexcept;
    FailureReason call_all(const DispatchRow& row, std::span<const std::byte> payload);
    Settled settle(const Record& record, const DispatchRow& row, const AttemptRules& rules,
                   const InHand& in_hand, lane::Progress& progress);
    // A call that is timed when it is due, and always when the message tells when it was sent.
    FailureReason call_timed(const DispatchRow& row, std::span<const std::byte> payload,
                             bool& threw) noexcept;
    Settled give_up(const Record& record, const AttemptRules& rules, FailureReason reason,
                    const lane::Progress& progress);

    Delivery& delivery_;
    const Dispatcher& dispatcher_;
    std::vector<std::byte> scratch_;
};

}  // namespace shmbus::detail

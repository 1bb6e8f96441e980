// What a recovery found, for the log, for the operator and for the tests.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "journal/format.h"
#include "journal/ranges.h"

namespace shmbus::journal {

// Bytes that are not what was written. A torn tail is no damage: what stands there was never
// acknowledged.
struct Damage {
    bool loses = false;  // acknowledged records are gone; an operator has to accept that
    bool accepted = false;
    std::string file;
    std::uint64_t offset = 0;
    Range lsns;                            // that are lost; first > last: none
    std::vector<std::uint64_t> endpoints;  // whose messages are known to be among them
    bool endpoints_are_all = false;        // and nobody else's
    std::string what;

    // One sentence.
    [[nodiscard]] std::string text() const;
};

// A record as it stands in a segment: the segment's number, the record's offset, and the payload,
// which is valid during the call.
using OnRecord = std::function<void(std::uint64_t segment, std::uint64_t offset,
                                    const RecordHead& head, std::span<const std::byte> payload)>;

struct Report {
    bool is_new = false;     // there was no journal
    bool was_clean = false;  // closed in peace
    Place end;               // behind the last record
    std::uint64_t batches = 0;
    std::uint64_t records = 0;
    std::uint64_t torn_bytes = 0;  // of a batch that never came to its end
    std::vector<Damage> damages;

    // Acknowledged records are gone and nobody has accepted that.
    [[nodiscard]] bool stops_service() const noexcept;
    // One line per damage.
    [[nodiscard]] std::string text() const;
};

}  // namespace shmbus::journal

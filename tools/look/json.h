// A snapshot as JSON, as `tools/look/schemas/shmbus.top-1.json` describes it.
//
// A field keeps its name and meaning as long as the number of the schema stays. What cannot be
// known is null. Times are nanoseconds, sizes bytes, rates per second.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "look/rates.h"
#include "look/snapshot.h"

namespace shmbus::look {

inline constexpr const char* top_schema = "shmbus.top/1";

// Rates are null when `rates.seconds` is 0, as of a first look.
[[nodiscard]] nlohmann::ordered_json json_of(const Snapshot& snapshot, const Rates& rates);

struct JsonShape {
    int indent = -1;          // in one line
    bool has_totals = false;  // with the sums of all endpoints' totals in "totals"
};
// As text. Bytes of a scribbled name that are no characters are replaced.
[[nodiscard]] std::string json_text(const Snapshot& snapshot, const Rates& rates,
                                    JsonShape shape = {});

}  // namespace shmbus::look

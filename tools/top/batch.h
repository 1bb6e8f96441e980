// What shm-top prints when it shows no screen: text, CSV.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>

#include "top/model.h"

namespace shmbus::top {

struct BatchText {
    std::size_t columns = 120;
    bool is_quiet = false;  // rows alone
    bool has_time = false;  // each line begins with the time
};
// One look, as lines; no colours, no cursor.
[[nodiscard]] std::string batch_text(const Model& model, const BatchText& wanted);

// With `has_totals` all that is counted, behind what is there without.
[[nodiscard]] std::string csv_head(bool has_totals = false);
// One row per endpoint; what is not known is empty.
[[nodiscard]] std::string csv_rows(const Model& model, bool has_totals = false);

}  // namespace shmbus::top

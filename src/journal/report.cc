// What a recovery found, in words.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/report.h"

#include <algorithm>

#include "wire/names.h"

namespace shmbus::journal {

std::string Damage::text() const {
    std::string text = file + ", offset " + std::to_string(offset) + ": " + what;
    if (!loses) return text + "; nothing is lost by it";
    text += lsns.first == lsns.last
                ? "; lost: LSN " + std::to_string(lsns.first)
                : "; lost: LSN " + std::to_string(lsns.first) + " to " + std::to_string(lsns.last);
    if (!endpoints.empty()) {
        text += endpoints_are_all ? ", of endpoints" : ", of endpoints at least";
        for (const std::uint64_t endpoint : endpoints)
            (text += " ") += wire::numbered_file(endpoint);
    }
    return text + (accepted ? "; accepted" : "");
}

bool Report::stops_service() const noexcept {
    return std::ranges::any_of(
        damages, [](const Damage& damage) { return damage.loses && !damage.accepted; });
}

std::string Report::text() const {
    std::string text;
    for (const Damage& damage : damages) text += damage.text() + "\n";
    return text;
}

}  // namespace shmbus::journal

// Names as people type them and read them. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/names.h"

#include <algorithm>

#include "base/name.h"
#include "cli/trouble.h"

namespace shmbus::cli {

const char* name_of(directory::EndpointKind kind) noexcept {
    switch (kind) {
        case directory::EndpointKind::ordinary: return "ordinary";
        case directory::EndpointKind::reply_inbox: return "reply inbox";
        case directory::EndpointKind::error: return "error";
        case directory::EndpointKind::journal: return "journal";
    }
    return "?";
}

const char* name_of(WhenFull policy) noexcept {
    switch (policy) {
        case WhenFull::refuse: return "refuse";
        case WhenFull::wait: return "wait";
        case WhenFull::drop_newest: return "drop_newest";
        case WhenFull::drop_oldest: return "drop_oldest";
    }
    return "?";
}

const char* name_of_kind(std::uint8_t kind) noexcept {
    const char* const names[] = {"?", "command", "event", "reply"};
    return names[kind < 4 ? kind : 0];
}

const char* one_of_kind(std::uint8_t kind) noexcept {
    const char* const names[] = {"a type of no kind", "a command", "an event", "a reply"};
    return names[kind < 4 ? kind : 0];
}

const char* name_of_durability(std::uint8_t value) noexcept {
    const char* const names[] = {"?", "transient", "durable"};
    return names[value < 3 ? value : 0];
}

void require_name(const std::string& name) {
    if (base::is_valid_name(name)) return;
    throw Trouble(Exit::usage, "\"" + name + "\" is no name for an endpoint or a type", "",
                  "a name has 1 to 200 characters of A-Z a-z 0-9 . _ -");
}

namespace {

// Damerau's distance without the last refinement: insert, remove, replace.
[[nodiscard]] std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t at = 0; at <= b.size(); ++at) row[at] = at;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t corner = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1] ? 1 : 0)});
            corner = above;
        }
    }
    return row.back();
}

}  // namespace

std::string nearest(std::string_view wanted, const std::vector<std::string>& names) {
    std::string best;
    // One mistake in three letters is still the same word.
    std::size_t least = wanted.size() / 3 + 1;
    for (const std::string& name : names) {
        const std::size_t far = distance(wanted, name);
        if (far >= least) continue;
        least = far;
        best = name;
    }
    return best;
}

}  // namespace shmbus::cli

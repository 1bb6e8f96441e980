// One message a line, as the user wants it: for tail, peek, get and failed.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <optional>

#include "cli/body.h"
#include "cli/seen.h"

namespace shmbus::cli {

struct ShowLine {
    bool hex = false;
    bool raw = false;
};
void add_show_options(const Command& command, ShowLine& line);

//     table   id  type  bytes  payload      --json  one object a line
//     --hex   the payload's digits          --raw   the payload's bytes, nothing between
class Show {
public:
    // CSV has its heading also when no message follows.
    Show(const Common& common, const OpenBus& bus, const ShowLine& line);
    void operator()(const SeenMessage& message);
    // One that was taken out; again, after whoever took it before died and may have shown it.
    void taken(const SeenMessage& message, bool is_again);
    // So many came and were overwritten before they could be shown.
    void missed(std::uint64_t count) const;

private:
    void print_json(const Json& message) const;

    const Common& common_;
    const OpenBus& bus_;
    const ShowLine& line_;
    std::optional<Rows> rows_;  // as CSV
    bool has_heading_ = false;
};

}  // namespace shmbus::cli

// What the commands of `shmbus failed` share: which messages are meant, and what is done to them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cli/body.h"
#include "cli/member.h"
#include "cli/pick.h"
#include "cli/seen.h"

namespace shmbus::cli {

struct FailedLine {
    std::string endpoint = "error";
    std::string group_by;
    std::string id;  // its beginning is enough
    std::string type;
    std::string reason;
    bool all = false;
    bool dry_run = false;
    std::string to;
    std::string file;
    BodyLine body;
};

class WantedFailed {
public:
    // Throws Trouble when the type is not known. `line` outlives this.
    WantedFailed(const OpenBus& bus, const FailedLine& line);
    [[nodiscard]] bool operator()(const SeenMessage& message) const;

private:
    const FailedLine& line_;
    std::uint32_t type_ = 0;
};

// Those that are meant, as long as `visit` answers true.
void for_each_failed(const OpenBus& bus, const FailedLine& line,
                     const std::function<bool(const SeenMessage&)>& visit);
[[noreturn]] void no_such_failed(const FailedLine& line);

// How long this process's lanes have to be: all of them are meant, or see pick.h.
[[nodiscard]] std::size_t lane_bytes_for(const Common& common, const FailedLine& line);
// Throws Trouble when it was not said which are meant, or there are none.
[[nodiscard]] Meant require_some(const Common& common, const FailedLine& line, const char* verb);

// failed_change.cc
void retry_failed(const Common& common, const FailedLine& line);
void edit_failed(const Common& common, const FailedLine& line);
// failed_archive.cc
void archive_failed(const Common& common, const FailedLine& line);

}  // namespace shmbus::cli

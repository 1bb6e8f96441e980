// What the commands of `shmbus failed` share: which messages are meant, and what is done to them.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cli/body.h"
#include "cli/member.h"
#include "cli/seen.h"
#include "cli/stock.h"

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

// How long this process's lanes have to be to take all that take_failed() may send behind the
// others. 0: as long as usual.
[[nodiscard]] std::size_t lane_bytes_for(const Common& common, const FailedLine& line);
// Takes out those that are meant, at most so many: `each` is done to each of them, then `batch`,
// before they are let go.
using EachFailed = std::function<void(const SeenMessage& message, bool is_again)>;
struct TakenFailed {
    std::uint64_t count = 0;
    // See Stock::is_cut.
    bool is_cut = false;
};
[[nodiscard]] TakenFailed take_failed(Member& member, const FailedLine& line, std::uint64_t most,
                                      const EachFailed& each, const std::function<void()>& batch);
// Throws Trouble when it was not said which are meant, or there are none.
[[nodiscard]] Meant require_some(const Common& common, const FailedLine& line, const char* verb);
// Behind what was said of those that were done; throws Trouble when some were not reached.
void require_all(const TakenFailed& taken, const FailedLine& line);

// failed_change.cc
void retry_failed(const Common& common, const FailedLine& line);
void edit_failed(const Common& common, const FailedLine& line);
// failed_archive.cc
void archive_failed(const Common& common, const FailedLine& line);

}  // namespace shmbus::cli

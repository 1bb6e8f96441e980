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

constexpr const char* usual_error_endpoint = "error";

struct FailedLine {
    std::string endpoint = usual_error_endpoint;
    std::string group_by;
    std::string id;  // its beginning is enough
    std::string type;
    std::string reason;
    std::string failed_at;  // an endpoint as failed ls names it
    bool all = false;
    bool dry_run = false;
    double rate = 0;
    std::string to;
    std::string file;  // an archive
    BodyLine body;
};

// By its JSON, in an archive or not.
[[nodiscard]] bool is_meant(const FailedLine& line, const Json& message);

class WantedFailed {
public:
    // Throws Trouble when the type is not known. Both outlive this.
    WantedFailed(const OpenBus& bus, const FailedLine& line);
    [[nodiscard]] bool operator()(const SeenMessage& message) const;

private:
    const OpenBus& bus_;
    const FailedLine& line_;
    std::uint32_t type_ = 0;
};

// Nobody has opened the endpoint where failed ones go unless another is named: none have failed.
[[nodiscard]] bool has_none_yet(const OpenBus& bus, const FailedLine& line);
// Those that are meant, as long as `visit` answers true.
void for_each_failed(const OpenBus& bus, const FailedLine& line,
                     const std::function<bool(const SeenMessage&)>& visit);
// Besides, in no lane yet.
[[nodiscard]] std::uint64_t failed_on_disk(const OpenBus& bus, const FailedLine& line);
[[noreturn]] void no_such_failed(const FailedLine& line);

// How many more there are, to people beside the others.
void say_what_is_on_disk(std::uint64_t count);

// How long this process's lanes have to be: all of them are meant, or see pick.h.
[[nodiscard]] std::size_t lane_bytes_for(const Common& common, const FailedLine& line);
// Throws Trouble when it was not said which are meant.
void require_selection(const FailedLine& line, const char* verb);
// Also when there are none.
[[nodiscard]] Meant require_some(const Common& common, const FailedLine& line, const char* verb);

// What a dry run found.
void tell_of_meant(const Common& common, const char* command, const Meant& meant,
                   const std::string& would);

// failed_retry.cc
void retry_failed(const Common& common, const FailedLine& line);
// failed_edit.cc
void edit_failed(const Common& common, const FailedLine& line);
// failed_archive.cc
void archive_failed(const Common& common, const FailedLine& line);
void export_failed(const Common& common, const FailedLine& line);
// failed_restore.cc
void restore_failed(const Common& common, const FailedLine& line);

}  // namespace shmbus::cli

// Failed messages in a file, one JSON object a line, as they were taken out of their endpoint.
//
// Only ever appended to. What became of a message stands in a line behind it, so that whoever is
// killed leaves a file that says how far it came:
//
//     {"schema":"shmbus.message/1", "id":I, ...}    it is here
//     {"schema":"shmbus.restoring/1", "id":I, "failed_at":E, ...}  from here on it may be on a bus
//     {"schema":"shmbus.restored/1", "id":I, "failed_at":E}        it is there, and here no more
//
// An event that failed at several endpoints is here once for each, under one id. The last message
// line of an id and an endpoint counts; a line that was cut off is none.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "cli/listing.h"

namespace shmbus::cli {

struct Archived {
    Json message;
    // The number of the restore that was begun and not finished.
    std::optional<std::uint64_t> begun;
};

class Archive {
public:
    // Makes it if it is not there; "-": standard output. One process at a time writes to a file:
    // the next one waits, a few seconds. Throws Trouble.
    explicit Archive(const std::string& path);
    void add(const Json& line);
    // In the file, and as far as it is one on a disk, on it.
    void write();

private:
    std::string path_;
    base::File file_;
    std::string lines_;
};

// The endpoint where it failed; empty: it came here without failing.
[[nodiscard]] std::string failed_at(const Json& message);
// The messages that are in an archive, in their order. Lines that are none are told of on standard
// error. Throws Trouble: it cannot be read.
[[nodiscard]] std::vector<Archived> read_archive(const std::string& path);

}  // namespace shmbus::cli

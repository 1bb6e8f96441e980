// What the disk charges at least for what is to survive a power cut.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "contestant.h"

#include <cstddef>
#include <string>

namespace shmbus::bench {

// Where journals and the files beside them are measured: SHMBUS_BENCH_DISK, else TMPDIR, else
// /var/tmp. A directory made in it; removed by the destructor.
class DiskFolder {
public:
    // Throws std::runtime_error.
    DiskFolder();
    ~DiskFolder();
    DiskFolder(const DiskFolder&) = delete;
    DiskFolder& operator=(const DiskFolder&) = delete;
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
};

// Appends `group` payloads at once, padded to blocks of 4 KiB as the journal's batches are, to a
// file that was filled with zeros before, and syncs; again and again. The latency is that of a
// write and its sync, the rate counts payloads.
Contestant append_and_sync(std::size_t payload_bytes, std::size_t group);

// Two threads: one keeps so many payloads on their way, the other appends all that have come while
// it was syncing, and syncs: pipelined group commit. The rate counts payloads.
Contestant pipelined_commit(std::size_t payload_bytes, std::size_t in_flight);

// The same as append_and_sync in a file that grows: what preallocation saves.
Contestant append_and_grow(std::size_t payload_bytes);

}  // namespace shmbus::bench

// A journal as it was at one moment, read-only, while a daemon may be writing to it.
//
// What it has at that moment: still_parts.h.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <string>
#include <vector>

#include "cli/still_parts.h"
#include "journal/storage.h"

namespace shmbus::cli {

class StillJournal final : public journal::Storage {
public:
    // Throws Trouble: there is no journal; SetupError: it cannot be read.
    explicit StillJournal(const std::string& path);
    ~StillJournal() override;

    // Whatever would change something answers EROFS.
    int lock() override;
    FilePointer open(const std::string& name, int& error) override;
    FilePointer create(const std::string& name, int& error) override;
    int rename(const std::string& from, const std::string& to) override;
    int unlink(const std::string& name) override;
    int sync_directory() override;
    int list(std::vector<std::string>& names) override;
    std::string path_of(const std::string& name) const override;

private:
    std::string path_;
    StillParts parts_;
};

}  // namespace shmbus::cli

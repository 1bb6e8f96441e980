// A journal as it was at one moment, read-only, while a daemon may be writing to it.
//
// What is seen is what a power cut at about that moment would have left behind, so everything that
// reads a journal after one can read it:
//
//   1  the superblock is read: what it says was on disk is on disk
//   2  all files are opened; again, until none came, went or was replaced meanwhile. What is
//      removed or merged later stays readable through its descriptor
//   3  of the segments, the newest first: one that was not begun is all zero from here on; of the
//      first that was begun, everything behind its last page that is not zero is zero from here on.
//      The batch with that page may be torn; those before it were complete, or it had not begun
//   4  segments before that one are finished and do not change
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
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

    struct Part {
        base::File file;
        std::uint64_t bytes = 0;
        std::uint64_t inode = 0;
        // Everything from here up to `shown_again` reads as zero.
        std::uint64_t hidden_from = ~std::uint64_t{0};
        std::uint64_t shown_again = ~std::uint64_t{0};
    };
    using Parts = std::map<std::string, std::shared_ptr<const Part>>;

private:
    std::string path_;
    std::vector<std::byte> superblock_;
    Parts parts_;
};

}  // namespace shmbus::cli

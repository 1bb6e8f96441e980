// A journal that is written on a real file system until that breaks, beside an account in memory of
// what it acknowledged; and the comparison afterwards.
//
// Messages are counted; where one goes, how long it is and what it holds follows from its number.
// Each batch also tells a lane's position and an item, which both say the number of its last one.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <random>
#include <string>

namespace journal_tests {

inline constexpr std::size_t endpoints = 2;

// In memory that outlives the writer. Stored before a commit what may be there, and after it what
// must be.
struct Account {
    std::atomic<std::uint64_t> tried{0};  // the last message of the last batch
    std::atomic<std::uint64_t> acknowledged{0};
    std::array<std::atomic<std::uint64_t>, endpoints> settling{};  // the last settled message
    std::array<std::atomic<std::uint64_t>, endpoints> settled{};
    std::atomic<std::uint64_t> commits{0};
    std::atomic<std::uint64_t> failed_commits{0};  // whose first attempt met an error
    std::atomic<std::uint64_t> rewritten{0};       // and whose second did not
    // Written through the kernel's cache, which alone meets its errors in a sync.
    std::atomic<bool> through_cache{false};
    std::atomic<std::uint64_t> bad_syncs{0};       // that the file system answered with an error
    std::atomic<std::uint64_t> repeated_syncs{0};  // of a file whose last sync failed, unwritten

    static Account& make();
};

// Writes until the journal stops, takes no message any more or cannot be opened. Its answer: an
// exit status.
enum Ended : int { stopped = 3, not_opened = 4, wrong = 5 };
[[nodiscard]] int live(const std::string& journal, Account& account, std::uint64_t seed);

// Opens the journal and compares; the account is afterwards what was found. Empty, or what is
// wrong. Throws SetupError when the journal cannot be opened.
[[nodiscard]] std::string compare(const std::string& journal, Account& account, bool closes);

}  // namespace journal_tests

// Sleeping on a 32-bit word of shared memory and waking those who do (futex).
//
// Called by consumers with nothing to do and writers without room; wake() also on the way of a
// message, but only when somebody sleeps. Works across processes and on read-only mappings. A
// return says "look again", nothing more: every caller rescans what it waits for.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>
#include <span>

namespace shmbus::base {

// Why a wait ended.
enum class WaitEnd : std::uint8_t {
    woken,      // by wake(), or for no reason that the kernel tells
    changed,    // the word was not what the caller expected: did not sleep
    timed_out,  // nothing happened
    unusable,   // the word cannot be waited on (no such memory any more): did not sleep
};

// One word to sleep on while it holds `expected`.
struct WatchedWord {
    const void* word = nullptr;  // 32 bits, aligned to 4 bytes
    std::uint32_t expected = 0;
};

// The address of a word in whatever type it is spelled: std::atomic, StdWord, plain.
template <class Word>
    requires(sizeof(Word) == sizeof(std::uint32_t))
[[nodiscard]] WatchedWord watch(const Word& word, std::uint32_t expected) noexcept {
    return {&word, expected};
}

// Sleeps until woken, at most `timeout`. Returns early on a signal (as woken).
WaitEnd wait(WatchedWord word, std::chrono::nanoseconds timeout) noexcept;

// Sleeps until one of the words is woken, at most `timeout`. At most 128 words are watched; a
// longer list is cut, so put the important ones first. Where the kernel has no futex_waitv
// (before 5.16) it sleeps on the first word alone and for at most 2 ms.
WaitEnd wait_any(std::span<const WatchedWord> words, std::chrono::nanoseconds timeout) noexcept;

// Whether wait_any really watches all its words. Asked of the kernel once.
[[nodiscard]] bool can_wait_for_any() noexcept;

// Wakes up to `count` sleepers; returns how many there were. 0 too if the word cannot be used.
int wake_address(const void* word, int count) noexcept;

template <class Word>
    requires(sizeof(Word) == sizeof(std::uint32_t))
int wake(const Word& word, int count) noexcept {
    return wake_address(&word, count);
}

inline constexpr int all_sleepers = 0x7fffffff;

}  // namespace shmbus::base

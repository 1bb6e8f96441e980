// Durable work, its outputs, and the account of both: what the storm over a journal carries.
//
//   sender --Errand--> "work" --Entry--> "books"        one of `always_fails`: --> "error"
//                             --Done---> "desk", "board" (subscribers)
//
// The account lies in memory that forked processes share and outlives each of them. All its words
// are relaxed: they are counted by living processes and summed up when those that count are still.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/message.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "system/lives.h"

namespace shmbus::test {

inline constexpr std::uint32_t errand_senders = 2;
inline constexpr std::uint32_t most_errands = 1U << 17;  // number n is sender n % 2's

struct Errand {
    static constexpr auto message = command("errands.errand", durable);
    std::uint64_t number;
    std::uint64_t inverse;  // tells that it is whole
    std::uint64_t filling[8];
};
struct Entry {
    static constexpr auto message = command("errands.entry", durable);
    std::uint64_t number;
    std::uint64_t inverse;
};
struct Done {
    static constexpr auto message = event("errands.done", durable);
    std::uint64_t number;
    std::uint64_t inverse;
};

// Its handler throws at each attempt; at the first one.
[[nodiscard]] constexpr bool always_fails(std::uint64_t number) { return number % 53 == 7; }
[[nodiscard]] constexpr bool fails_once(std::uint64_t number) { return number % 29 == 3; }

enum class Sent : std::uint8_t { no, perhaps, on_disk };

struct Tally {
    std::atomic<std::uint32_t> unmarked;
    std::atomic<std::uint32_t> marked;
    [[nodiscard]] std::uint32_t count() const { return unmarked + marked; }
};

struct Account {
    std::array<std::atomic<std::uint64_t>, errand_senders> next;  // number of its next one
    std::array<std::atomic<Sent>, most_errands> sent;
    std::array<Tally, most_errands> work, books, desk, board, error;
    std::atomic<std::uint32_t> torn;
    std::atomic<bool> no_more_sending;

    // One sentence for each thing that is wrong by now.
    [[nodiscard]] std::vector<std::string> wrong() const;
    [[nodiscard]] std::uint64_t on_disk() const;
    // All that was handled; grows as long as something comes.
    [[nodiscard]] std::uint64_t handled() const;
};

enum class Errands : std::uint8_t { sender, worker, pool, books, desk, board, error };

// In a forked process; returns only when there is no more to be sent. A fault is planted where
// errand 40 comes to the books.
void live(Errands as, std::uint32_t sender, const std::string& bus, Account& account, Fault fault);
// Endpoints and subscriptions, before anybody sends.
void prepare_errands(const std::string& bus);

}  // namespace shmbus::test

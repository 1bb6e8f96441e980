// The end of the story: what the logs and the stores say, claims about it, and the table.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "chapters.h"

namespace story {

// Reads the logs that the stage has read last, and the store of sales.
class Verdict {
public:
    Verdict(Stage& stage, const Course& course) : stage_(stage), course_(course) {}
    // Makes the last claims and prints the table.
    void give();

private:
    struct Tally {
        std::string way;
        std::uint64_t expected = 0;
        std::uint64_t lines = 0;
        std::uint64_t redelivered = 0;
        std::uint64_t repeated = 0;
        std::uint64_t twice = 0;     // orders with more than one line
        std::uint64_t unmarked = 0;  // of those, orders with more than one unmarked line
        std::uint64_t lost = 0;
        std::int64_t cents = 0;
    };
    [[nodiscard]] Tally tally(const std::string& way, const std::string& role,
                              const std::set<std::uint64_t>& expected) const;
    void claim_nothing_lost(const std::vector<Tally>& tallies);
    void claim_duplicates_marked(const std::vector<Tally>& tallies);
    void claim_money_agrees(const std::vector<Tally>& tallies);
    void print_counts(const std::vector<Tally>& tallies) const;
    void print_rates() const;
    void print_latencies() const;
    [[nodiscard]] std::vector<std::uint64_t> spans(const std::string& role, std::uint64_t from_ns,
                                                   std::uint64_t to_ns) const;

    Stage& stage_;
    const Course& course_;
};

}  // namespace story

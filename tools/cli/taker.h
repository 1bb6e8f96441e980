// Takes messages out of an endpoint as one of its consumers, a batch at a time, and lets each go or
// puts it back.
//
// What is let go is done and gone. What is not stays in the batch's hand when this process leaves
// or dies, and whoever consumes next finds it there, before everything else, marked as redelivered.
// So nothing is lost anywhere between; what had been sent on and was not let go comes twice.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bus/self_bell.h"
#include "cli/member.h"
#include "cli/seen.h"
#include "lane/consumer.h"
#include "lane/onlooker.h"

namespace shmbus::cli {

class Taker {
public:
    // Joins the endpoint's consumers. Throws SetupError or Trouble: 32 have it open already.
    Taker(Member& member, const directory::Endpoint& endpoint);
    // Leaves.
    ~Taker();
    Taker(const Taker&) = delete;
    Taker& operator=(const Taker&) = delete;

    // The messages of one record: it is let go as a whole.
    struct Record {
        lane::Batch* batch = nullptr;
        std::uint32_t index = 0;
        std::vector<SeenMessage> messages;  // that are not done; none: nobody can read it
        bool is_again = false;              // somebody who died or left had it before
    };
    // Records that nobody holds and that were not given out yet, of one batch. None: there are no
    // more, or as many are held back as this process may.
    [[nodiscard]] std::vector<Record> next(std::uint32_t limit = lane::most_entries);
    // Something is about to be done with it: a death from here on makes it a repeated one.
    static void begin(const Record& record);
    // It could not be done: what holds it next is not to think that a process died over it.
    static void take_back(const Record& record);
    static void let_go(const Record& record);
    // Nothing more happens with the records of this batch.
    void close(const std::vector<Record>& records);

    // Waits until something may be there, at most this long.
    bool wait(std::chrono::nanoseconds limit);
    // Records were left in the endpoint that next() cannot reach.
    [[nodiscard]] bool is_out_of_hands() const noexcept { return is_out_of_hands_; }
    // Something that next() gave out stays in our hands, and keeps its room in its lane.
    [[nodiscard]] bool holds_some() const noexcept { return held_ + adopted_ != 0; }
    // Of the hands that this process may have, nearly all that could keep this one hold something.
    [[nodiscard]] bool is_nearly_out_of_hands(const Record& record) const noexcept;

private:
    // A place among the consumers, with its eight hands.
    struct Place {
        std::uint16_t slot = 0;
        std::unique_ptr<detail::SelfBell> bell;
        std::unique_ptr<lane::Consumer> consumer;
    };
    void join();
    [[nodiscard]] bool has_idle_hand(const Place& place);
    [[nodiscard]] lane::Batch* take(std::uint32_t limit);

    Member& member_;
    std::string name_;
    detail::EndpointHandle handle_;
    std::vector<Place> places_;
    std::optional<lane::InboxOnlooker> inbox_;
    // Hands that stay in use until we leave; those that others had filled count by themselves.
    std::uint32_t held_ = 0;
    std::uint32_t adopted_ = 0;
    bool is_out_of_hands_ = false;
};

}  // namespace shmbus::cli

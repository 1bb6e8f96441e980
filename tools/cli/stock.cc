// Taking what an endpoint had. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/stock.h"

#include <algorithm>
#include <chrono>

#include <fmt/core.h>

namespace shmbus::cli {

using namespace std::chrono_literals;

Stock::Stock(Member& member, const directory::Endpoint& endpoint)
    : bus_(member.bus()),
      name_(endpoint.name()),
      taker_(member, endpoint),
      was_on_disk_(bus_.on_disk(name_) != 0) {
    // Behind the place that the daemon gave the taker: it answers between its turns, so whatever
    // had its receipt before is told by now. None of it is missing from the depth: look::Looker.
    const look::Snapshot seen = bus_.look();
    left_ = bus_.endpoint(seen, name_).depth();
}

std::vector<Taker::Record> Stock::next(std::uint32_t at_a_time) {
    using Clock = std::chrono::steady_clock;
    // A daemon that has room for more brings it in milliseconds.
    const auto until = Clock::now() + (taker_.holds_some() ? 1s : 5s);
    bool is_last = false;
    // Ends: with a batch; with nothing in a lane after nothing was seen on disk; or then, when the
    // daemon is dead, or has no room since somebody holds what stands at the lane's begin.
    while (left_ > 0 && !taker_.is_out_of_hands()) {
        auto records = taker_.next(
            static_cast<std::uint32_t>(std::min<std::uint64_t>(left_, at_a_time)));
        if (!records.empty()) {
            count(records);
            return records;
        }
        if (is_last) return {};
        // In this order: what was there and is not on disk any more is in a lane for the next look,
        // and nobody's if it is not.
        is_last = bus_.on_disk(name_) == 0;
        if (is_last) continue;
        is_stuck_ = Clock::now() >= until;
        if (is_stuck_) return {};
        static_cast<void>(taker_.wait(50ms));
    }
    return {};
}

namespace {

[[nodiscard]] std::tuple<std::uint64_t, std::uint64_t, std::uint32_t> key_of(
    const Taker::Record& record) {
    const SeenMessage& first = record.messages.front();
    const bool has_failed = (first.meta.flags & wire::has_failure) != 0;
    return {first.id.high, first.id.low, has_failed ? first.extensions.failure.endpoint : 0};
}

}  // namespace

void Stock::put_behind(const Taker::Record& record) { behind_.insert(key_of(record)); }

// Lanes are taken in turn, so what was put behind the others in its lane may come before some that
// stand in theirs. When it has come round whole, there is nothing else.
void Stock::count(const std::vector<Taker::Record>& records) {
    for (const Taker::Record& record : records) {
        if (!record.messages.empty() && behind_.contains(key_of(record))) {
            ++again_;
            continue;
        }
        again_ = 0;
        if (left_ > 0) --left_;
    }
    if (again_ > behind_.size()) left_ = 0;
}

std::string Meant::text() const {
    if (on_disk == 0) return fmt::format("{} messages", count);
    return fmt::format("{} messages, and those that are meant of {} on disk", count, on_disk);
}

namespace {

void let_go_all(const std::vector<const Taker::Record*>& done, const Doing& doing) {
    if (done.empty()) return;
    try {
        doing.batch();
    } catch (...) {
        for (const Taker::Record* record : done) Taker::take_back(*record);
        throw;
    }
    for (const Taker::Record* record : done) Taker::let_go(*record);
}

}  // namespace

std::uint64_t take_wanted(Stock& stock, std::uint64_t most, const Doing& doing,
                          std::uint32_t at_a_time) {
    std::uint64_t count = 0;
    // Ends: with what was there when we began.
    while (count < most) {
        const auto records = stock.next(at_a_time);
        if (records.empty()) break;
        std::vector<const Taker::Record*> done;
        const Taker::Record* current = nullptr;
        try {
            for (const auto& record : records) {
                if (count >= most || record.messages.empty()) continue;
                const bool is_wanted = doing.is_wanted(record.messages.front());
                if (!is_wanted && (!doing.put_behind || !stock.is_crowded(record))) continue;
                current = &record;
                Taker::begin(record);
                for (const SeenMessage& message : record.messages)
                    (is_wanted ? doing.each : doing.put_behind)(message, record.is_again);
                done.push_back(&record);
                if (is_wanted) count += record.messages.size();
                else stock.put_behind(record);
            }
        } catch (...) {
            if (current != nullptr) Taker::take_back(*current);
            let_go_all(done, doing);
            stock.taker().close(records);
            throw;
        }
        let_go_all(done, doing);
        stock.taker().close(records);
    }
    return count;
}

}  // namespace shmbus::cli

// shmbus tail and peek: messages shown without taking them.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <thread>

#include <fmt/core.h>

#include "cli/body.h"
#include "cli/messages.h"
#include "cli/seen.h"
#include "cli/show.h"
#include "cli/trouble.h"
#include "cli/until_stopped.h"

namespace shmbus::cli {

namespace {

using namespace std::chrono_literals;

struct TailLine {
    std::string endpoint;
    ShowLine show;
    std::vector<std::string> types;
    bool follow = false;
    std::size_t last = 10;
    std::uint64_t count = 0;
};

// One lane that is followed: where to read on, and which message of the lane that is.
struct Followed {
    lane::LaneOnlooker* lane = nullptr;
    std::uint64_t position = 0;
    std::uint64_t number = 0;
    bool is_new = false;
};

class Tail {
public:
    Tail(const Common& common, const TailLine& line)
        : bus_(common),
          line_(line),
          seen_(bus_, bus_.endpoint(line.endpoint)),
          show_(common, bus_, line.show) {
        for (const std::string& name : line.types) types_.insert(bus_.type(name).index);
    }

    // What stands there, oldest lane first: the last few.
    void show_last() {
        std::deque<SeenMessage> last;
        find_lanes();
        for (auto& [id, followed] : followed_)
            read(followed, [&](SeenMessage message) {
                if (!is_wanted(message)) return;
                last.push_back(std::move(message));
                if (last.size() > line_.last) last.pop_front();
            });
        for (const SeenMessage& message : last) show(message);
    }

    void follow(const UntilStopped& until) {
        auto pause = std::chrono::milliseconds{1};
        while (until.goes_on() && !is_full()) {
            flush_output();
            find_lanes();
            bool came = false;
            for (auto& [id, followed] : followed_)
                came = read(followed, [&](const SeenMessage& message) {
                    if (is_wanted(message) && !is_full()) show(message);
                }) || came;
            if (!came) came = count_unseen();
            pause = came ? std::chrono::milliseconds{1} : std::min(2 * pause, longest_pause);
            if (!came) std::this_thread::sleep_for(pause);
        }
    }
    [[nodiscard]] bool is_full() const noexcept {
        return line_.count != 0 && shown_ >= line_.count;
    }

private:
    static constexpr std::chrono::milliseconds longest_pause{20};

    [[nodiscard]] bool is_wanted(const SeenMessage& message) const {
        return types_.empty() || types_.contains(message.meta.type);
    }
    void show(const SeenMessage& message) {
        show_(message);
        ++shown_;
    }

    // New ones are read from their oldest message on that still stands there.
    void find_lanes() {
        for (lane::LaneOnlooker* lane : seen_.lanes()) {
            const auto [place, is_new] = followed_.try_emplace(lane->identity().lane_id);
            if (!is_new) continue;
            place->second.lane = lane;
            begin(place->second, lane->where().reclaim);
        }
    }

    // Which message of its lane stands at this position follows from what stands from there on.
    static void begin(Followed& followed, std::uint64_t position) {
        followed.position = position;
        const auto count = followed.lane->count();
        std::uint64_t behind = 0;
        lane::SeenRecord record;
        for (std::uint64_t at = position; at < count.tail && followed.lane->look(at, record);
             at += record.units)
            behind += record.messages();
        followed.number = count.messages - std::min(behind, count.messages);
    }

    // True when something was read.
    template <class Take>
    bool read(Followed& followed, Take take) {
        bool came = false;
        lane::SeenRecord record;
        // Ends: at the tail.
        while (followed.lane->look(followed.position, record)) {
            const std::uint64_t head = followed.lane->where().head;
            for (SeenMessage& message : messages_in(record, followed.lane->identity().lane_id)) {
                message.sender = followed.lane->identity().writer;
                message.state = record.position < head ? SeenMessage::State::handled
                                                       : SeenMessage::State::waiting;
                take(std::move(message));
            }
            followed.number += record.messages();
            followed.position += record.units;
            told_ += record.messages();
            came = true;
        }
        if (followed.position < followed.lane->where().reclaim) came = catch_up(followed) || came;
        return came;
    }

    // The writer has overwritten what we wanted to read next: on with the oldest that is there.
    bool catch_up(Followed& followed) {
        lane::SeenRecord record;
        if (followed.lane->look(followed.position, record)) return true;
        const std::uint64_t before = followed.number;
        const auto where = followed.lane->where();
        const bool stands = followed.lane->look(where.reclaim, record);
        begin(followed, stands ? where.reclaim : where.head);
        if (followed.number <= before) return false;
        missed(followed.number - before);
        return true;
    }

    void missed(std::uint64_t count) {
        told_ += count;
        show_.missed(count);
    }

    // A lane that came and went between two looks is in no list; but the endpoint counts what was
    // ever sent to it. Believed when two quiet looks agree.
    bool count_unseen() {
        const std::uint64_t ever = seen_.ever();
        const bool is_quiet = ever == ever_;
        ever_ = ever;
        if (!is_quiet) return false;
        if (is_counting_ && ever - told_ > before_) {
            missed(ever - told_ - before_);
            return true;
        }
        is_counting_ = true;
        before_ = ever - told_;
        return false;
    }

    OpenBus bus_;
    const TailLine& line_;
    SeenEndpoint seen_;
    Show show_;
    std::set<std::uint32_t> types_;
    std::map<std::uint64_t, Followed> followed_;
    std::uint64_t shown_ = 0;
    std::uint64_t told_ = 0;  // messages that were read or found missed
    std::uint64_t ever_ = 0;  // of the endpoint, at the last quiet look
    std::uint64_t before_ = 0;  // of them, before we began
    bool is_counting_ = false;
};

void tail(const Common& common, const TailLine& line) {
    UntilStopped until;
    Tail tail(common, line);
    until.then({});
    tail.show_last();
    if (line.follow) tail.follow(until);
}

void peek(const Common& common, const TailLine& line) {
    const OpenBus bus(common);
    SeenEndpoint seen(bus, bus.endpoint(line.endpoint));
    Show show(common, bus, line.show);
    std::set<std::uint32_t> types;
    for (const std::string& name : line.types) types.insert(bus.type(name).index);
    std::uint64_t shown = 0;
    seen.for_each([&](const SeenMessage& message) {
        if (!types.empty() && !types.contains(message.meta.type)) return true;
        show(message);
        return ++shown < line.count || line.count == 0;
    });
}

}  // namespace

void add_tail_commands(const Command& app, const Common& common) {
    auto line = std::make_shared<TailLine>();
    const auto add = [&app, line](const char* name, const char* what) {
        const Command command = app.add(name, what);
        command.option("endpoint", line->endpoint, "Whose messages").required();
        command.option("--type", line->types, "Only messages of this type");
        add_show_options(command, line->show);
        return command;
    };
    const Command tail_it = add("tail", "Show what has come to an endpoint, without taking it");
    tail_it.flag("-f,--follow", line->follow, "Go on with what comes");
    tail_it.option("-n,--last", line->last, "So many that are there already");
    tail_it.option("--count", line->count, "End after so many, with those that were there");
    tail_it.runs([&common, line] { tail(common, *line); });
    const Command peek_it =
        add("peek", "Show what waits in an endpoint or is in hands, without taking it");
    peek_it.option("-n,--count", line->count, "At most so many; default: all");
    peek_it.runs([&common, line] { peek(common, *line); });
}

}  // namespace shmbus::cli

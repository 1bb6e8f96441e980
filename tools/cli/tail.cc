// shmbus tail and peek: messages shown without taking them.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include <fmt/core.h>

#include "cli/following.h"
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

class Tail {
public:
    Tail(const Common& common, const TailLine& line)
        : bus_(common),
          line_(line),
          show_(common, bus_, line.show),
          endpoint_(bus_.endpoint(line.endpoint)),
          following_(bus_, endpoint_,
                     {[this](SeenMessage&& message) { came(std::move(message)); },
                      [this](std::uint64_t count) { show_.missed(count); }}) {
        for (const std::string& name : line.types) types_.insert(bus_.type(name).index);
    }
    Tail(const Tail&) = delete;
    Tail& operator=(const Tail&) = delete;

    // What stands there, oldest lane first: the last few.
    void show_last() {
        following_.read();
        is_beginning_ = false;
        for (const SeenMessage& message : std::exchange(last_, {})) show(message);
    }

    void follow(const UntilStopped& until) {
        auto pause = std::chrono::milliseconds{1};
        while (until.goes_on() && !is_full()) {
            flush_output();
            const bool came = following_.read() || following_.count_unseen();
            pause = came ? std::chrono::milliseconds{1} : std::min(2 * pause, longest_pause);
            if (came) continue;
            require_there();
            heed_reader();
            std::this_thread::sleep_for(pause);
        }
    }

private:
    static constexpr std::chrono::milliseconds longest_pause{20};

    [[nodiscard]] bool is_full() const noexcept {
        return line_.count != 0 && shown_ >= line_.count;
    }
    // A bus that its daemon removed stays open here, and one that is made anew is another one.
    void require_there() const {
        if (bus_.folder().directory().facts().link_count == 0)
            throw Trouble(Exit::unavailable, "the bus in " + bus_.location().directory +
                                                 " was removed while it was followed",
                          "its daemon removes it when no process uses it", "follow it again once "
                          "it is there", "no_bus");
        const auto row = bus_.reader().endpoint(endpoint_.index);
        if (!row || row->row.generation != endpoint_.row.generation)
            throw Trouble(Exit::unknown_name, "the endpoint " + line_.endpoint +
                                                  " was removed while it was followed",
                          "", "shmbus endpoint ls", "no_endpoint");
    }
    void came(SeenMessage&& message) {
        if (!types_.empty() && !types_.contains(message.meta.type)) return;
        if (is_beginning_) {
            last_.push_back(std::move(message));
            if (last_.size() > line_.last) last_.pop_front();
        } else if (!is_full()) {
            show(message);
        }
    }
    void show(const SeenMessage& message) {
        show_(message);
        ++shown_;
    }

    OpenBus bus_;
    const TailLine& line_;
    Show show_;
    directory::Endpoint endpoint_;
    Following following_;
    std::set<std::uint32_t> types_;
    bool is_beginning_ = true;
    std::deque<SeenMessage> last_;
    std::uint64_t shown_ = 0;
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
    tail_it.option("-n,--last", line->last, "So many that are there already; default: 10");
    tail_it.option("--count", line->count, "End after so many, with those that were there")
        .at_least_one("messages");
    tail_it.runs([&common, line] { tail(common, *line); });
    const Command peek_it =
        add("peek", "Show what waits in an endpoint or is in hands, without taking it");
    peek_it.option("-n,--count", line->count, "At most so many; default: all")
        .at_least_one("messages");
    peek_it.runs([&common, line] { peek(common, *line); });
}

}  // namespace shmbus::cli

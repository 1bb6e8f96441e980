// A stream over a way, to one receiver or to many, which share a core.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/way_measures.h"

#include "cargo.h"
#include "crew.h"
#include "pages.h"
#include "peers/any_size.h"

#include <algorithm>
#include <array>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t most_receivers = 64;

struct Board {
    std::array<Tally, most_receivers> tallies;
};

template <std::size_t size>
void send_stream(Way& way, StartLine& line, Waiting waiting, bool packed, milliseconds span) {
    const auto sender = way.sender(waiting);
    line.line_up();  // all senders are there
    line.line_up();  // all receivers are there
    Stream<Cargo<size>> messages(0, span);
    while (messages.more()) {
        if (packed) {
            const std::span<const Cargo<size>> block = messages.next_block();
            sender->send(reinterpret_cast<const std::byte*>(block.data()), block.size());
        } else {
            sender->send(reinterpret_cast<const std::byte*>(&messages.next()), 1);
        }
    }
    line.line_up();  // nothing is on its way any more
}

template <std::size_t size>
Sample stream(const MakeWay& make, Course course, Waiting waiting, milliseconds span) {
    const auto way = make(size, course.receivers);
    Shared<Board> board;
    Crew crew;
    for (std::size_t i = 0; i < course.receivers; ++i) {
        crew.add("receiver " + std::to_string(i), 0, [&, i](StartLine& line) {
            line.line_up();  // all senders are there
            const auto receiver = way->receiver(i, waiting);
            line.line_up();  // all receivers are there
            // On the stack while counting: in shared memory every message would write it.
            Tally mine;
            receive_until<size>(*receiver, waiting, [&](const std::byte* message) {
                mine.take_at<size>(message);
                return !mine.complete();
            });
            board->tallies[i] = mine;
            line.line_up();  // nothing is on its way any more
        });
    }
    crew.add("sender", 1, [&](StartLine& line) {
        send_stream<size>(*way, line, waiting, course.packed, span);
    });
    Sample sample;
    sample.integrity = crew.run(span + way_patience);
    for (std::size_t i = 0; i < course.receivers && sample.integrity == "ok"; ++i) {
        sample.integrity = board->tallies[i].integrity();
        const std::optional<double> rate = board->tallies[i].rate_per_s();
        // The slowest counts; one without a rate leaves the whole without.
        sample.rate_per_s = i == 0 ? rate : std::min(sample.rate_per_s, rate);
    }
    return sample;
}

}  // namespace

Sample way_stream(const MakeWay& make, Course course, std::size_t bytes, Waiting waiting,
                  milliseconds span) {
    return with_size(bytes, [&]<std::size_t size>() {
        return stream<size>(make, course, waiting, span);
    });
}

}  // namespace shmbus::bench

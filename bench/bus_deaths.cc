// The bus as a contestant of deaths: how soon a survivor has what a killed consumer held.
//
// A hangman without a bus forks the victims one after the other and kills them. The survivor puts
// one message into the queue, lets the victim take it, goes to sleep in its own run(), and is woken
// by the death alone.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "asleep.h"
#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "histogram.h"
#include "pages.h"
#include "shared_futex.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{20'000};
constexpr std::uint32_t no_more = 0xffffffff;

// A number that rises once per round and can be slept on.
class Step {
public:
    void reach(std::uint32_t round) noexcept {
        // Edge STEP: what was done before the step is seen by whoever awaits it.
        word_.store(round, std::memory_order_release);
        futex_wake_all(word_);
    }

    // Returns the round reached, at least `round`. Bounded by the crew's time limit.
    std::uint32_t await(std::uint32_t round) noexcept {
        std::uint32_t seen = 0;
        // Edge STEP, the reading end.
        while ((seen = word_.load(std::memory_order_acquire)) < round) futex_wait(word_, seen);
        return seen;
    }

private:
    alignas(64) std::atomic<std::uint32_t> word_{0};
};

// Fields other than steps are plain: the step after each of them carries it over.
struct Board {
    Step ready;    // the victim can be given something
    Step loaded;   // the hangman asks for the round's message
    Step held;     // the victim is in its handler
    Step lie_down; // the survivor may go to sleep
    Step sleeping; // it is about to
    Step handled;  // the survivor's handler began
    pid_t survivor = 0;
    pid_t victim = 0;
    std::uint64_t killed_ticks = 0;
    std::uint64_t wrong = 0;
    alignas(4096) Histogram latency;
};

using Victim = std::function<void(Board&, std::uint32_t round)>;

[[noreturn]] void live_as_victim(const Victim& victim, Board& board, std::uint32_t round,
                                 pid_t hangman) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != hangman) ::_exit(1);
    try {
        victim(board, round);
    } catch (const std::exception&) {
        ::_exit(1);
    }
    ::_exit(0);
}

[[noreturn]] void hold(Board& board, std::uint32_t round) {
    board.held.reach(round);
    for (;;) ::pause();
}

void hang_one(const Victim& victim, const Asleep& survivor, Board& board, std::uint32_t round) {
    const pid_t hangman = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) throw std::system_error(errno, std::generic_category(), "forking a victim");
    if (child == 0) live_as_victim(victim, board, round, hangman);
    board.victim = child;
    board.ready.await(round);
    board.loaded.reach(round);
    board.held.await(round);
    board.lie_down.reach(round);
    board.sleeping.await(round);
    survivor.wait();
    board.killed_ticks = now_ticks();
    ::kill(child, SIGKILL);
    board.handled.await(round);
    ::waitpid(child, nullptr, 0);
}

void hang(const Victim& victim, StartLine& line, milliseconds span, Board& board) {
    line.line_up();
    const Asleep survivor(board.survivor);
    const std::uint64_t begin = now_ticks();
    const std::uint64_t span_ticks = tick_rate().ticks(span);
    for (std::uint32_t round = 1; now_ticks() - begin < span_ticks; ++round) {
        hang_one(victim, survivor, board, round);
    }
    board.loaded.reach(no_more);
}

[[noreturn]] void take_and_hold(const BusHouse& house, Board& board, std::uint32_t round) {
    Bus bus = house.join();
    Endpoint endpoint = bus.endpoint("bench.consumers");
    endpoint.on<Burden>([&](const Burden&) { hold(board, round); });
    board.ready.reach(round);
    for (;;) endpoint.poll();
}

void survive(const BusHouse& house, StartLine& line, Board& board) {
    Bus bus = house.join();
    Endpoint endpoint = bus.endpoint("bench.consumers");
    std::stop_source handled;
    std::uint32_t round = 0;
    endpoint.on<Burden>([&](const Burden& burden, Context& context) {
        const std::uint64_t now = now_ticks();
        const bool right = burden.number == round && context.envelope().redelivered;
        if (!right) ++board.wrong;
        board.latency.record(now - board.killed_ticks);
        handled.request_stop();
    });
    board.survivor = ::getpid();
    line.line_up();
    while ((round = board.loaded.await(round + 1)) != no_more) {
        insist(bus.send(Burden{round, {}}), "sending the burden");
        board.lie_down.await(round);
        handled = std::stop_source();
        board.sleeping.reach(round);
        endpoint.run(handled.get_token());
        board.handled.reach(round);
    }
}

Sample redelivery(milliseconds span) {
    const BusHouse house;
    Shared<Board> board;
    Crew crew;
    crew.add("hangman", 0, [&](StartLine& line) {
        const auto victim = [&](Board& shared, std::uint32_t round) {
            take_and_hold(house, shared, round);
        };
        hang(victim, line, span, *board);
    });
    crew.add("survivor", 1, [&](StartLine& line) { survive(house, line, *board); });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    if (sample.integrity == "ok" && board->wrong > 0) {
        sample.integrity = std::to_string(board->wrong) + " redelivered wrongly or unmarked";
    }
    sample.latency = std::make_shared<Histogram>(board->latency);
    return sample;
}

void watch_the_victims(StartLine& line, Board& board) {
    board.survivor = ::getpid();
    line.line_up();
    std::uint32_t round = 0;
    while ((round = board.loaded.await(round + 1)) != no_more) {
        pollfd polled{static_cast<int>(::syscall(SYS_pidfd_open, board.victim, 0)), POLLIN, 0};
        board.lie_down.await(round);
        board.sleeping.reach(round);
        ::poll(&polled, 1, -1);
        board.latency.record(now_ticks() - board.killed_ticks);
        ::close(polled.fd);
        board.handled.reach(round);
    }
}

Sample notices(milliseconds span) {
    Shared<Board> board;
    Crew crew;
    crew.add("hangman", 0, [&](StartLine& line) {
        const auto victim = [](Board& shared, std::uint32_t round) {
            shared.ready.reach(round);
            shared.loaded.await(round);
            hold(shared, round);
        };
        hang(victim, line, span, *board);
    });
    crew.add("watcher", 1, [&](StartLine& line) { watch_the_victims(line, *board); });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    sample.latency = std::make_shared<Histogram>(board->latency);
    return sample;
}

}  // namespace

Contestant bus_redelivery() { return {"bus redelivers after a death", redelivery, {}}; }

Contestant death_notice() { return {"pidfd tells of a death", notices, {}}; }

}  // namespace shmbus::bench

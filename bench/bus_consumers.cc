// The bus as a contestant of shared work: several senders, several consumers of one endpoint.
//
// Who handles a message is not known before, so that no consumer can tell what it ought to have:
// the counts and the sums of mixed numbers of all consumers together must be the senders'. What one
// consumer gets of one sender rises.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus_contestants.h"

#include "bus_house.h"
#include "bus_messages.h"
#include "crew.h"
#include "pages.h"

#include <array>
#include <atomic>
#include <sched.h>
#include <shmbus/message.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{30'000};
constexpr std::size_t most_members = 8;

// No two numbers and no small set of them mix to a sum that another set has.
std::uint64_t mixed(std::uint64_t sender, std::uint64_t number) noexcept {
    std::uint64_t word = (number + (sender << 48) + 1) * stirrer;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
    return (word ^ (word >> 27)) * 0x94d049bb133111eb;
}

struct Account {
    std::uint64_t count = 0;
    std::uint64_t sum = 0;

    void take(std::uint64_t sender, std::uint64_t number) noexcept {
        ++count;
        sum += mixed(sender, number);
    }
    void add(const Account& other) noexcept {
        count += other.count;
        sum += other.sum;
    }
};

struct Consumed {
    alignas(64) std::atomic<std::uint64_t> handled{0};
    Account account;
    std::uint64_t wrong = 0;
    std::uint64_t counted = 0;  // within the time that counts
};

struct Board {
    std::array<Account, most_members> sent;
    alignas(64) std::atomic<std::uint64_t> all_sent{0};  // of senders that have ended
    std::atomic<std::uint64_t> senders_ended{0};
    std::array<Consumed, most_members> consumers;
};

void send(const BusHouse& house, StartLine& line, std::uint64_t sender, milliseconds span,
          Board& board) {
    Bus bus = house.join();
    line.line_up();
    Account account;
    Stream<Parcel<32>> messages(sender, span);
    while (messages.more()) {
        const Parcel<32>& message = messages.next();
        account.take(sender, message.sequence);
        insist(bus.send(message), "sending");
    }
    board.sent[sender] = account;
    // relaxed: ordered by ALL_SENT.
    board.all_sent.fetch_add(account.count, std::memory_order_relaxed);
    // Edge ALL_SENT: the sum stands.
    board.senders_ended.fetch_add(1, std::memory_order_release);
}

// All that was sent has been handled, by whomever.
bool is_over(const Board& board, std::size_t senders, std::size_t consumers) {
    // Edge ALL_SENT, the reading end.
    if (board.senders_ended.load(std::memory_order_acquire) < senders) return false;
    std::uint64_t handled = 0;
    // relaxed: only counted; each grows until all is handled.
    for (std::size_t i = 0; i < consumers; ++i)
        handled += board.consumers[i].handled.load(std::memory_order_relaxed);
    // relaxed: ordered by ALL_SENT.
    return handled >= board.all_sent.load(std::memory_order_relaxed);
}

void consume(const BusHouse& house, StartLine& line, std::size_t senders, std::size_t consumers,
             milliseconds span, Board& board, Consumed& shared) {
    Bus bus = house.join();
    Account mine;
    std::array<std::uint64_t, most_members> next{};
    std::uint64_t wrong = 0;
    Endpoint endpoint = bus.endpoint("bench.workers");
    endpoint.on<Parcel<32>>([&](const Parcel<32>& message) {
        const std::uint64_t own = message.sequence + message.mark + message.sender;
        if (message.sender >= senders || message.sequence < next[message.sender] ||
            message.sum() != own + filler_sum<32>(message.sequence)) {
            ++wrong;
            return;
        }
        next[message.sender] = message.sequence + 1;
        mine.take(message.sender, message.sequence);
    });
    line.line_up();
    const std::uint64_t begin = now_ticks() + tick_rate().ticks(span / 5);
    const std::uint64_t end = begin + tick_rate().ticks(span * 4 / 5);
    std::uint64_t at_begin = 0;
    while (!is_over(board, senders, consumers)) {
        if (endpoint.poll() == 0) ::sched_yield();
        const std::uint64_t now = now_ticks();
        if (now < begin) at_begin = mine.count;
        if (now < end) shared.counted = mine.count - at_begin;
        // relaxed: only counted.
        shared.handled.store(mine.count + wrong, std::memory_order_relaxed);
    }
    shared.account = mine;
    shared.wrong = wrong;
}

Sample told_by(const Board& board, std::size_t senders, std::size_t consumers, milliseconds span,
               std::string outcome) {
    Account sent;
    Account handled;
    std::uint64_t wrong = 0;
    std::uint64_t counted = 0;
    for (std::size_t i = 0; i < senders; ++i) sent.add(board.sent[i]);
    for (std::size_t i = 0; i < consumers; ++i) {
        handled.add(board.consumers[i].account);
        wrong += board.consumers[i].wrong;
        counted += board.consumers[i].counted;
    }
    Sample sample;
    sample.integrity = std::move(outcome);
    if (sample.integrity == "ok" && wrong > 0)
        sample.integrity = std::to_string(wrong) + " messages damaged or disordered";
    if (sample.integrity == "ok" && (sent.count != handled.count || sent.sum != handled.sum))
        sample.integrity = "messages lost or handled twice";
    const double seconds = std::chrono::duration<double>(span).count() * 4 / 5;
    if (counted > 0) sample.rate_per_s = static_cast<double>(counted) / seconds;
    return sample;
}

Sample shared_work(std::size_t senders, std::size_t consumers, milliseconds span) {
    const BusHouse house;
    Shared<Board> board;
    Crew crew;
    for (std::size_t i = 0; i < consumers; ++i)
        crew.add("consumer " + std::to_string(i), 0, [&, i](StartLine& line) {
            consume(house, line, senders, consumers, span, *board, board->consumers[i]);
        });
    for (std::size_t i = 0; i < senders; ++i)
        crew.add("sender " + std::to_string(i), 1,
                 [&, i](StartLine& line) { send(house, line, i, span, *board); });
    std::string outcome = crew.run(span + patience);
    return told_by(*board, senders, consumers, span, std::move(outcome));
}

}  // namespace

Contestant bus_consumers(std::size_t senders, std::size_t consumers) {
    return {"bus, " + std::to_string(senders) + " x " + std::to_string(consumers),
            [=](milliseconds span) { return shared_work(senders, consumers, span); }};
}

}  // namespace shmbus::bench

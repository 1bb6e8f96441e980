// The lives of those who send and do errands, and the account of them. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "system/errands.h"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>

#include <shmbus/bus.h>

namespace shmbus::test {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t planted_at = 40;

// The daemon may be away at any moment: then the same again.
template <class F>
auto insist(F&& what) {
    for (;;) {
        try {
            return what();
        } catch (const SetupError&) {
            std::this_thread::sleep_for(2ms);
        }
    }
}

Bus open_bus(const std::string& path) {
    return insist([&] {
        BusOptions options;
        options.start_daemon = false;
        options.daemon_timeout = 2000ms;
        return Bus::open(path, options);
    });
}

EndpointOptions options_of(unsigned threads) {
    EndpointOptions options;
    options.handler_threads = threads;
    options.attempts_when_dying = 250;  // who dies here is not to blame
    options.lane_bytes = 65536;
    return options;
}

Endpoint open_endpoint(Bus& bus, const char* name, unsigned threads = 1) {
    return insist([&] { return bus.endpoint(name, options_of(threads)); });
}

template <class T>
T made(std::uint64_t number) {
    T one{};
    one.number = number;
    one.inverse = ~number;
    return one;
}

template <class T>
bool is_whole(const T& one, Account& account) {
    if (one.inverse == ~one.number && one.number < most_errands) return true;
    ++account.torn;
    return false;
}

void note(Tally& tally, const Context& context) {
    const bool is_marked = context.redelivered() || context.repeated() || context.attempt() > 1;
    ++(is_marked ? tally.marked : tally.unmarked);
}

using Tallies = std::array<Tally, most_errands>;

template <class T>
void count_at(Endpoint& endpoint, Tallies& tallies, Account& account, Fault fault = Fault::none) {
    insist([&] {
        endpoint.on<T>([&tallies, &account, fault](const T& one, Context& context) {
            if (!is_whole(one, account)) return;
            if (one.number == planted_at && fault == Fault::loss) return;
            if (one.number == planted_at && fault == Fault::duplicate)
                tallies[one.number].unmarked += 2;
            note(tallies[one.number], context);
        });
    });
}

void work(Bus& bus, Account& account, unsigned threads) {
    Endpoint endpoint = open_endpoint(bus, "work", threads);
    insist([&] {
        endpoint.on<Errand>([&account](const Errand& errand, Context& context) {
            if (!is_whole(errand, account)) return;
            const std::uint64_t number = errand.number;
            if (fails_once(number) && context.attempt() == 1) throw std::runtime_error("once");
            if (!always_fails(number)) {
                context.send(made<Entry>(number)).value();
                context.publish(made<Done>(number)).value();
            }
            // Behind what throws because the daemon is away: that is no attempt.
            note(account.work[number], context);
            if (always_fails(number)) throw std::runtime_error("always");
        });
    });
    endpoint.run();
}

// Each number until it is on disk, or was given up because nothing can be known of it any more. Two
// of three have an id of the sender's own, under which they are sent again after a death.
void send(Bus& bus, std::uint32_t sender, Account& account) {
    bool is_first = true;
    while (!account.no_more_sending) {
        const std::uint64_t number = account.next[sender];
        if (number >= most_errands) return;
        const bool has_id = number / errand_senders % 3 != 0;
        const bool was_tried = account.sent[number] == Sent::perhaps;
        const auto go_on = [&] { account.next[sender] = number + errand_senders; };
        if (std::exchange(is_first, false) && was_tried && !has_id) {
            go_on();
            continue;
        }
        SendOptions options;
        options.wait = 300ms;
        if (has_id) options.id = MessageId{number + 1, 77};
        account.sent[number] = Sent::perhaps;
        const Result<Receipt> receipt = bus.send(made<Errand>(number), options);
        if (!receipt) {
            if (receipt.error() == ErrorCode::lane_lost) go_on();
            else if (!was_tried) account.sent[number] = Sent::no;
            std::this_thread::sleep_for(1ms);
            continue;
        }
        // Some are not waited for, so that many are on their way at a time.
        while (number % 4 != 0) {
            const Result<void> there = receipt->wait(2s);
            if (there) account.sent[number] = Sent::on_disk;
            if (there || !(there.error() == ErrorCode::timeout)) break;
        }
        go_on();
    }
}

}  // namespace

std::vector<std::string> Account::wrong() const {
    std::vector<std::string> all;
    const auto say = [&](const char* what, std::uint64_t number, const char* where) {
        all.push_back(what + std::string(" errand ") + std::to_string(number) + " at " + where);
    };
    for (std::uint64_t number = 0; number < most_errands; ++number) {
        const bool must = sent[number] == Sent::on_disk;
        const bool is_done = work[number].count() != 0 && !always_fails(number);
        const auto check = [&](const Tally& tally, const char* where, bool is_due, bool may_be) {
            if (is_due && tally.count() == 0) say("lost:", number, where);
            if (tally.count() != 0 && !may_be) say("invented:", number, where);
            if (tally.unmarked > 1) say("handled twice without a mark:", number, where);
        };
        check(work[number], "work", must, sent[number] != Sent::no);
        // Outputs of one handler: all or none.
        const bool some = books[number].count() + desk[number].count() + board[number].count() > 0;
        check(books[number], "books", (must && !always_fails(number)) || some, is_done);
        check(desk[number], "desk", (must && !always_fails(number)) || some, is_done);
        check(board[number], "board", (must && !always_fails(number)) || some, is_done);
        check(error[number], "error", must && always_fails(number), always_fails(number));
    }
    if (torn != 0) all.push_back("torn: " + std::to_string(torn));
    return all;
}

std::uint64_t Account::on_disk() const {
    std::uint64_t count = 0;
    for (const std::atomic<Sent>& one : sent) count += one == Sent::on_disk ? 1 : 0;
    return count;
}

std::uint64_t Account::handled() const {
    std::uint64_t count = 0;
    for (const Tallies* const tallies : {&work, &books, &desk, &board, &error})
        for (const Tally& tally : *tallies) count += tally.count();
    return count;
}

void live(Errands as, std::uint32_t sender, const std::string& path, Account& account,
          Fault fault) {
    Bus bus = open_bus(path);
    if (as == Errands::sender) return send(bus, sender, account);
    if (as == Errands::worker || as == Errands::pool)
        return work(bus, account, as == Errands::pool ? 3 : 1);
    std::optional<Endpoint> endpoint;
    const auto at = [&](const char* name) -> Endpoint& {
        return endpoint.emplace(open_endpoint(bus, name));
    };
    if (as == Errands::books) count_at<Entry>(at("books"), account.books, account, fault);
    if (as == Errands::desk) count_at<Done>(at("desk"), account.desk, account);
    if (as == Errands::board) count_at<Done>(at("board"), account.board, account);
    if (as == Errands::error) count_at<Errand>(at("error"), account.error, account);
    endpoint->run();
}

void prepare_errands(const std::string& path) {
    Bus bus = open_bus(path);
    bus.declare_endpoint<Errand>("work", options_of(1));
    bus.declare_endpoint<Entry>("books", options_of(1));
    for (const char* name : {"desk", "board"}) bus.endpoint(name, options_of(1)).subscribe<Done>();
}

}  // namespace shmbus::test

// The lives that a storm takes. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "system/lives.h"

#include <shmbus/bus.h>

#include <chrono>
#include <mutex>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>

#include <signal.h>
#include <unistd.h>

#include "support/ledger.h"
#include "system/storm_messages.h"

namespace shmbus::test {

namespace {

using namespace std::chrono_literals;
using Dice = std::mt19937_64;

constexpr auto patience = 30s;
// In the account a sender of events is two: one whose messages all go to "storm", and this one.
constexpr std::uint32_t as_watched = 1U << 31;

std::uint64_t roll(Dice& dice, std::uint64_t sides) { return dice() % sides; }

[[noreturn]] void die() {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
}

// The daemon may be dead at any moment: tries again until it answers.
template <class Step>
auto persist(Step step) {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
        try {
            return step();
        } catch (const SetupError&) {
            if (std::chrono::steady_clock::now() > until) throw;
            ::usleep(500);
        }
    }
}

Bus join(const Sky& sky, std::uint32_t name, const char* role) {
    return persist([&] {
        BusOptions options;
        options.start_daemon = false;
        options.process_name = role + std::to_string(name);
        return Bus::open(sky.bus, options);
    });
}

Endpoint open_endpoint(Bus& bus, const char* name, std::uint32_t threads) {
    return persist([&] {
        EndpointOptions options;
        options.lane_bytes = 64 * 1024;
        options.attempts_when_dying = 200;
        options.handler_threads = threads;
        return bus.endpoint(name, options);
    });
}

// ---- a sender

class Sender {
public:
    Sender(const Sky& sky, const Life& life, Board& board, Place& place)
        : life_(life), board_(board), place_(place), ledger_(sky.ledger), dice_(life.seed),
          bus_(join(sky, life.name, "sender")), has_watch_(sky.has_watch) {}

    int run() {
        while (number_ < life_.messages && !is_enough()) send_something();
        if (is_enough() || life_.ending == Ending::in_peace) return 0;
        die_with_a_loan();
    }

private:
    [[nodiscard]] bool is_enough() const {
        return board_.no_more_sending.load(std::memory_order_relaxed);  // relaxed: see Board
    }
    void note(const Result<void>& sent, std::uint64_t first, std::uint64_t count) {
        for (std::uint64_t number = first; number < first + count; ++number) {
            if (sent) ledger_.accepted(life_.name, number);
            else ledger_.refused(life_.name, number);
        }
    }
    void send_something() {
        switch (roll(dice_, 9)) {
            case 0: return send_one<Wagon>();
            case 1: return send_one<Crate>();
            case 2: return loan<Parcel>(true);
            case 3: return loan<Wagon>(true);
            case 4: return send_packed();
            case 5: return send_several();
            case 6: return publish();
            default: return send_one<Parcel>();
        }
    }
    template <class T>
    void send_one() {
        T message;
        message.fill(life_.name, ++number_);
        ledger_.tried(life_.name, number_);
        place_.is(Doing::sending);
        const Result<void> sent = bus_.send(message);
        place_.is(Doing::nothing);
        note(sent, number_, 1);
    }
    // To all subscribers or, when it is refused or killed, to some of them.
    void publish() {
        Bulletin message;
        message.fill(life_.name, ++number_);
        ledger_.tried(life_.name, number_);
        if (has_watch_) ledger_.tried(life_.name | as_watched, number_);
        place_.is(Doing::sending);
        const Result<Published> sent = bus_.publish(message);
        place_.is(Doing::nothing);
        if (!sent) return;
        if (sent->subscribers != (has_watch_ ? 2 : 1))
            throw std::runtime_error("a publish found another number of subscribers");
        ledger_.accepted(life_.name, number_);
        if (has_watch_) ledger_.accepted(life_.name | as_watched, number_);
    }
    // What is not committed was never tried: the account takes it for a phantom if it is seen.
    template <class T>
    void loan(bool commit) {
        auto room = bus_.loan<T>();
        if (!room) return;
        place_.is(Doing::loaning);
        room->fill(life_.name, number_ + 1);
        if (!commit) {
            if (life_.ending == Ending::by_own_hand) die();
            // Its killer comes, or the end of the storm.
            while (!is_enough()) ::usleep(1000);
            return;
        }
        ledger_.tried(life_.name, ++number_);
        room.commit();
        place_.is(Doing::nothing);
        ledger_.accepted(life_.name, number_);
    }
    template <class Messages>
    std::uint64_t prepare(Messages& messages) {
        const std::uint64_t first = number_ + 1;
        for (auto& message : messages) {
            message.fill(life_.name, ++number_);
            ledger_.tried(life_.name, number_);
        }
        return first;
    }
    void send_packed() {
        std::array<Parcel, 9> messages;
        const std::uint64_t first = prepare(messages);
        place_.is(Doing::sending);
        const Result<void> sent = bus_.send_batch(std::span<const Parcel>(messages));
        place_.is(Doing::nothing);
        note(sent, first, messages.size());
    }
    void send_several() {
        std::array<Crate, 5> messages;
        const std::uint64_t first = prepare(messages);
        place_.is(Doing::sending);
        const auto sent = bus_.send_each(std::span<const Crate>(messages));
        place_.is(Doing::nothing);
        const std::uint64_t went = sent ? *sent : 0;
        note({}, first, went);
        note(Error(ErrorCode::full), first + went, messages.size() - went);
    }
    [[noreturn]] void die_with_a_loan() {
        for (;;) {
            loan<Crate>(false);
            if (is_enough()) ::_exit(0);
        }
    }

    const Life& life_;
    Board& board_;
    Place& place_;
    LedgerFile ledger_;
    Dice dice_;
    Bus bus_;
    bool has_watch_;
    std::uint64_t number_ = 0;
};

// ---- a receiver

class Receiver {
public:
    Receiver(const Sky& sky, const Life& life, Board& board, Place& place)
        : sky_(sky), life_(life), board_(board), place_(place), ledger_(sky.ledger),
          dice_(life.seed), bus_(join(sky, life.name, "receiver")),
          endpoint_(open_endpoint(bus_, life.watches ? "watch" : "storm", life.threads)) {
        listen<Bulletin>();
        if (life.watches) return;
        listen<Parcel>();
        listen<Crate>();
        listen<Wagon>();
    }

    int run() {
        place_.is(Doing::nothing);
        if (life_.threads > 1) {
            const std::jthread stopping([this](const std::stop_token& stop) {
                for (; !stop.stop_requested(); std::this_thread::sleep_for(1ms))
                    if (is_over()) endpoint_.stop();
            });
            endpoint_.run();
            return 0;
        }
        while (!is_over())
            if (endpoint_.poll() == 0) endpoint_.wait(50ms);
        return 0;
    }

private:
    template <class T>
    void listen() {
        persist([&] {
            endpoint_.on<T>([this](const T& message, Context& context) {
                handle(message, context.redelivered());
            });
        });
    }
    [[nodiscard]] bool is_over() const {
        if (board_.go_home.load(std::memory_order_relaxed)) return true;  // relaxed: see Board
        return life_.ending == Ending::in_peace && handled_ >= life_.messages;
    }
    template <class T>
    void handle(const T& message, bool marked) {
        if (inside_.fetch_add(1) == 0) place_.is(Doing::handling);
        const bool last = life_.ending == Ending::by_own_hand && handled_ + 1 >= life_.messages;
        const std::uint64_t moment = last ? roll(3) : 3;
        if (moment == 0) die();
        if (!message.is_whole()) {
            board_.damaged.fetch_add(1, std::memory_order_relaxed);  // relaxed: a count
        } else {
            account_for(static_cast<std::uint32_t>(message.sender) |
                            (life_.watches ? as_watched : 0),
                        message.number, marked, moment == 1);
        }
        if (moment == 2) die();
        ++handled_;
        if (inside_.fetch_sub(1) == 1) place_.is(Doing::nothing);
    }
    // Each thread is a receiver of its own: what it gets of a sender comes in order.
    [[nodiscard]] std::uint32_t my_name() {
        static thread_local const std::uint32_t thread = threads_.fetch_add(1);
        return life_.name * 16 + thread;
    }
    [[nodiscard]] std::uint64_t roll(std::uint64_t sides) {
        const std::lock_guard lock(dice_mutex_);
        return test::roll(dice_, sides);
    }
    void account_for(std::uint32_t sender, std::uint64_t number, bool marked, bool dies) {
        if (plants(Fault::loss)) return;
        ledger_.begun(my_name(), sender, number, marked);
        if (dies) die();
        work();
        ledger_.handled(my_name(), sender, number, marked);
        if (!plants(Fault::duplicate)) return;
        ledger_.begun(my_name(), sender, number, false);
        ledger_.handled(my_name(), sender, number, false);
    }
    // Some for the whole storm, by as many receivers, each after some messages: one that is killed
    // before its handler has returned gets the message again, and nothing was lost.
    bool plants(Fault fault) {
        constexpr std::uint32_t most = 5;
        if (sky_.planted != fault || handled_ < 2 || has_planted_.exchange(true)) return false;
        return board_.planted.fetch_add(1, std::memory_order_relaxed) < most;  // relaxed: a count
    }
    // Long enough that some kills from outside hit it.
    void work() {
        const auto until = std::chrono::steady_clock::now() +
                           std::chrono::microseconds(roll(40));
        while (std::chrono::steady_clock::now() < until) {
        }
    }

    const Sky& sky_;
    const Life& life_;
    Board& board_;
    Place& place_;
    LedgerFile ledger_;
    std::mutex dice_mutex_;
    Dice dice_;
    // seq_cst, all four: threads of one process, and nothing hangs on their order.
    std::atomic<std::uint32_t> threads_{0};
    std::atomic<std::uint32_t> inside_{0};
    std::atomic<bool> has_planted_{false};
    std::atomic<std::uint32_t> handled_{0};
    Bus bus_;
    Endpoint endpoint_;
};

}  // namespace

void prepare_endpoints(const Sky& sky) {
    Bus bus = join(sky, 0, "prepares");
    for (const char* name : {"storm", "watch"}) {
        if (name[0] == 'w' && !sky.has_watch) continue;
        Endpoint endpoint = open_endpoint(bus, name, 1);
        persist([&] { endpoint.subscribe<Bulletin>(); });
    }
}

int live_as_sender(const Sky& sky, const Life& life, Board& board, Place& place) {
    place.is(Doing::joining);
    Sender sender(sky, life, board, place);
    place.is(Doing::nothing);
    return sender.run();
}

int live_as_receiver(const Sky& sky, const Life& life, Board& board, Place& place) {
    place.is(Doing::joining);
    return Receiver(sky, life, board, place).run();
}

}  // namespace shmbus::test

// Threads of one process on one bus: senders, publishers, requesters, a pool of handler threads.
//
// For the thread sanitizer (scripts/sanitizers.sh). What goes from lane to lane it cannot see, for
// sender and receiver map a lane at two addresses; tables, counters, requests, the pool's queue and
// stopping it can.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/testing.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <vector>

#include <pthread.h>
#include <time.h>

#ifdef __SANITIZE_THREAD__
// std::timed_mutex locks by this function, which the sanitizer of g++ 12 does not know: it would
// see unlocking without locking, and races in all that such a mutex guards. The same by one that
// it knows.
extern "C" int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock,
                                       const timespec* until) noexcept {
    timespec there{};
    timespec here{};
    ::clock_gettime(clock, &there);
    ::clock_gettime(CLOCK_REALTIME, &here);
    constexpr long second = 1'000'000'000;
    const long more = (until->tv_sec - there.tv_sec) * second + until->tv_nsec - there.tv_nsec;
    const long then = here.tv_nsec + (more > 0 ? more : 0);
    const timespec as_real{here.tv_sec + then / second, then % second};
    return ::pthread_mutex_timedlock(mutex, &as_real);
}
#endif

namespace {

using namespace std::chrono_literals;

struct Doubled {
    static constexpr auto message = shmbus::reply("threads.doubled", shmbus::transient);
    std::uint64_t number;
};
struct Double {
    static constexpr auto message = shmbus::command("threads.double", shmbus::transient);
    using reply = Doubled;
    std::uint64_t number;
};
struct Job {
    static constexpr auto message = shmbus::command("threads.job", shmbus::transient);
    std::uint64_t number;
};
struct News {
    static constexpr auto message = shmbus::event("threads.news", shmbus::transient);
    std::uint64_t number;
};

constexpr std::uint64_t jobs_each = 3000;
constexpr std::uint64_t requests_each = 200;
constexpr std::size_t senders = 3;

// relaxed throughout: counts that are compared when all threads have ended or by polling.
struct Counts {
    std::atomic<std::uint64_t> jobs{0};
    std::atomic<std::uint64_t> news{0};
    std::atomic<std::uint64_t> answers{0};
    std::atomic<std::uint64_t> failures{0};
    static void one(std::atomic<std::uint64_t>& count) {
        count.fetch_add(1, std::memory_order_relaxed);
    }
};

void send_all(shmbus::Bus& bus, Counts& counts) {
    shmbus::SendOptions patient;
    patient.wait = 20s;
    for (std::uint64_t number = 1; number <= jobs_each; ++number) {
        if (!bus.send(Job{number}, patient)) Counts::one(counts.failures);
        if (number % 8 == 0 && !bus.publish(News{number})) Counts::one(counts.failures);
        if (number % (jobs_each / requests_each) != 0) continue;
        const auto answer = bus.request(Double{number}).wait();
        if (answer && answer->number == 2 * number) Counts::one(counts.answers);
        else Counts::one(counts.failures);
    }
}

bool all_came(const Counts& counts) {
    return counts.jobs.load(std::memory_order_relaxed) == senders * jobs_each &&
           counts.news.load(std::memory_order_relaxed) == senders * (jobs_each / 8) &&
           counts.answers.load(std::memory_order_relaxed) == senders * requests_each;
}

int run_threads() {
    shmbus::testing::TemporaryBus temporary;
    shmbus::Bus& bus = temporary.bus();
    Counts counts;
    shmbus::EndpointOptions options;
    options.handler_threads = 3;
    options.lane_bytes = 16 * 1024;
    auto pool = bus.endpoint("pool", options);
    pool.on<Job>([&](const Job& job, shmbus::Context& context) {
        if (job.number % 50 == 0 && context.attempt() == 1) throw std::runtime_error("again");
        Counts::one(counts.jobs);
    });
    pool.on<Double>([](const Double& ask) { return Doubled{2 * ask.number}; });
    auto reader = bus.endpoint("reader");
    reader.on<News>([&](const News&) { Counts::one(counts.news); });
    {
        const std::jthread pooling([&](const std::stop_token& stop) {
            while (!stop.stop_requested()) pool.run(stop);
        });
        const std::jthread stopping([&](const std::stop_token& stop) {
            for (; !stop.stop_requested(); std::this_thread::sleep_for(20ms)) pool.stop();
        });
        const std::jthread reading([&](const std::stop_token& stop) { reader.run(stop); });
        {
            std::vector<std::jthread> sending;
            for (std::size_t i = 0; i < senders; ++i)
                sending.emplace_back([&] { send_all(bus, counts); });
        }
        const auto until = std::chrono::steady_clock::now() + 30s;
        while (!all_came(counts) && std::chrono::steady_clock::now() < until)
            std::this_thread::sleep_for(1ms);
    }
    std::printf("jobs %llu, news %llu, answers %llu, failures %llu, sent %llu\n",
                static_cast<unsigned long long>(counts.jobs),
                static_cast<unsigned long long>(counts.news),
                static_cast<unsigned long long>(counts.answers),
                static_cast<unsigned long long>(counts.failures),
                static_cast<unsigned long long>(bus.counts().sent));
    return all_came(counts) && counts.failures.load(std::memory_order_relaxed) == 0 ? 0 : 1;
}

}  // namespace

int main() {
    try {
        return run_threads();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}

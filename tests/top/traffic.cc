// A process on a bus that does what it is told, line by line: the traffic that shm-top is to show.
//
//   traffic BUS NAME      the bus's directory, what the process is called
//
// Each command is answered by one line once it is done, so whoever gives them knows what to expect
// to the message. Ends at the end of its input, leaving the bus, or is killed.
//
// SPDX-License-Identifier: BSL-1.0
#include <shmbus/bus.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;

struct Order {
    static constexpr auto message = shmbus::command("shop.order", shmbus::transient);
    std::uint64_t number = 0;
    std::uint64_t how = 0;  // what its handler does with it
    static constexpr auto fields =
        shmbus::fields(shmbus::field<&Order::number>("number"), shmbus::field<&Order::how>("how"));
};
struct Ordered {
    static constexpr auto message = shmbus::event("shop.ordered", shmbus::transient);
    std::uint64_t number = 0;
};
struct Invoice {
    static constexpr auto message = shmbus::command("shop.invoice", shmbus::durable);
    std::uint64_t number = 0;
};

constexpr std::uint64_t throws = 1;
constexpr std::uint64_t holds = 2;

// An endpoint and the thread that handles for it, as many messages as it may.
class Receiver {
public:
    Receiver(shmbus::Bus& bus, const std::string& name, std::size_t lane_bytes)
        : endpoint_(bus.endpoint(name, options(lane_bytes))) {
        if (name == "sales") {
            endpoint_.on<Order>([this](const Order& order, shmbus::Context& context) {
                if (order.how == throws) throw std::runtime_error("this order cannot be handled");
                if (order.how == holds) hold();
                work();
                context.publish(Ordered{order.number}).value();
                ++handled_;
            });
        } else if (name == "books") {
            endpoint_.on<Invoice>([this](const Invoice&) { ++handled_; });
        } else if (name == "narrow") {
            // Handles nothing by itself: others send here.
        } else {
            endpoint_.on<Ordered>([this](const Ordered&) {
                work();
                ++handled_;
            });
        }
        thread_ = std::jthread([this](const std::stop_token& stop) {
            while (!stop.stop_requested()) {
                const std::uint64_t allowed = budget_ - std::min<std::uint64_t>(budget_, handled_);
                is_idle_ = allowed == 0;
                if (allowed == 0)
                    std::this_thread::sleep_for(200us);
                else if (endpoint_.poll(std::min<std::uint64_t>(allowed, 64)) == 0)
                    endpoint_.wait(5ms);
            }
        });
    }

    // True when so many more were handled, and nothing is being handled any more.
    [[nodiscard]] bool handle(std::uint64_t more, std::chrono::seconds limit) {
        const std::uint64_t wanted = handled_ + more;
        budget_ = wanted;
        const auto deadline = std::chrono::steady_clock::now() + limit;
        while (handled_ < wanted || !is_idle_) {
            if (std::chrono::steady_clock::now() > deadline) return false;
            std::this_thread::sleep_for(200us);
        }
        return true;
    }
    void run(std::uint64_t work_us) {
        work_us_ = work_us;
        budget_ = ~std::uint64_t{0};
    }
    void release() { is_held_ = false; }
    [[nodiscard]] std::uint64_t handled() const { return handled_; }
    [[nodiscard]] bool is_holding() const { return is_holding_; }

private:
    static shmbus::EndpointOptions options(std::size_t lane_bytes) {
        shmbus::EndpointOptions wanted;
        wanted.waiting = shmbus::Waiting::sleep;
        if (lane_bytes != 0) wanted.lane_bytes = lane_bytes;
        return wanted;
    }
    void hold() {
        is_held_ = true;
        is_holding_ = true;
        while (is_held_) std::this_thread::sleep_for(1ms);
        is_holding_ = false;
    }
    void work() const {
        const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(work_us_);
        while (work_us_ > 0 && std::chrono::steady_clock::now() < until) {
        }
    }

    std::atomic<std::uint64_t> handled_{0};
    std::atomic<std::uint64_t> budget_{0};
    std::atomic<std::uint64_t> work_us_{0};
    std::atomic<bool> is_idle_{false};
    std::atomic<bool> is_held_{false};
    std::atomic<bool> is_holding_{false};
    shmbus::Endpoint endpoint_;
    std::jthread thread_;
};

class Process {
public:
    Process(const std::string& bus, const std::string& name) : bus_(open(bus, name)) {}

    [[nodiscard]] std::string obey(const std::string& line) {
        std::istringstream words(line);
        std::string what;
        std::string name;
        std::uint64_t count = 0;
        words >> what;
        if (what == "open") {
            words >> name >> count;
            receivers_[name] = std::make_unique<Receiver>(bus_, name, count);
            return "opened";
        }
        if (what == "handle" || what == "run" || what == "release" || what == "holding") {
            words >> name >> count;
            return of_receiver(what, *receivers_.at(name), count);
        }
        words >> count;
        if (what == "send") return send(count, 0);
        if (what == "fail") return send(count, throws);
        if (what == "hold") return send(count, holds);
        if (what == "durable") return send_durably(count, true);
        if (what == "late") return send_durably(count, false);
        if (what == "narrow") return fill(count);
        if (what == "block") return block();
        if (what == "flow") return flow(count);
        throw std::runtime_error("unknown: " + line);
    }

private:
    static shmbus::Bus open(const std::string& bus, const std::string& name) {
        shmbus::BusOptions options;
        options.start_daemon = false;
        options.process_name = name;
        return shmbus::Bus::open(bus, options);
    }
    static std::string of_receiver(const std::string& what, Receiver& receiver,
                                   std::uint64_t count) {
        if (what == "run") receiver.run(count);
        if (what == "release") receiver.release();
        if (what == "handle" && !receiver.handle(count, 20s)) return "too slow";
        if (what == "holding")
            while (!receiver.is_holding()) std::this_thread::sleep_for(1ms);
        return "handled " + std::to_string(receiver.handled());
    }
    std::string send(std::uint64_t count, std::uint64_t how) {
        for (std::uint64_t at = 0; at < count; ++at) bus_.send(Order{++number_, how}).value();
        return "sent " + std::to_string(count);
    }
    std::string send_durably(std::uint64_t count, bool until_on_disk) {
        for (std::uint64_t at = 0; at < count; ++at)
            static_cast<void>(bus_.send(Invoice{++number_}).value());
        if (until_on_disk) bus_.sync().value();
        return "sent " + std::to_string(count);
    }
    // Until one finds no room; a further one then waits for it, in a thread of its own.
    std::string fill(std::uint64_t most) {
        shmbus::SendOptions options;
        options.destination = "narrow";
        options.when_full = shmbus::WhenFull::refuse;
        std::uint64_t sent = 0;
        while (sent < most && bus_.send(Order{++number_, 0}, options)) ++sent;
        return "sent " + std::to_string(sent);
    }
    // Sends to "narrow" until there is no room, and waits for it: from a thread of its own.
    std::string block() {
        blocked_ = std::jthread([this](const std::stop_token& stop) {
            shmbus::SendOptions options;
            options.destination = "narrow";
            options.wait = 60s;
            while (!stop.stop_requested() && bus_.send(Order{++number_, 0}, options)) {
            }
        });
        return "blocks";
    }
    std::string flow(std::uint64_t per_second) {
        flow_ = std::jthread([this, per_second](const std::stop_token& stop) {
            // A hundred small crowds a second.
            auto next = std::chrono::steady_clock::now();
            while (!stop.stop_requested()) {
                for (std::uint64_t at = 0; at < per_second / 100; ++at)
                    static_cast<void>(bus_.send(Order{++number_, 0}));
                next += 10ms;
                std::this_thread::sleep_until(next);
            }
        });
        return "flows";
    }

    shmbus::Bus bus_;
    std::atomic<std::uint64_t> number_{0};
    std::map<std::string, std::unique_ptr<Receiver>> receivers_;
    std::jthread flow_;
    std::jthread blocked_;
};

}  // namespace

int main(int count, char** words) {
    if (count != 3) return 64;
    try {
        Process process(words[1], words[2]);
        std::cout << "ready" << std::endl;
        for (std::string line; std::getline(std::cin, line);)
            std::cout << process.obey(line) << std::endl;
    } catch (const std::exception& error) {
        std::cout << "failed: " << error.what() << std::endl;
        return 1;
    }
    return 0;
}

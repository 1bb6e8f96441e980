// Sending and handling in turn. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "steps.h"

#include "bus_house.h"
#include "bus_messages.h"

#include <shmbus/testing.h>

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <stdexcept>
#include <vector>

namespace shmbus::bench {
namespace {

constexpr std::size_t in_a_row = 1'024;

void insist_on(std::uint64_t came, std::size_t messages) {
    if (came != messages) throw std::runtime_error("messages are missing");
}

void step_round_trips(Bus& bus, std::size_t messages) {
    Endpoint asker = bus.endpoint("bench.asker");
    Endpoint answerer = bus.endpoint("bench.answerer");
    std::uint64_t answers = 0;
    asker.on<Pong<32>>([&](const Pong<32>&) { ++answers; });
    answerer.on<Ping<32>>([&](const Ping<32>& ping, Context& context) {
        Pong<32> pong;
        static_cast<Cargo<32>&>(pong) = ping;
        insist(context.send(pong), "answering");
    });
    const Ping<32> ping{};
    for (std::size_t i = 0; i < messages; ++i) {
        insist(bus.send(ping), "asking");
        answerer.poll();
        asker.poll();
    }
    insist_on(answers, messages);
}

void step_requests(Bus& bus, std::size_t messages) {
    Endpoint answerer = bus.endpoint("bench.answerer");
    answerer.on<Question>([](const Question& question) {
        Answer given;
        static_cast<Cargo<32>&>(given) = question;
        return given;
    });
    std::uint64_t answers = 0;
    const Question question{};
    for (std::size_t i = 0; i < messages; ++i) {
        bus.request(question).then([&](const Result<Answer>& answer) {
            if (!answer) give_up(answer.error(), "asking");
            ++answers;
        });
        answerer.poll();
        bus.poll();
    }
    insist_on(answers, messages);
}

// So many messages in a row put in by `send`, all handled before the next.
template <class Message>
void step_stream(Bus& bus, std::size_t messages, const std::function<void()>& send) {
    Endpoint endpoint = bus.endpoint("bench.receiver");
    std::uint64_t handled = 0;
    endpoint.on<Message>([&](const Message&) { ++handled; });
    for (std::size_t sent = 0; sent < messages; sent += in_a_row) {
        send();
        while (endpoint.poll() != 0) {
        }
    }
    insist_on(handled, messages);
}

void step_commands(Bus& bus, std::size_t messages) {
    const Parcel<32> parcel{};
    step_stream<Parcel<32>>(bus, messages, [&] {
        for (std::size_t i = 0; i < in_a_row; ++i) insist(bus.send(parcel), "sending");
    });
}

void step_packed(Bus& bus, std::size_t messages) {
    const std::vector<Parcel<32>> parcels(64);
    step_stream<Parcel<32>>(bus, messages, [&] {
        for (std::size_t i = 0; i < in_a_row; i += parcels.size())
            insist(bus.send_batch(std::span<const Parcel<32>>(parcels)), "sending");
    });
}

void step_loans(Bus& bus, std::size_t messages) {
    const Parcel<32> parcel{};
    step_stream<Parcel<32>>(bus, messages, [&] {
        for (std::size_t i = 0; i < in_a_row; ++i) {
            Loan<Parcel<32>> loan = bus.loan<Parcel<32>>();
            if (!loan) give_up(loan.error(), "loaning");
            *loan = parcel;
            loan.commit();
        }
    });
}

void step_events(Bus& bus, std::size_t messages) {
    const News<32> news{};
    step_stream<News<32>>(bus, messages, [&] {
        for (std::size_t i = 0; i < in_a_row; ++i) {
            const Result<Published> published = bus.publish(news);
            if (!published) give_up(published.error(), "publishing");
        }
    });
}

using Step = void (*)(Bus&, std::size_t);

const std::map<std::string, Step>& steps() {
    static const std::map<std::string, Step> all{
        {"pingpong", step_round_trips}, {"oneway", step_commands}, {"packed", step_packed},
        {"loan", step_loans},           {"publish", step_events},  {"request", step_requests}};
    return all;
}

}  // namespace

std::string steps_there_are() {
    std::string names;
    for (const auto& [name, step] : steps()) names += (names.empty() ? "" : ", ") + name;
    return names;
}

void step_through(const std::string& scenario, std::size_t messages) {
    const auto known = steps().find(scenario);
    if (known == steps().end())
        throw std::runtime_error("no profile of \"" + scenario + "\"; there are " +
                                 steps_there_are());
    find_daemon();
    testing::TemporaryBus temporary;
    known->second(temporary.bus(), messages);
}

}  // namespace shmbus::bench

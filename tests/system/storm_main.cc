// The storm as a program: storm [--kills N] [--seed N] [--seconds N] [--receivers N] [--threads N]
// [--plant loss|duplicate]
//
// Prints the kills by role and what the account found. Ends with 0 when nothing was wrong.
//
// SPDX-License-Identifier: BSL-1.0
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include "system/storm.h"

using namespace shmbus::test;

namespace {

StormPlan plan_from(int count, char** words) {
    StormPlan plan;
    plan.seed = std::random_device{}();
    for (int i = 1; i + 1 < count; i += 2) {
        const std::string_view key = words[i];
        const std::string_view value = words[i + 1];
        if (key == "--kills") plan.kills = static_cast<std::uint32_t>(std::stoul(words[i + 1]));
        else if (key == "--seed") plan.seed = std::stoull(words[i + 1]);
        else if (key == "--seconds") plan.limit = std::chrono::seconds(std::stoul(words[i + 1]));
        else if (key == "--receivers")
            plan.receivers = static_cast<std::uint32_t>(std::stoul(words[i + 1]));
        else if (key == "--threads")
            plan.threads = static_cast<std::uint32_t>(std::stoul(words[i + 1]));
        else if (key == "--plant" && value == "loss") plan.planted = Fault::loss;
        else if (key == "--plant" && value == "duplicate") plan.planted = Fault::duplicate;
        else throw std::invalid_argument("unknown option " + std::string(key));
    }
    if (plan.senders + plan.receivers > most_places)
        throw std::invalid_argument("more receivers than places");
    return plan;
}

void print(const char* who, const Toll& toll) {
    std::printf("%s: %u killed, %u of them in the midst of something\n", who, toll.killed,
                toll.hit);
}

}  // namespace

int main(int count, char** words) {
    try {
        const StormPlan plan = plan_from(count, words);
        if (::test::daemon_program().empty())
            throw std::runtime_error("no shmbusd was found; name it in SHMBUS_DAEMON");
        std::printf("seed %llu\n", static_cast<unsigned long long>(plan.seed));
        std::fflush(stdout);
        Storm storm(plan);
        auto wrong = storm.run();
        print("senders", storm.toll(Role::sender));
        print("receivers", storm.toll(Role::receiver));
        print("daemon", storm.toll(Role::daemon));
        std::printf("%s\n", storm.account().c_str());
        for (const Role role : {Role::sender, Role::receiver, Role::daemon}) {
            const Toll& toll = storm.toll(role);
            if (toll.hit * 2 < toll.killed)
                wrong.emplace_back("less than half of one role's kills hit anything");
        }
        for (const std::string& sentence : wrong) std::printf("wrong: %s\n", sentence.c_str());
        return wrong.empty() ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}

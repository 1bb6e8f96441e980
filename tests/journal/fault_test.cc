// Every call to the storage fails, once and for ever: nothing acknowledged is lost, nothing that
// was not synced is acknowledged, and a disk that is well again is served again.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "rig.h"

using namespace shmbus::test;
using namespace shmbus::journal;

namespace {

constexpr Weights everything{10, 10, 2, 2, 0, 8, 4, 4, 2, 2, 1};
constexpr int steps = 70;

struct Outcomes {
    std::uint64_t calls = 0;
    std::uint64_t runs = 0;
    std::uint64_t refused = 0;  // runs in which something was refused
};

// Dies, now and then the machine with it, and starts on a disk that is well. What is wrong then.
[[nodiscard]] std::string come_up_well(Rig& rig) {
    rig.kill();
    rig.disk.fault = {};
    if (rig.random() % 2 == 0) rig.disk.state = after_random_crash(rig.disk.state, rig.random);
    if (!rig.open())
        return "it does not come up: " +
               (rig.journal ? rig.journal->why_stopped() : std::string("it threw"));
    if (std::string what = rig.check(); !what.empty()) return what;
    return rig.disk.violations.empty() ? std::string() : rig.disk.violations[0];
}

// One run with one fault; afterwards the disk is well, the process dies, and all must be there.
[[nodiscard]] std::string run(std::uint64_t seed, const Fault& fault, Outcomes& outcomes) {
    Rig rig(seed);
    rig.disk.fault = fault;
    for (int step = 0; step < steps; ++step) rig.step(everything);
    ++outcomes.runs;
    if (fault.call == 0) outcomes.calls = rig.disk.calls;
    if (!rig.journal) ++outcomes.refused;
    if (std::string what = come_up_well(rig); !what.empty()) return what;
    // What it serves now is on disk and not in a cache that a failed sync has left behind.
    rig.lose_unsynced();
    if (!rig.open()) return "it does not come up after a power cut";
    if (std::string what = rig.check(); !what.empty()) return what + " (after a power cut)";
    // And goes on.
    for (int step = 0; step < 10; ++step) rig.step({});
    if (rig.journal) rig.commit();
    rig.kill();
    return rig.open() ? rig.check() : "it does not come up a second time";
}

// A disk as its first recovery left it that died in the middle, and what it must hold.
struct CutOff {
    DiskState disk;
    Allowed allowed;
};

// The machine dies behind some work, and again at every call of the recovery that follows.
[[nodiscard]] std::vector<CutOff> cut_off_recoveries(std::uint64_t seed) {
    constexpr Weights work{10, 10, 2, 2, 0, 8, 4, 4, 0, 0, 0};
    Rig rig(seed);
    for (int step = 0; step < 60; ++step) rig.step(work);
    rig.crash();
    std::vector<CutOff> found;
    rig.disk.before_change = [&] {
        found.push_back({after_random_crash(rig.disk.state, rig.random), rig.allowed});
    };
    REQUIRE(rig.open());
    return found;
}

// The recovery that follows meets a fault; the one behind that has a disk that is well.
[[nodiscard]] std::string recover_with(const CutOff& cut_off, std::uint64_t seed,
                                       const Fault& fault, Outcomes& outcomes) {
    Rig rig(seed);
    rig.disk.state = cut_off.disk;
    rig.allowed = cut_off.allowed;
    rig.disk.fault = fault;
    ++outcomes.runs;
    if (!rig.open()) ++outcomes.refused;
    if (fault.call == 0) outcomes.calls = rig.disk.calls;
    return come_up_well(rig);
}

void fail_every_call_of_a_second_recovery(int error, bool for_ever) {
    Outcomes outcomes;
    std::uint64_t cuts = 0, calls = 0;
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
        for (const CutOff& cut_off : cut_off_recoveries(seed)) {
            REQUIRE(recover_with(cut_off, seed, {}, outcomes).empty());
            calls += outcomes.calls;
            ++cuts;
            for (std::uint64_t call = 1; call <= outcomes.calls; ++call) {
                const std::string what =
                    recover_with(cut_off, seed, {call, error, for_ever}, outcomes);
                INFO("seed ", seed, ", cut ", cuts, ", call ", call, ": ", what);
                REQUIRE(what.empty());
            }
        }
    }
    CHECK(outcomes.runs == calls + cuts);
    MESSAGE("recoveries cut off: ", cuts, ", calls failed: ", calls, ", refused: ",
            outcomes.refused);
}

void fail_every_call(int error, bool for_ever) {
    Outcomes outcomes;
    for (const std::uint64_t seed : {1U, 2U}) {
        REQUIRE(run(seed, {}, outcomes).empty());
        const std::uint64_t calls = outcomes.calls;
        REQUIRE(calls > 100);
        for (std::uint64_t call = 1; call <= calls; ++call) {
            const std::string what = run(seed, {call, error, for_ever}, outcomes);
            INFO("seed ", seed, ", call ", call, " of ", calls, ": ", what);
            REQUIRE(what.empty());
        }
    }
    MESSAGE("runs: ", outcomes.runs, ", stopped at their end: ", outcomes.refused);
}

}  // namespace

TEST_SUITE("journal") {
TEST_CASE("each call fails once with an input or output error") { fail_every_call(EIO, false); }
TEST_CASE("each call fails, and all after it") { fail_every_call(EIO, true); }
TEST_CASE("each call fails once because the disk is full") { fail_every_call(ENOSPC, false); }
TEST_CASE("each write is cut short once and then the disk is full") {
    fail_every_call(0, false);
}
TEST_CASE("each write is cut short, and the disk stays full") { fail_every_call(0, true); }
TEST_CASE("each call of a recovery fails once behind a recovery that was cut off") {
    fail_every_call_of_a_second_recovery(EIO, false);
}
TEST_CASE("each call of a recovery and all after it fail behind a recovery that was cut off") {
    fail_every_call_of_a_second_recovery(EIO, true);
}
TEST_CASE("the disk is full at each call of a recovery behind a recovery that was cut off") {
    fail_every_call_of_a_second_recovery(ENOSPC, true);
    fail_every_call_of_a_second_recovery(0, true);
}
}

// The machine dies at every call of the journal, and every unsynced block may be lost, torn or
// misplaced: what was acknowledged is there, what was not is there whole or not at all.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <string>
#include <unordered_set>

#include "rig.h"

using namespace shmbus::test;
using namespace shmbus::journal;

namespace {

[[nodiscard]] std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
    const char* const told = std::getenv(name);
    return told != nullptr ? std::strtoull(told, nullptr, 10) : otherwise;
}

// Looks at disks as a crash would leave them. A disk that was seen before is not looked at again.
class Explorer {
public:
    std::uint64_t states = 0;
    std::uint64_t tried = 0;
    std::uint64_t killed = 0;
    std::string found;  // what is wrong, with the seed

    // All crashes of this moment that are few, and some of the others.
    void look(const DiskState& state, const Rig& rig, std::uint64_t random_states, int depth) {
        const std::size_t units = state.units();
        std::mt19937_64 dice(tried + 1);
        if (units > 0 && units <= 4)
            for (std::uint64_t kept = 0; kept < std::uint64_t{1} << units; ++kept)
                visit(after_crash(
                          state,
                          [&](std::size_t unit, const SimPending*) {
                              return (kept >> unit & 1U) != 0 ? Fate::kept : Fate::lost;
                          },
                          dice),
                      rig, depth);
        // The more is open to chance, the more of it is tried.
        for (std::uint64_t one = 0; units > 0 && one < random_states * units; ++one)
            visit(after_random_crash(state, dice), rig, depth);
        if (units == 0) visit(state, rig, depth);
        if (units > 0 && random_states > 1 && tried % 4 == 0) kill(state, rig);
    }

    // All processes die here, the machine lives: what the next one serves it must have synced.
    void kill(const DiskState& state, const Rig& rig) {
        ++killed;
        Rig after(killed, rig.options_of_disk());
        after.allowed = rig.allowed;
        after.disk.state = state;
        const auto check = [&](const char* when) {
            if (found.empty() && !after.open()) found = "it does not come up";
            if (found.empty()) found = after.check();
            if (!found.empty()) found += when;
        };
        if (!found.empty()) return;
        check(" (after a kill)");
        after.lose_unsynced();
        check(" (after a kill and a power cut)");
    }

private:
    void visit(DiskState state, const Rig& rig, int depth) {
        ++tried;
        if (!found.empty() || !seen_.insert(state.hash()).second) return;
        ++states;
        Rig after(tried, rig.options_of_disk());
        after.allowed = rig.allowed;
        after.disk.state = std::move(state);
        // Some recoveries are themselves cut off, at every call.
        if (depth > 0 && states % 40 == 0)
            after.disk.before_change = [&] { look(after.disk.state, after, 1, depth - 1); };
        const bool came_up = after.open();
        after.disk.before_change = nullptr;
        found = came_up ? after.check() : "it does not come up";
        if (!came_up && after.journal) found += ": " + after.journal->why_stopped();
        // It is not enough to come up: it must go on.
        if (found.empty() && states % 16 == 0) {
            for (int more = 0; more < 12; ++more) after.step({});
            if (after.journal) after.commit();
            if (after.journal) after.kill();
            found = after.open() ? after.check() : "it does not come up a second time";
            if (!found.empty()) found += " (after going on)";
        }
        if (found.empty() && !after.disk.violations.empty()) found = after.disk.violations[0];
    }

    std::unordered_set<std::uint64_t> seen_;
};

struct Workload {
    const char* name;
    Weights weights;
    int steps;
};

constexpr Weights with(Weights weights, int close, int kill, int crash) {
    weights.close = close;
    weights.kill = kill;
    weights.crash = crash;
    return weights;
}

constexpr Workload workloads[] = {
    {"a first start and little more", {}, 6},
    {"publishing", {20, 0, 1, 1, 0, 8, 3, 1, 0, 0, 0}, 90},
    {"publishing and settling", {}, 140},
    {"settling everything", {8, 20, 0, 0, 0, 8, 4, 4, 0, 0, 0}, 160},
    {"directory changes", {4, 4, 20, 6, 1, 10, 4, 2, 0, 0, 0}, 90},
    {"one that hardly settles", {14, 20, 1, 1, 0, 8, 3, 5, 0, 0, 0, true}, 220},
    {"the same with kills", {14, 20, 1, 1, 0, 8, 3, 5, 1, 2, 1, true}, 220},
    {"one that hardly settles", {14, 20, 1, 1, 0, 8, 3, 5, 0, 0, 0, true}, 220},
    {"the same with kills", {14, 20, 1, 1, 0, 8, 3, 5, 1, 2, 1, true}, 220},
    {"clean stops", with({}, 3, 0, 0), 90},
    {"kills", with({}, 0, 3, 0), 90},
    {"crash upon crash", with({}, 1, 1, 3), 90},
};

}  // namespace

TEST_SUITE("journal") {
TEST_CASE("a crash at any call loses nothing acknowledged and invents nothing") {
    const std::uint64_t wanted = number_from("SHMBUS_CRASH_STATES", 200'000);
    const std::uint64_t per_workload = wanted / 48 + 1;
    Explorer explorer;
    std::uint64_t runs = 0;
    std::map<std::string, std::uint64_t> made;
    std::uint64_t begun = 0;
    for (std::uint64_t seed = 1;
         explorer.found.empty() && (explorer.states < wanted || runs < 40); ++seed) {
        const Workload& workload = workloads[seed % std::size(workloads)];
        Options options = Rig::small_options();
        // Smaller batches leave room for more of them that are written early.
        if (seed % 3 == 0) options.most_batch_bytes /= 2;
        Rig rig(seed, options);
        const std::uint64_t until = explorer.states + per_workload;
        // Some begin late, when there is more to be lost: checkpoints, merged and removed segments.
        const int first_step = static_cast<int>(seed * 7919 % 100) * workload.steps / 110;
        int now = 0;
        rig.disk.before_change = [&] {
            if (now >= first_step && explorer.states < until)
                explorer.look(rig.disk.state, rig, 6, 1);
        };
        for (int step = 0; step < workload.steps && explorer.found.empty(); ++step) {
            now = step;
            rig.step(workload.weights);
        }
        ++runs;
        for (const auto& [name, count] : rig.disk.renamed) made[name] += count;
        begun += rig.disk.begun_writes;
        INFO("seed ", seed, ", ", workload.name, ": ", explorer.found);
        REQUIRE(explorer.found.empty());
        REQUIRE(rig.disk.violations.empty());
    }
    MESSAGE("distinct disk states: ", explorer.states, " of ", explorer.tried, " in ", runs,
            " workloads with ", made["tmp-seg"], " segments, ", made["tmp-ckpt"], " checkpoints, ",
            made["tmp-merge"], " merges, ", begun, " early writes; kills: ", explorer.killed);
    CHECK(begun > 0);
}
}

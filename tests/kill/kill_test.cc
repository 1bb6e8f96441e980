// Kills a process before each single operation on a shared word, and looks at what is left.
//
// For each role and each state of the lane: fork, die at step 1, 2, 3, ... until the role comes to
// its end alive. After every death a survivor goes on, and the account outside the bus must show no
// loss of what was published, no phantom, no unmarked duplicate and the order of the sender; no
// hand may be left and all room must be free. The number of steps is held against steps.txt, so
// that a harness that stops visiting them is noticed; the numbers there leave a little room,
// because a slow machine handles smaller batches.
//
// In the same way a role is overtaken before each single operation by somebody who does something
// there and then, which is how races are visited that no death is needed for.
//
// Covered is every operation on a shared word of the lane: what lies between two of them is
// invisible to others but for the bytes of a record, which nobody reads before the next one.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "kill/steps.h"
#include "lane/doorbell.h"
#include "lane/metrics_map.h"
#include "lane/onlooker.h"
#include "support/ledger.h"
#include "support/scene.h"

namespace shmbus::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t lane_id = 5;
constexpr std::uint32_t sender = 1;
constexpr std::uint32_t payload_bytes = 4 * 64 - 16;  // four units: sixteen fill the lane

// What lies in the lane when the role begins.
struct State {
    const char* name;
    std::uint64_t gone;   // sent and handled before: moves the start of the records
    std::uint64_t there;  // sent and waiting
};
constexpr std::array states{
    State{"empty", 0, 0},       State{"one", 0, 1},   State{"full-but-one", 0, 15},
    State{"full", 0, 16},       State{"wrap", 12, 8}, State{"wrap-full", 5, 16},
};

// What the survivor has to find, and the tools to find it.
class Life {
public:
    Life() : ledger(scene.directory.path() + "/ledger") {
        static_cast<void>(scene.make_lane(lane_id));
        for (const std::uint64_t participant : {1U, 2U, 3U}) {
            scene.make_participant(participant);
            static_cast<void>(scene.admin->assign_consumer(participant));
        }
        presence_ = scene.live_as(1);
        survivor_ = scene.consume(0, 1);
    }

    // Sends the next message, or says that it was refused.
    bool send_next(lane::Writer& writer, const lane::InboxView& view) {
        const std::uint64_t number = next_++;
        ledger.tried(sender, number);
        if (!send(writer, sender, number, payload_bytes)) {
            writer.wait_for_room(view, units_for(payload_bytes), 1ms);
            if (!send(writer, sender, number, payload_bytes)) {
                ledger.refused(sender, number);
                return false;
            }
        }
        lane::ring(view.doorbell(), true, nullptr);
        ledger.accepted(sender, number);
        return true;
    }
    // One batch, or nothing.
    bool handle_one(lane::Consumer& consumer, std::uint32_t receiver) {
        lane::Batch* batch = consumer.take(2);
        if (batch == nullptr) return false;
        handle(consumer, *batch, [&](const std::optional<Cargo>& cargo, bool marked) {
            ledger.handled(receiver, sender, cargo ? cargo->number : 0, marked);
        });
        return true;
    }
    // The survivor takes and handles one batch, if there is one.
    void survivor_handles_one() { static_cast<void>(handle_one(*survivor_, 1)); }
    // The survivor handles everything there is; false when something remains at the limit.
    bool survive() {
        return comes_true([&] {
            while (handle_one(*survivor_, 1)) {
            }
            return !survivor_->anything_there() && scene.no_hand_holds_anything();
        });
    }
    // Sentences about what is wrong in the end; empty when all is well.
    std::vector<std::string> verdict() {
        std::vector<std::string> found;
        // Each record is four units, from position 0 on, so the positions tell the truth.
        const lane::LaneOnlooker::Count count =
            lane::LaneOnlooker(scene.open_lane(lane_id)).count();
        if (!count.is_exact || count.messages * 4 != count.tail)
            found.push_back("the lane counts " + std::to_string(count.messages) +
                            " messages up to position " + std::to_string(count.tail));
        if (!survive()) found.push_back("the survivor came to no end");
        for (std::string& one : violations(ledger.read(), true)) found.push_back(std::move(one));
        const std::uint64_t settled = lane::InboxOnlooker(scene.open_inbox()).settled();
        if (settled * 4 != scene.head_of(lane_id))
            found.push_back("the hands count " + std::to_string(settled) +
                            " messages up to position " + std::to_string(scene.head_of(lane_id)));
        if (!scene.no_hand_holds_anything()) found.push_back("a hand still holds something");
        if (scene.room_of(lane_id) != scene.head_of(lane_id))
            found.push_back("room is held back for nobody");
        if (survivor_->poisoned_lanes() != 0) found.push_back("poisoned: " + scene.log);
        return found;
    }

    Scene scene;
    LedgerFile ledger;

private:
    std::unique_ptr<base::Presence> presence_;
    std::unique_ptr<lane::Consumer> survivor_;
    std::uint64_t next_ = 1;
};

// How a run ended: killed (or overtaken) at its step, or at the end of its role before that step,
// or in another way, which is a failure.
enum class End : std::uint8_t { killed, alive, wrong };
End end_of(int status) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return End::killed;
    return exited_with(status, 0) ? End::alive : End::wrong;
}

struct Report {
    End end = End::wrong;
    std::vector<std::string> wrong;
};

// The writer fills the state, then sends three more and closes, and dies at `kill_at`.
Report writer_dies(const State& state, std::uint64_t kill_at) {
    Life life;
    SharedStep step;
    Child child([&]() -> int {
        lane::Writer writer(life.scene.open_lane(lane_id));
        const lane::InboxView view(life.scene.open_inbox());
        for (std::uint64_t i = 0; i < state.gone; ++i)
            if (!life.send_next(writer, view)) return 1;
        step.reach(1);
        if (!step.wait_for(2)) return 2;
        for (std::uint64_t i = 0; i < state.there; ++i)
            if (!life.send_next(writer, view)) return 3;
        die_at_step(kill_at);
        for (int i = 0; i < 3; ++i) static_cast<void>(life.send_next(writer, view));
        writer.close();
        return 0;
    });
    if (!step.wait_for(1) || !life.survive()) return {End::wrong, {"the state was not reached"}};
    step.reach(2);
    const End end = end_of(child.reap());
    return {end, life.verdict()};
}

// A consumer joins, handles up to three batches, sleeps once, leaves; dies at `kill_at`.
int consume_and_die(Life& life, std::uint16_t slot, std::uint64_t participant,
                    std::uint64_t kill_at) {
    const auto presence = life.scene.live_as(participant);
    die_at_step(kill_at);
    const auto consumer = life.scene.consume(slot, participant);
    for (int batches = 0; batches < 3; ++batches)
        if (!life.handle_one(*consumer, static_cast<std::uint32_t>(participant))) break;
    consumer->sleep(1ms);
    static_cast<void>(life.handle_one(*consumer, static_cast<std::uint32_t>(participant)));
    return 0;
}

// The sender's side of the runs in which a consumer dies: lives in the test's process.
struct LivingWriter {
    explicit LivingWriter(Life& life)
        : writer(life.scene.open_lane(lane_id)), view(life.scene.open_inbox()) {}
    bool reach(Life& life, const State& state) {
        for (std::uint64_t i = 0; i < state.gone; ++i)
            if (!life.send_next(writer, view)) return false;
        if (!life.survive()) return false;
        for (std::uint64_t i = 0; i < state.there; ++i)
            if (!life.send_next(writer, view)) return false;
        return true;
    }
    // Goes on after the death: the survivor must make room enough for a whole lane.
    std::vector<std::string> go_on(Life& life) {
        std::vector<std::string> found;
        if (!life.survive()) found.push_back("the survivor came to no end");
        for (int i = 0; i < 16; ++i)
            if (!life.send_next(writer, view)) found.push_back("no room after the death");
        for (std::string& one : life.verdict()) found.push_back(std::move(one));
        return found;
    }
    lane::Writer writer;
    lane::InboxView view;
};

Report consumer_dies(const State& state, std::uint64_t kill_at) {
    Life life;
    LivingWriter sending(life);
    if (!sending.reach(life, state)) return {End::wrong, {"the state was not reached"}};
    Child child([&] { return consume_and_die(life, 1, 2, kill_at); });
    const End end = end_of(child.reap());
    return {end, sending.go_on(life)};
}

// A process sends to itself and handles each message before the next, so that all but the first are
// taken the short way, alike the one before. It dies at `kill_at`, as sender and as receiver.
Report single_dies(std::uint64_t kill_at) {
    Life life;
    Child child([&]() -> int {
        const auto presence = life.scene.live_as(2);
        lane::Writer writer(life.scene.open_lane(lane_id));
        const lane::InboxView view(life.scene.open_inbox());
        const auto consumer = life.scene.consume(1, 2);
        die_at_step(kill_at);
        for (int i = 0; i < 4; ++i) {
            if (!life.send_next(writer, view)) return 1;
            while (life.handle_one(*consumer, 2)) {
            }
        }
        return 0;
    });
    const End end = end_of(child.reap());
    return {end, life.verdict()};
}

// Whether a first consumer that dies at `first_kill` leaves a hand that still says TAKING though
// the head has moved: the take happened and only the head tells.
bool leaves_taking(const State& state, std::uint64_t first_kill) {
    Life life;
    LivingWriter sending(life);
    if (!sending.reach(life, state)) return false;
    const std::uint64_t before = life.scene.head_of(lane_id);
    Child first([&] { return consume_and_die(life, 1, 2, first_kill); });
    if (end_of(first.reap()) != End::killed) return false;
    const auto word =
        sending.view.hands()[1 * lane::hands_each].word.load(std::memory_order_seq_cst);
    return lane::state_in(word) == lane::HandState::taking &&
           life.scene.head_of(lane_id) > before;
}

// One consumer has died; a second takes over what it held and dies at `kill_at`.
Report adopter_dies(const State& state, std::uint64_t first_kill, std::uint64_t kill_at) {
    Life life;
    LivingWriter sending(life);
    if (!sending.reach(life, state)) return {End::wrong, {"the state was not reached"}};
    Child first([&]() -> int {
        if (first_kill != 0) return consume_and_die(life, 1, 2, first_kill);
        const auto presence = life.scene.live_as(2);
        const auto consumer = life.scene.consume(1, 2);
        lane::Batch* batch = consumer->take(2);
        if (batch == nullptr) return 1;
        batch->set(0, lane::Progress{0, 0, 1});
        return ::kill(::getpid(), SIGKILL);
    });
    if (end_of(first.reap()) != End::killed) return {End::wrong, {"the first one did not die"}};
    Child second([&] { return consume_and_die(life, 2, 3, kill_at); });
    const End end = end_of(second.reap());
    return {end, sending.go_on(life)};
}

// A consumer that joins while somebody counts the room, and holds what it has taken.
class Newcomer {
public:
    explicit Newcomer(Scene& scene) : scene_(scene) {}
    void joins_and_takes() {
        const auto slot = scene_.admin->assign_consumer(2);
        consumer_ = scene_.consume(slot.value_or(lane::most_consumers), 2);
        batch_ = consumer_->take(1);
    }
    // What is wrong with what it holds; empty when nothing is.
    [[nodiscard]] std::vector<std::string> verdict(std::uint64_t number) const {
        if (batch_ == nullptr) return {"the newcomer found nothing to take"};
        const std::optional<Cargo> cargo = cargo_of(batch_->entry(0));
        if (!cargo || cargo->number != number) return {"what the newcomer holds was overwritten"};
        return {};
    }

private:
    Scene& scene_;
    std::unique_ptr<lane::Consumer> consumer_;
    lane::Batch* batch_ = nullptr;
};

// The room of a full lane is counted by its writer, or by a reader that has handled a quarter.
// A newcomer overtakes that at the step `at`; then the writer goes on as far as it believes it may.
enum class Counter : std::uint8_t { writer, reader };
Report newcomer_joins(Counter counter, std::uint64_t at) {
    Scene scene;
    lane::Writer writer(scene.make_lane(lane_id));
    const lane::InboxView view(scene.open_inbox());
    scene.make_participant(1);
    scene.make_participant(2);
    static_cast<void>(scene.admin->assign_consumer(1));
    const auto life = scene.live_as(1);
    const auto first = scene.consume(0, 1);
    for (std::uint64_t number = 1; number <= 16; ++number)
        if (!send(writer, sender, number, payload_bytes)) return {End::wrong, {"not filled"}};
    Newcomer newcomer(scene);
    const auto joins = [&] { newcomer.joins_and_takes(); };
    std::uint64_t held = 1;
    if (counter == Counter::writer) {
        interrupt_at_step(at, joins);
        static_cast<void>(writer.count_room(view, units_for(payload_bytes)));
    } else {
        // A quarter of the lane is handled: the fourth record's end counts the room.
        for (; held <= 4; ++held) {
            lane::Batch* batch = first->take(1);
            if (batch == nullptr) return {End::wrong, {"nothing to take"}};
            if (held == 4) interrupt_at_step(at, joins);
            handle(*first, *batch, [](const auto&, bool) {});
        }
    }
    if (!end_of_steps()) return {End::alive, {}};
    std::uint64_t next = 17;
    while (send(writer, sender, next, payload_bytes)) ++next;
    std::vector<std::string> wrong = newcomer.verdict(held);
    if (next != 16 + held)
        wrong.push_back("the writer found room for " + std::to_string(next - 17));
    return {End::killed, wrong};
}

// The place of a consumer that died at `first_kill` is given to a new one, which takes over what is
// left there. At the step `at` of that the survivor takes the next record, and has to help for it.
Report place_is_given_again(const State& state, std::uint64_t first_kill, std::uint64_t at) {
    Life life;
    LivingWriter sending(life);
    if (!sending.reach(life, state)) return {End::wrong, {"the state was not reached"}};
    Child first([&] { return consume_and_die(life, 1, 2, first_kill); });
    if (end_of(first.reap()) != End::killed) return {End::wrong, {"the first one did not die"}};
    life.scene.admin->free_consumer(2);
    life.scene.admin->replace_consumer(1, 3);
    const auto presence = life.scene.live_as(3);
    interrupt_at_step(at, [&] { life.survivor_handles_one(); });
    const auto heir = life.scene.consume(1, 3);
    if (!end_of_steps()) return {End::alive, {}};
    while (life.handle_one(*heir, 3)) {
    }
    return {End::killed, sending.go_on(life)};
}

// What an onlooker finds while the row of lane 5, with this many in a bucket, becomes lane 6's.
constexpr std::uint64_t counted = 100;
std::vector<std::string> look_at_row(const lane::InboxOnlooker& inbox) {
    std::vector<std::string> wrong;
    const lane::Metrics metrics = inbox.metrics(0);
    for (const auto& seen : metrics.timed_lanes()) {
        const std::uint64_t shown = inbox.times_of_lane(0, seen)[2][lane::buckets - 1];
        if (seen.lane == 5 ? shown != counted : shown != 0)
            wrong.push_back("lane " + std::to_string(seen.lane) + " is shown with " +
                            std::to_string(shown));
    }
    return wrong;
}

Report row_changes_its_lane(std::uint64_t at) {
    using Atomics = base::StdAtomics;
    Scene scene;
    const lane::MetricsMap block(*scene.inbox, 0);
    const lane::TimesMap row(*scene.inbox, lane::lane_times_at(0, 0));
    auto& name = block.block().timed_lanes[0];
    lane::name_row<Atomics>(name, row.block(), 5);
    // relaxed: nobody else is here.
    row.block()[2][lane::buckets - 1].store(counted, std::memory_order_relaxed);
    const lane::InboxOnlooker inbox(scene.open_inbox());
    std::vector<std::string> wrong;
    // What is seen there is also what a death there leaves.
    interrupt_at_step(at, [&] { wrong = look_at_row(inbox); });
    lane::name_row<Atomics>(name, row.block(), 6);
    if (!end_of_steps()) return {End::alive, look_at_row(inbox)};
    return {End::killed, wrong};
}

// Steps that each scenario had when it was last written down; fewer means that some are missed.
std::map<std::string, std::uint64_t> stored_steps() {
    const char* root = std::getenv("SHMBUS_SOURCE_ROOT");
    REQUIRE(root != nullptr);
    std::ifstream file(std::string(root) + "/tests/kill/steps.txt");
    std::map<std::string, std::uint64_t> stored;
    for (std::string name; file >> name;) file >> stored[name];
    return stored;
}

template <class Run>
void visit_every_step(const std::string& name, Run&& run) {
    std::uint64_t kill_at = 1;
    for (;; ++kill_at) {
        REQUIRE(kill_at < 5000);
        const Report report = run(kill_at);
        for (const std::string& sentence : report.wrong)
            FAIL_CHECK(name << ", at step " << kill_at << ": " << sentence);
        REQUIRE(report.end != End::wrong);
        if (report.end == End::alive) break;
    }
    const auto stored = stored_steps();
    MESSAGE(name << ": " << kill_at - 1 << " steps");
    CHECK(stored.contains(name));
    if (stored.contains(name)) CHECK(kill_at - 1 >= stored.at(name));
}

TEST_SUITE("kill") {
TEST_CASE("a writer may be killed at any step") {
    for (const State& state : states)
        visit_every_step(std::string("writer/") + state.name,
                         [&](std::uint64_t kill_at) { return writer_dies(state, kill_at); });
}
TEST_CASE("a consumer to which messages come singly may be killed at any step") {
    visit_every_step("single", single_dies);
}
TEST_CASE("a consumer may be killed at any step") {
    for (const State& state : states)
        visit_every_step(std::string("consumer/") + state.name,
                         [&](std::uint64_t kill_at) { return consumer_dies(state, kill_at); });
}
TEST_CASE("an adopter may be killed at any step, the first death being in a handler") {
    for (const State& state : {states[1], states[3], states[4]})
        visit_every_step(std::string("adopter/") + state.name, [&](std::uint64_t kill_at) {
            return adopter_dies(state, 0, kill_at);
        });
}
TEST_CASE("an adopter may be killed at any step, the first death being just behind the head") {
    const State& state = states[4];
    std::uint64_t first_kill = 1;
    while (first_kill < 500 && !leaves_taking(state, first_kill)) ++first_kill;
    REQUIRE(first_kill < 500);
    visit_every_step("adopter-of-taking/wrap", [&](std::uint64_t kill_at) {
        return adopter_dies(state, first_kill, kill_at);
    });
    visit_every_step("heir-overtaken/wrap", [&](std::uint64_t at) {
        return place_is_given_again(state, first_kill, at);
    });
}
TEST_CASE("a row of times may be looked at, or left, at any step of its change of lane") {
    visit_every_step("row-changes-its-lane", row_changes_its_lane);
}
TEST_CASE("a consumer may join at any step of somebody's count of the room") {
    visit_every_step("count-by-writer",
                     [](std::uint64_t at) { return newcomer_joins(Counter::writer, at); });
    visit_every_step("count-by-reader",
                     [](std::uint64_t at) { return newcomer_joins(Counter::reader, at); });
}
}

}  // namespace
}  // namespace shmbus::test

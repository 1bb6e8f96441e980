// Several consumers of one inbox, and what is left when one of them is killed or stopped.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <sys/resource.h>

#include "base/random.h"
#include "lane/doorbell.h"
#include "lane/onlooker.h"
#include "support/ledger.h"
#include "support/scene.h"

namespace shmbus::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t lane_id = 5;
constexpr std::uint64_t survivor = 1;  // participants
constexpr std::uint64_t victim = 2;

// The test's process is the sender and the survivor; the victim is forked.
struct Crew {
    Crew() : writer(scene.make_lane(lane_id)), view(*scene.inbox) {
        for (const std::uint64_t who : {survivor, victim}) {
            scene.make_participant(who);
            static_cast<void>(scene.admin->assign_consumer(who));
        }
        life = scene.live_as(survivor);
        consumer = scene.consume(0, survivor);
    }
    void fill(std::uint64_t first, std::uint64_t last) {
        for (std::uint64_t number = first; number <= last; ++number)
            REQUIRE(send(writer, 1, number));
    }
    // Runs `body` in a process that has joined as the victim.
    template <class Body>
    std::unique_ptr<Child> fork_victim(Body&& body) {
        return std::make_unique<Child>([&]() -> int {
            const auto its_life = scene.live_as(victim);
            const auto its_consumer = scene.consume(1, victim);
            return body(*its_consumer);
        });
    }
    // One that has taken a message, has come so far with it, and stays there.
    std::unique_ptr<Child> fork_holder(std::optional<lane::Progress> progress = {}) {
        auto child = fork_victim([&](lane::Consumer& mine) {
            lane::Batch* const batch = mine.take(1);
            if (progress) batch->set(0, *progress);
            step.reach(1);
            return stay();
        });
        REQUIRE(step.wait_for(1));
        return child;
    }
    // Everything there is now, {number, marked}, waiting at most `limit` for `count` of them.
    std::vector<std::pair<std::uint64_t, bool>> drain(std::size_t count) {
        std::vector<std::pair<std::uint64_t, bool>> found;
        const auto until = std::chrono::steady_clock::now() + limit;
        while (found.size() < count && std::chrono::steady_clock::now() < until) {
            lane::Batch* batch = consumer->take(64);
            if (batch == nullptr) {
                consumer->sleep(50ms);
                continue;
            }
            handle(*consumer, *batch, [&](const std::optional<Cargo>& cargo, bool marked) {
                found.emplace_back(cargo ? cargo->number : 0, marked);
            });
        }
        return found;
    }
    void check_all_room_is_back() {
        CHECK(scene.no_hand_holds_anything());
        CHECK(scene.room_of(lane_id) == scene.head_of(lane_id));
        CHECK(writer.count_room(view, 64));
    }

    Scene scene;
    lane::Writer writer;
    lane::InboxView view;
    std::unique_ptr<base::Presence> life;
    std::unique_ptr<lane::Consumer> consumer;
    SharedStep step;
};

using Found = std::vector<std::pair<std::uint64_t, bool>>;

TEST_SUITE("lane") {
TEST_CASE("competing consumers share the messages, none is lost and none is handled twice") {
    Crew crew;
    constexpr std::uint64_t count = 20'000;
    constexpr std::uint32_t readers = 3;
    const std::string path = crew.scene.directory.path() + "/ledger";
    LedgerFile ledger(path);
    for (std::uint64_t who = 3; who <= 4; ++who) {
        crew.scene.make_participant(who);
        REQUIRE(crew.scene.admin->assign_consumer(who) == static_cast<std::uint16_t>(who - 1));
    }
    std::vector<std::unique_ptr<Child>> children;
    for (std::uint16_t reader = 1; reader <= readers; ++reader) {
        children.push_back(std::make_unique<Child>([&, reader]() -> int {
            const auto its_life = crew.scene.live_as(1ULL + reader);
            const auto consumer = crew.scene.consume(reader, 1ULL + reader);
            LedgerFile mine(path);
            bool last = false;
            while (!last) {
                lane::Batch* batch = consumer->take(8);
                if (batch == nullptr) {
                    consumer->sleep(50ms);
                    last = crew.step.told() == 1;
                    continue;
                }
                handle(*consumer, *batch, [&](const std::optional<Cargo>& cargo, bool marked) {
                    mine.handled(reader, 1, cargo ? cargo->number : 0, marked);
                });
            }
            return 0;
        }));
    }
    for (std::uint64_t number = 1; number <= count; ++number) {
        ledger.tried(1, number);
        REQUIRE(comes_true([&] {
            if (send(crew.writer, 1, number)) return true;
            crew.writer.wait_for_room(crew.view, 1, 10ms);
            return false;
        }));
        lane::ring(crew.view.doorbell(), true, nullptr);
        ledger.accepted(1, number);
    }
    REQUIRE(comes_true([&] {
        return crew.scene.head_of(lane_id) == count && crew.scene.no_hand_holds_anything();
    }));
    crew.step.tell(1);
    for (auto& child : children) CHECK(exited_with(child->reap(), 0));
    CHECK(violations(ledger.read(), true).empty());
    crew.check_all_room_is_back();
}
TEST_CASE("what was adopted is held since then, and not since the dead one took it") {
    Crew crew;
    crew.fill(1, 1);
    auto child = crew.fork_holder();
    child->signal(SIGKILL);
    child->reap();
    const std::uint64_t behind = base::ticks();
    REQUIRE(comes_true([&] { return crew.consumer->rescue(); }));
    const auto hands = lane::InboxOnlooker(crew.scene.open_inbox()).hands();
    REQUIRE(hands.size() == 1);
    CHECK(hands[0].owner == 0);
    CHECK(hands[0].since_ticks >= behind);
    CHECK(hands[0].since_ticks <= base::ticks());
    // Nothing else of it has changed.
    CHECK(crew.drain(1) == Found{{1, true}});
    crew.check_all_room_is_back();
}
TEST_CASE("what a killed consumer held is delivered to a survivor, marked, its signal known") {
    Crew crew;
    crew.fill(1, 5);
    auto child = crew.fork_victim([&](lane::Consumer& mine) {
        lane::Batch* first = mine.take(1);
        handle(mine, *first, [](const std::optional<Cargo>&, bool) {});
        static_cast<void>(mine.take(1));
        crew.step.reach(1);
        stay();
        return 0;
    });
    REQUIRE(crew.step.wait_for(1));
    child->signal(SIGKILL);
    child->reap();
    REQUIRE(comes_true([&] { return crew.consumer->rescue(); }));
    lane::Batch* batch = crew.consumer->take(1);
    REQUIRE(comes_true([&] {
        if (batch == nullptr) batch = crew.consumer->take(1);
        return batch != nullptr;
    }));
    Found found;
    if (!batch->adopted) {  // what was waiting may come first
        handle(*crew.consumer, *batch, [&](const std::optional<Cargo>& cargo, bool marked) {
            found.emplace_back(cargo.value_or(Cargo{}).number, marked);
        });
    } else {
        CHECK((batch->signal() == SIGKILL || batch->signal() == 0));
        handle(*crew.consumer, *batch, [&](const std::optional<Cargo>& cargo, bool marked) {
            found.emplace_back(cargo.value_or(Cargo{}).number, marked);
        });
    }
    const Found rest = crew.drain(4 - found.size());
    found.insert(found.end(), rest.begin(), rest.end());
    std::sort(found.begin(), found.end());
    CHECK(found == Found{{2, true}, {3, false}, {4, false}, {5, false}});
    crew.check_all_room_is_back();
}
TEST_CASE("a survivor that sleeps is woken by the death itself and takes over") {
    Crew crew;
    crew.fill(1, 1);
    auto child = crew.fork_holder();
    CHECK_FALSE(crew.consumer->anything_there());
    Child killer([&]() -> int {
        const lane::InboxView view(crew.scene.open_inbox());
        // The survivor has set its bit: it sleeps or is about to.
        if (!comes_true(
                [&] { return view.doorbell().sleepers.load(std::memory_order_seq_cst) != 0; }))
            return 1;
        return ::kill(child->pid(), SIGKILL) == 0 ? 0 : 2;
    });
    CHECK(crew.drain(1) == Found{{1, true}});
    CHECK(exited_with(killer.reap(), 0));
    crew.check_all_room_is_back();
}
TEST_CASE("a stopped consumer keeps only what it took, the others have the rest") {
    Crew crew;
    crew.fill(1, 4);
    auto child = crew.fork_victim([&](lane::Consumer& mine) {
        lane::Batch* batch = mine.take(1);
        crew.step.reach(1);
        if (!crew.step.wait_for(2)) return 1;
        bool marked = true;
        handle(mine, *batch, [&](const std::optional<Cargo>& cargo, bool adopted) {
            marked = adopted || cargo.value_or(Cargo{}).number != 1;
        });
        crew.step.reach(3);
        return marked ? 2 : 0;
    });
    REQUIRE(crew.step.wait_for(1));
    child->signal(SIGSTOP);
    CHECK(crew.drain(3) == Found{{2, false}, {3, false}, {4, false}});
    for (int i = 0; i < 20; ++i) CHECK_FALSE(crew.consumer->rescue());
    CHECK(crew.drain(0).empty());
    CHECK(lane::oldest_holder(crew.writer, crew.view).participant == victim);
    child->signal(SIGCONT);
    crew.step.reach(2);
    REQUIRE(crew.step.wait_for(3));
    CHECK(exited_with(child->reap(), 0));
    crew.check_all_room_is_back();
}
TEST_CASE("a message whose handler was done before the death is not delivered again") {
    Crew crew;
    crew.fill(1, 1);
    auto child = crew.fork_holder(lane::Progress{1, 0, 0});
    child->kill_now();
    REQUIRE(comes_true([&] { return crew.consumer->rescue(); }));
    // The batch is found, and finished without a handler.
    unsigned handled = 0;
    REQUIRE(comes_true([&] {
        if (lane::Batch* batch = crew.consumer->take(1))
            handle(*crew.consumer, *batch, [&](const std::optional<Cargo>&, bool) { ++handled; });
        return crew.scene.no_hand_holds_anything();
    }));
    CHECK(handled == 0);
    crew.check_all_room_is_back();
}
TEST_CASE("the survivor dies as well: the third finds both deaths' messages, with their attempts") {
    Crew crew;
    crew.fill(1, 1);
    auto child = crew.fork_holder(lane::Progress{0, 0, 1});
    child->kill_now();
    crew.scene.make_participant(3);
    REQUIRE(crew.scene.admin->assign_consumer(3) == std::uint16_t{2});
    Child second([&]() -> int {
        const auto its_life = crew.scene.live_as(3);
        const auto mine = crew.scene.consume(2, 3);
        lane::Batch* batch = nullptr;
        if (!comes_true([&] { return (batch = mine->take(1)) != nullptr; })) return 1;
        lane::Progress progress = batch->progress(0);
        if (!batch->adopted || progress.starts != 1) return 2;
        ++progress.starts;
        batch->set(0, progress);
        crew.step.reach(2);
        stay();
    });
    REQUIRE(crew.step.wait_for(2));
    second.kill_now();
    lane::Batch* batch = nullptr;
    REQUIRE(comes_true([&] { return (batch = crew.consumer->take(1)) != nullptr; }));
    CHECK(batch->adopted);
    CHECK(batch->progress(0).starts == 2);
    handle(*crew.consumer, *batch, [](const std::optional<Cargo>&, bool) {});
    crew.check_all_room_is_back();
}
TEST_CASE("whoever gets a dead consumer's place delivers what was left there") {
    Crew crew;
    crew.fill(1, 2);
    auto child = crew.fork_holder();
    child->kill_now();
    crew.scene.make_participant(3);
    crew.scene.admin->replace_consumer(1, 3);
    Child heir([&]() -> int {
        const auto its_life = crew.scene.live_as(3);
        const auto mine = crew.scene.consume(1, 3);
        unsigned marked = 0;
        unsigned plain = 0;
        if (!comes_true([&] {
                if (lane::Batch* batch = mine->take(1))
                    handle(*mine, *batch, [&](const std::optional<Cargo>&, bool adopted) {
                        ++(adopted ? marked : plain);
                    });
                return marked + plain == 2;
            }))
            return 1;
        return marked == 1 ? 0 : 2;
    });
    CHECK(exited_with(heir.reap(), 0));
    crew.check_all_room_is_back();
}
TEST_CASE("a take from a lane that the survivor has not heard of yet is not taken for no take") {
    Crew crew;
    // After the survivor's last look at the table a lane comes, and the victim takes from it and
    // dies just behind the head's move: its hand says TAKING, the head names it.
    lane::Writer late(crew.scene.make_lane(6));
    REQUIRE(send(late, 2, 1));
    const lane::LaneParts parts(crew.scene.open_lane(6), lane::LaneParts::Side::reader);
    const base::Mapping all(crew.scene.open_inbox(), {0, lane::inbox_bytes},
                            base::Access::read_write);
    constexpr std::uint16_t index = 1 * lane::hands_each;
    lane::StdHand& hand = all.at<lane::StdHands>(lane::hands_at)[index];
    auto& head = parts.reader_page().head;
    REQUIRE(lane::take<base::StdAtomics>(head, head.load(std::memory_order_acquire), hand, index, 1,
                                         lane::Span{6, 0, 1, 1, 0}));
    const std::uint64_t word = hand.word.load(std::memory_order_seq_cst);
    hand.word.store(lane::hand_word(lane::sequence_in(word), 1, lane::HandState::taking),
                    std::memory_order_seq_cst);
    auto child = std::make_unique<Child>([&]() -> int {
        const auto its_life = crew.scene.live_as(victim);
        crew.step.reach(1);
        stay();
    });
    REQUIRE(crew.step.wait_for(1));
    child->kill_now();
    REQUIRE(comes_true([&] { return crew.consumer->rescue(); }));
    CHECK(crew.drain(1) == Found{{1, true}});
}
TEST_CASE("a sleeper is woken by a message long before its limit") {
    Crew crew;
    Child sender([&]() -> int {
        const lane::InboxView view(crew.scene.open_inbox());
        if (!comes_true(
                [&] { return view.doorbell().sleepers.load(std::memory_order_seq_cst) != 0; }))
            return 1;
        crew.step.reach(1);
        lane::Writer mine(crew.scene.open_lane(lane_id));
        if (!send(mine, 1, 1)) return 2;
        lane::ring(view.doorbell(), true, nullptr);
        return 0;
    });
    // Each sleep alone lasts at most 50 ms; what is checked is that it returned with something.
    CHECK(crew.drain(1) == Found{{1, false}});
    CHECK(exited_with(sender.reap(), 0));
}
TEST_CASE("a consumer with nothing to do uses no processor while it sleeps") {
    Crew crew;
    const auto peer = crew.fork_victim([&](lane::Consumer&) {
        crew.step.reach(1);
        stay();
        return 0;
    });
    REQUIRE(crew.step.wait_for(1));
    rusage before{};
    rusage after{};
    REQUIRE(::getrusage(RUSAGE_SELF, &before) == 0);
    const auto began = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - began < 500ms) crew.consumer->sleep(50ms);
    REQUIRE(::getrusage(RUSAGE_SELF, &after) == 0);
    const auto spent = [](const timeval& time) { return time.tv_sec * 1'000'000 + time.tv_usec; };
    const auto used = spent(after.ru_utime) + spent(after.ru_stime) - spent(before.ru_utime) -
                      spent(before.ru_stime);
    CHECK(used < 20'000);
}
}

}  // namespace
}  // namespace shmbus::test

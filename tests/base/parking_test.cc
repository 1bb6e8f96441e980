// Sleeping and waking between processes.
//
// SPDX-License-Identifier: BSL-1.0
#include "base/parking.h"

#include <array>

#include <doctest/doctest.h>

#include "base/atomics.h"
#include "base/mapping.h"
#include "support.h"

using namespace shmbus::base;
using namespace shmbus::test;

namespace {

using Word = StdAtomics::word<std::uint32_t>;

struct Words {
    TemporaryDirectory directory;
    File file = directory.make("words", page_bytes());
    MappedPart part{.offset = 0, .bytes = page_bytes()};
    Mapping mapping{file, part, Access::read_write};
    [[nodiscard]] Word& word(std::size_t index) const { return mapping.at<Word>(index * 64); }
};

// Wakes until a sleeper was there, so a sleeper that never comes fails the test by the limit.
[[nodiscard]] bool wakes_one(const Word& word) {
    return comes_true([&] { return wake(word, 1) == 1; });
}

}  // namespace

TEST_SUITE("base") {

TEST_CASE("a sleeper on a read-only mapping in another process is woken") {
    const Words scene;
    Child sleeper([&] {
        const Mapping own(File::open_at(scene.directory.fd(), "words", Access::read_only),
                          scene.part, Access::read_only);
        return wait(watch(own.at<const Word>(), 0), limit) == WaitEnd::woken ? 0 : 1;
    });
    CHECK(wakes_one(scene.word(0)));
    CHECK(exited_with(sleeper.reap(), 0));
}

TEST_CASE("a word that has moved on lets nobody sleep") {
    const Words scene;
    // relaxed: one thread.
    scene.word(0).store(1, std::memory_order_relaxed);
    CHECK(wait(watch(scene.word(0), 0), limit) == WaitEnd::changed);
    const std::array words{watch(scene.word(1), 0), watch(scene.word(0), 0)};
    if (can_wait_for_any()) CHECK(wait_any(words, limit) == WaitEnd::changed);
}

TEST_CASE("waiting for nothing ends with the time limit") {
    const Words scene;
    const std::array words{watch(scene.word(0), 0), watch(scene.word(1), 0)};
    constexpr std::chrono::milliseconds span{1};
    const auto begin = std::chrono::steady_clock::now();
    CHECK(wait(words[0], span) == WaitEnd::timed_out);
    CHECK(wait_any(words, span) == WaitEnd::timed_out);
    CHECK(std::chrono::steady_clock::now() - begin >= 2 * span);
    CHECK(wait(words[0], std::chrono::nanoseconds{-5}) == WaitEnd::timed_out);
}

TEST_CASE("any of the words wakes a sleeper on several") {
    if (!can_wait_for_any()) {
        MESSAGE("this kernel has no futex_waitv: only the first word can wake");
        return;
    }
    for (const std::size_t which : {0U, 1U, 2U}) {
        const Words scene;
        Child sleeper([&] {
            const Mapping own(File::open_at(scene.directory.fd(), "words", Access::read_only),
                              scene.part, Access::read_only);
            const std::array words{watch(own.at<const Word>(0), 0),
                                   watch(own.at<const Word>(64), 0),
                                   watch(own.at<const Word>(128), 0)};
            return wait_any(words, limit) == WaitEnd::woken ? 0 : 1;
        });
        CHECK(wakes_one(scene.word(which)));
        CHECK(exited_with(sleeper.reap(), 0));
    }
}

TEST_CASE("waking counts the sleepers and finds none where there are none") {
    const Words scene;
    CHECK(wake(scene.word(0), all_sleepers) == 0);
    const auto sleep = [&] {
        const Mapping own(File::open_at(scene.directory.fd(), "words", Access::read_only),
                          scene.part, Access::read_only);
        return wait(watch(own.at<const Word>(), 0), limit) == WaitEnd::woken ? 0 : 1;
    };
    Child first(sleep);
    Child second(sleep);
    int woken = 0;
    CHECK(comes_true([&] { return (woken += wake(scene.word(0), all_sleepers)) == 2; }));
    CHECK(exited_with(first.reap(), 0));
    CHECK(exited_with(second.reap(), 0));
}

TEST_CASE("a word that cannot be waited on says so") {
    CHECK(wait({}, limit) == WaitEnd::unusable);
    CHECK(wait_any({}, limit) == WaitEnd::unusable);
    CHECK(wake_address(nullptr, 1) == 0);
}

}

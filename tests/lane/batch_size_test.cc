// How many records a consumer takes at once.
//
// SPDX-License-Identifier: BSL-1.0
#include "lane/batch_size.h"

#include <doctest/doctest.h>

#include <algorithm>

using shmbus::lane::BatchSize;

namespace {

constexpr std::uint32_t most = 64;
constexpr std::uint64_t full_batch = 6400;

}  // namespace

TEST_SUITE("lane") {

TEST_CASE("the first batch is one record") {
    BatchSize size(most, full_batch);
    CHECK(size.next(most) == 1);
}

TEST_CASE("batches double while handlers are quick, up to the most, never past the limit") {
    BatchSize size(most, full_batch);
    std::uint64_t now = 1;
    for (const std::uint32_t expected : {2U, 4U, 8U, 16U, 32U, 64U, 64U}) {
        size.took(10);
        size.measure(now);
        size.took(10);
        size.measure(now += 10 * (full_batch / most));
        size.found_nothing();
        CHECK(size.next(most) == expected);
        CHECK(size.next(3) == std::min(expected, 3U));
    }
}

TEST_CASE("a slow handler's batch is what it does in the time of a full one") {
    BatchSize size(most, full_batch);
    std::uint64_t now = 1;
    size.took(64);
    size.measure(now);
    size.took(64);
    now += 64 * (full_batch / 4);
    size.measure(now);
    size.found_nothing();
    CHECK(size.next(most) == 3);  // not quite four: a record is counted as a tick longer
}

TEST_CASE("after single messages one is taken, after a stream as many as before the pause") {
    BatchSize size(most, full_batch);
    std::uint64_t now = 1;
    size.took(64);
    size.measure(now);
    for (int i = 0; i < 6; ++i) {
        size.took(64);
        size.measure(now += full_batch);
    }
    size.found_nothing();
    CHECK(size.next(most) == most);
    size.took(1);
    size.found_nothing();
    CHECK(size.next(most) == 1);
}

TEST_CASE("a pause is not counted as a handler's time") {
    BatchSize size(most, full_batch);
    std::uint64_t now = 1;
    size.took(64);
    size.measure(now);
    size.took(64);
    size.measure(now += full_batch / 2);
    size.found_nothing();
    size.took(64);
    size.measure(now += 1000 * full_batch);  // the first look at the clock after a pause
    size.found_nothing();
    CHECK(size.next(most) == 2);
}
}

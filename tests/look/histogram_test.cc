// Histograms that were copied out of shared memory: quantiles, sums, differences.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/histogram.h"

#include <doctest/doctest.h>

using shmbus::look::Histogram;

TEST_SUITE("look") {
TEST_CASE("a quantile is the value of its rank") {
    const Histogram histogram({{10, 10, 50}, {20, 21, 49}, {1000, 1031, 1}});
    CHECK(histogram.count() == 100);
    CHECK(histogram.quantile(0.5) == 10);
    CHECK(histogram.quantile(0.51) == 20);
    CHECK(histogram.quantile(0.99) == 20);
    CHECK(histogram.quantile(1) == 1015);
    CHECK_FALSE(Histogram().quantile(0.5).has_value());
}

TEST_CASE("what came since is the difference, and adding it gives the later state") {
    const Histogram before({{1, 1, 5}, {4, 4, 2}});
    const Histogram after({{1, 1, 5}, {2, 2, 3}, {4, 4, 6}, {8, 9, 1}});
    const Histogram come = after.since(before);
    CHECK(come.buckets() == std::vector<Histogram::Bucket>{{2, 2, 3}, {4, 4, 4}, {8, 9, 1}});
    Histogram sum = before;
    sum.add(come);
    CHECK(sum.buckets() == after.buckets());
    CHECK(after.since(after).empty());
}

TEST_CASE("values up to a border leave out the bucket that lies across it") {
    const Histogram histogram({{10, 10, 1}, {64, 65, 2}, {66, 67, 4}});
    CHECK(histogram.count_up_to(9) == 0);
    CHECK(histogram.count_up_to(10) == 1);
    CHECK(histogram.count_up_to(64) == 1);
    CHECK(histogram.count_up_to(65) == 3);
    CHECK(histogram.sum() == doctest::Approx(10 + 2 * 64 + 4 * 66));
}
}

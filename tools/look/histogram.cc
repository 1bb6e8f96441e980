// A histogram that was copied out of shared memory.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/histogram.h"

#include <algorithm>
#include <cmath>

namespace shmbus::look {

std::uint64_t Histogram::count() const noexcept {
    std::uint64_t all = 0;
    for (const Bucket& bucket : buckets_) all += bucket.count;
    return all;
}

double Histogram::sum() const noexcept {
    double all = 0;
    for (const Bucket& bucket : buckets_)
        all += static_cast<double>(bucket.middle()) * static_cast<double>(bucket.count);
    return all;
}

std::uint64_t Histogram::count_up_to(std::uint64_t value) const noexcept {
    std::uint64_t all = 0;
    for (const Bucket& bucket : buckets_)
        if (bucket.up_to <= value) all += bucket.count;
    return all;
}

std::optional<std::uint64_t> Histogram::quantile(double q) const noexcept {
    const std::uint64_t all = count();
    if (all == 0) return std::nullopt;
    // The value of this rank, from 1, as `sort | sed -n RANKp` would have it.
    const auto rank = std::max<std::uint64_t>(
        1, static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(all))));
    std::uint64_t passed = 0;
    for (const Bucket& bucket : buckets_) {
        passed += bucket.count;
        if (passed >= rank) return bucket.middle();
    }
    return buckets_.back().middle();
}

void Histogram::add(const Histogram& other) {
    std::vector<Bucket> both;
    both.reserve(buckets_.size() + other.buckets_.size());
    std::merge(buckets_.begin(), buckets_.end(), other.buckets_.begin(), other.buckets_.end(),
               std::back_inserter(both),
               [](const Bucket& a, const Bucket& b) { return a.up_to < b.up_to; });
    buckets_.clear();
    for (const Bucket& bucket : both) {
        if (!buckets_.empty() && buckets_.back().up_to == bucket.up_to)
            buckets_.back().count += bucket.count;
        else
            buckets_.push_back(bucket);
    }
}

Histogram Histogram::since(const Histogram& before) const {
    Histogram difference;
    auto old = before.buckets_.begin();
    for (const Bucket& bucket : buckets_) {
        while (old != before.buckets_.end() && old->up_to < bucket.up_to) ++old;
        const std::uint64_t known =
            old != before.buckets_.end() && old->up_to == bucket.up_to ? old->count : 0;
        // Less than before: it was begun anew in between, so all of it is new.
        const std::uint64_t come = bucket.count >= known ? bucket.count - known : bucket.count;
        if (come > 0) difference.buckets_.push_back({bucket.from, bucket.up_to, come});
    }
    return difference;
}

}  // namespace shmbus::look

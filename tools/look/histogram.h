// A histogram that was copied out of shared memory: merged, subtracted, asked for quantiles.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace shmbus::look {

class Histogram {
public:
    // Values from `from` up to and with `up_to`, in the histogram's own unit.
    struct Bucket {
        std::uint64_t from = 0;
        std::uint64_t up_to = 0;
        std::uint64_t count = 0;
        // What stands for each of them.
        [[nodiscard]] std::uint64_t middle() const noexcept { return from + (up_to - from) / 2; }
        friend bool operator==(const Bucket&, const Bucket&) = default;
    };

    Histogram() = default;
    // Rising, empty ones left out.
    explicit Histogram(std::vector<Bucket> buckets) : buckets_(std::move(buckets)) {}

    [[nodiscard]] const std::vector<Bucket>& buckets() const noexcept { return buckets_; }
    [[nodiscard]] bool empty() const noexcept { return buckets_.empty(); }
    [[nodiscard]] std::uint64_t count() const noexcept;
    // Of all values, as well as their buckets tell.
    [[nodiscard]] double sum() const noexcept;
    // How many are at most `value`, buckets that lie across it left out.
    [[nodiscard]] std::uint64_t count_up_to(std::uint64_t value) const noexcept;
    // The middle of the bucket in which the q-quantile lies; nothing without values.
    [[nodiscard]] std::optional<std::uint64_t> quantile(double q) const noexcept;

    void add(const Histogram& other);
    // What came since `before`, an earlier state of this one.
    [[nodiscard]] Histogram since(const Histogram& before) const;

private:
    std::vector<Bucket> buckets_;
};

}  // namespace shmbus::look

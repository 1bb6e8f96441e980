// A consumer of the endpoint "worker", and its account of the Work that it was given.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include "served_bus.h"

namespace durable_tests {

// Stays where it is: its handler refers to it.
struct Worker {
    explicit Worker(shmbus::Bus& bus, const shmbus::EndpointOptions& options = {})
        : endpoint(bus.endpoint("worker", options)) {
        endpoint.on<Work>([this](const Work& work, shmbus::Context& context) {
            CHECK(work.twice == 2 * work.number);
            order.push_back(work.number);
            if (!context.redelivered()) unmarked.push_back(work.number);
        });
    }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    [[nodiscard]] std::set<std::uint64_t> numbers() const { return {order.begin(), order.end()}; }
    [[nodiscard]] bool has_all(std::uint64_t count) const { return numbers().size() == count; }
    [[nodiscard]] std::uint64_t marked() const { return order.size() - unmarked.size(); }
    [[nodiscard]] bool doubled_unmarked() const {
        return std::set(unmarked.begin(), unmarked.end()).size() < unmarked.size();
    }

    shmbus::Endpoint endpoint;
    // As they came, each as often as it came. No nodes on the heap: what is left of that is in
    // every daemon that is forked from here, whose memory is measured.
    std::vector<std::uint64_t> order;
    std::vector<std::uint64_t> unmarked;
};

}  // namespace durable_tests

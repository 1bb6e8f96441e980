// So many messages a second.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>
#include <thread>

namespace shmbus::cli {

class Pace {
public:
    // 0: as quickly as they go.
    explicit Pace(double a_second) noexcept : a_second_(a_second) {}
    // Before each one: waits so that those before it have taken their time.
    void keep() {
        using Seconds = std::chrono::duration<double>;
        if (a_second_ > 0)
            std::this_thread::sleep_until(
                begin_ + std::chrono::duration_cast<std::chrono::nanoseconds>(
                             Seconds(static_cast<double>(passed_++) / a_second_)));
    }

private:
    double a_second_;
    std::uint64_t passed_ = 0;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace shmbus::cli

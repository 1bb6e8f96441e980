// The fuzzer's input, read piece by piece; zeros when it is at its end.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace shmbus::test {

class Bytes {
public:
    Bytes(const std::uint8_t* data, std::size_t size) : left_(data, size) {}
    [[nodiscard]] bool empty() const noexcept { return left_.empty(); }
    template <class T>
    [[nodiscard]] T next() noexcept {
        static_assert(std::is_trivially_copyable_v<T>);
        T value{};
        fill(&value, sizeof(value));
        return value;
    }
    void fill(void* into, std::size_t bytes) noexcept {
        const std::span<const std::uint8_t> part = some(bytes);
        if (!part.empty()) std::memcpy(into, part.data(), part.size());
    }
    // As many as there are, at most so many.
    [[nodiscard]] std::span<const std::uint8_t> some(std::size_t bytes) noexcept {
        const std::span<const std::uint8_t> part = left_.first(std::min(bytes, left_.size()));
        left_ = left_.subspan(part.size());
        return part;
    }

private:
    std::span<const std::uint8_t> left_;
};

}  // namespace shmbus::test

// Memory that the measured processes share: made before the fork, touched, gone with its owner.
//
// The benchmark's own, not the library's: the limits must not stand on what is measured.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>

namespace shmbus::bench {

// Zeroed pages shared with every child forked later. Not copyable; unmapped by the destructor.
class Pages {
public:
    enum class Shape {
        plain,
        mirrored,  // mapped twice, end to end, so that a record in a ring never wraps
    };

    // `bytes` is rounded up to whole pages. Throws std::system_error.
    explicit Pages(std::size_t bytes, Shape shape = Shape::plain);
    ~Pages();
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;

    std::byte* data() const noexcept { return data_; }
    std::size_t bytes() const noexcept { return bytes_; }

private:
    std::size_t bytes_ = 0;
    std::size_t mapped_bytes_ = 0;
    std::byte* data_ = nullptr;
};

// One T in shared memory. The value is never destroyed, only its pages are given back.
template <typename T>
class Shared {
public:
    Shared() : pages_(sizeof(T)), value_(new (pages_.data()) T()) {
        static_assert(std::is_trivially_destructible_v<T>);
    }

    T* operator->() const noexcept { return value_; }
    T& operator*() const noexcept { return *value_; }

private:
    Pages pages_;
    T* value_;
};

}  // namespace shmbus::bench

// Mapped files. The one door to Boost.Interprocess, which stays behind it in mapping.cc.
//
// Called at set-up by every process. A mapping is prefaulted and absent in forked children. It
// promises addresses, not contents: any process may have written those. A file that somebody
// shortens afterwards faults on access; FaultGuard (fault_guard.h) is for that.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "base/file.h"

namespace shmbus::base {

[[nodiscard]] std::size_t page_bytes() noexcept;

// Which part of a file is mapped. `offset` is a multiple of the page size.
struct MappedPart {
    std::uint64_t offset = 0;
    std::size_t bytes = 0;
};

// One part of a file in memory, for as long as the object lives; the File may be closed before.
// Moves, does not copy. Const in the sense of the handle: data() is writable if mapped so.
class Mapping {
public:
    Mapping() noexcept;  // maps nothing
    // Throws SetupError when the file is shorter than the part, or the kernel refuses.
    Mapping(const File& file, MappedPart part, Access access);
    Mapping(Mapping&&) noexcept;
    Mapping& operator=(Mapping&&) noexcept;
    ~Mapping();

    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }

    // The T that lies `offset` bytes into the mapped part.
    template <class T>
    [[nodiscard]] T& at(std::size_t offset = 0) const noexcept {
        check(offset <= bytes_ && sizeof(T) <= bytes_ - offset && offset % alignof(T) == 0,
              "an object lies inside its mapping");
        return *reinterpret_cast<T*>(data_ + offset);
    }

private:
    struct Regions;
    std::unique_ptr<Regions> regions_;
    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
};

// One part of a file mapped twice, back to back: what runs past the end of the first copy goes on
// at its beginning, so a record never wraps.
//
//   data()            data() + bytes()       data() + 2 * bytes()
//   |  the part        |  the same part again |
//
class RingMapping {
public:
    RingMapping() noexcept;
    // part.bytes is a multiple of the page size. Throws like Mapping.
    RingMapping(const File& file, MappedPart part, Access access);
    RingMapping(RingMapping&&) noexcept;
    RingMapping& operator=(RingMapping&&) noexcept;
    ~RingMapping();

    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    // The size of the part; twice as many bytes may be accessed.
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }

private:
    struct Regions;
    std::unique_ptr<Regions> regions_;
    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
};

}  // namespace shmbus::base

// Writes whole blocks past the cache while the journal's thread goes on: Linux's asynchronous I/O.
//
// For one file at a time, from one thread. See io_submit(2); the kernel does what cannot be done
// without waiting at once, which costs time and nothing else.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <linux/aio_abi.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

namespace shmbus::journal {

// A file system may open a file with O_DIRECT and then refuse a write that is aligned, of which
// nothing is written. From here on this descriptor goes through the cache: true, and the write may
// be tried again.
[[nodiscard]] bool goes_through_cache(int fd, int error) noexcept;

class BackgroundWriter {
public:
    static constexpr std::size_t block = 4096;

    BackgroundWriter() = default;
    BackgroundWriter(const BackgroundWriter&) = delete;
    BackgroundWriter& operator=(const BackgroundWriter&) = delete;
    ~BackgroundWriter();

    // Of whole blocks at a whole block's offset, to a descriptor opened with O_DIRECT that stays
    // open until finish(). The bytes are copied. Waits while too much is under way.
    void start(int fd, std::span<const std::byte> from, std::uint64_t offset);
    // The same with zeros, out of one place for all.
    void start_zeros(int fd, std::uint64_t bytes, std::uint64_t offset);
    // Waits for all that was begun. 0, or the errno of the first write since the last call that
    // failed.
    [[nodiscard]] int finish() noexcept;

private:
    static constexpr std::size_t large_page = std::size_t{2} << 20;
    static constexpr std::size_t room_bytes = 2 * large_page;
    // Small enough that the copy of one goes on while the one before is written.
    static constexpr std::size_t piece_bytes = std::size_t{256} << 10;
    static constexpr std::size_t most_pieces = 64;
    struct Free {
        void operator()(std::byte* memory) const noexcept { std::free(memory); }
    };

    using Room = std::unique_ptr<std::byte, Free>;

    [[nodiscard]] static Room make_room(std::size_t bytes);
    [[nodiscard]] bool prepare();
    void start_piece(int fd, std::span<const std::byte> from, std::uint64_t offset);
    void wait_for_all() noexcept;
    void note(int error) noexcept {
        if (error_ == 0) error_ = error;
    }

    Room room_;   // aligned as direct writes want it
    Room zeros_;  // a large page of them
    aio_context_t context_ = 0;
    std::array<iocb, most_pieces> pieces_{};
    std::size_t under_way_ = 0;  // of pieces_, from the front; their bytes lie in room_ likewise
    std::size_t used_ = 0;
    bool gave_up_ = false;  // the kernel does not say what became of pieces
    int error_ = 0;
};

}  // namespace shmbus::journal

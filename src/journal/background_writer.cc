// Asynchronous writes. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/background_writer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace shmbus::journal {

bool goes_through_cache(int fd, int error) noexcept {
    const int flags = error == EINVAL ? ::fcntl(fd, F_GETFL) : -1;
    return flags >= 0 && (flags & O_DIRECT) != 0 && ::fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

namespace {

// Writes all of it, waiting.
[[nodiscard]] int write_now(int fd, const std::byte* from, std::size_t bytes,
                            std::uint64_t offset) noexcept {
    while (bytes > 0) {
        ssize_t moved = -1;
        // Ends: every answer but an interruption leaves the loop.
        do moved = ::pwrite(fd, from, bytes, static_cast<off_t>(offset));
        while (moved < 0 && errno == EINTR);
        if (moved < 0 && goes_through_cache(fd, errno)) continue;
        if (moved < 0) return errno;
        if (moved == 0) return EIO;
        from += moved;
        offset += static_cast<std::uint64_t>(moved);
        bytes -= static_cast<std::size_t>(moved);
    }
    return 0;
}

// What became of a piece; the rest of a short one is written here.
[[nodiscard]] int end_of(const iocb& piece, std::int64_t answer) noexcept {
    const int fd = static_cast<int>(piece.aio_fildes);
    if (answer == -EINVAL) {  // once more, whichever of them was told first
        static_cast<void>(goes_through_cache(fd, EINVAL));
        answer = 0;
    }
    if (answer < 0) return static_cast<int>(-answer);
    const auto moved = static_cast<std::uint64_t>(answer);
    if (moved >= piece.aio_nbytes) return 0;
    return write_now(fd, reinterpret_cast<const std::byte*>(piece.aio_buf) + moved,
                     piece.aio_nbytes - moved,
                     static_cast<std::uint64_t>(piece.aio_offset) + moved);
}

}  // namespace

BackgroundWriter::~BackgroundWriter() {
    if (context_ == 0) return;
    wait_for_all();
    static_cast<void>(::syscall(SYS_io_destroy, context_));
}

// In large pages, if they are to be had, a piece is one stretch of memory. In small ones it takes
// so many entries of a disk's queue that few pieces fill that, and the rest waits.
BackgroundWriter::Room BackgroundWriter::make_room(std::size_t bytes) {
    Room room(static_cast<std::byte*>(std::aligned_alloc(large_page, bytes)));
    if (room) static_cast<void>(::madvise(room.get(), bytes, MADV_HUGEPAGE));
    return room;
}

// False: pieces are written at once.
bool BackgroundWriter::prepare() {
    if (gave_up_) return false;
    if (context_ == 0 && ::syscall(SYS_io_setup, most_pieces, &context_) != 0) context_ = 0;
    return context_ != 0;
}

void BackgroundWriter::start(int fd, std::span<const std::byte> from, std::uint64_t offset) {
    while (!from.empty()) {
        const std::size_t bytes = std::min(from.size(), piece_bytes);
        if (used_ + bytes > room_bytes || under_way_ == most_pieces) wait_for_all();
        if (!room_) room_ = make_room(room_bytes);
        if (!room_) return note(ENOMEM);
        std::byte* const at = room_.get() + used_;
        std::memcpy(at, from.data(), bytes);
        used_ += bytes;
        start_piece(fd, {at, bytes}, offset);
        from = from.subspan(bytes);
        offset += bytes;
    }
}

void BackgroundWriter::start_zeros(int fd, std::uint64_t bytes, std::uint64_t offset) {
    while (bytes > 0) {
        if (under_way_ == most_pieces) wait_for_all();
        if (!zeros_) {
            zeros_ = make_room(large_page);
            if (!zeros_) return note(ENOMEM);
            std::memset(zeros_.get(), 0, large_page);
        }
        const std::uint64_t part = std::min<std::uint64_t>(bytes, large_page);
        start_piece(fd, {zeros_.get(), part}, offset);
        bytes -= part;
        offset += part;
    }
}

// Of memory that stays as it is until it is waited for; there is a place for one more.
void BackgroundWriter::start_piece(int fd, std::span<const std::byte> from,
                                   std::uint64_t offset) {
    iocb& piece = pieces_[under_way_];
    piece = {};
    piece.aio_lio_opcode = IOCB_CMD_PWRITE;
    piece.aio_fildes = static_cast<std::uint32_t>(fd);
    piece.aio_buf = reinterpret_cast<std::uint64_t>(from.data());
    piece.aio_nbytes = from.size();
    piece.aio_offset = static_cast<std::int64_t>(offset);
    piece.aio_data = under_way_;
    iocb* list = &piece;
    if (prepare() && ::syscall(SYS_io_submit, context_, 1, &list) == 1) ++under_way_;
    else note(write_now(fd, from.data(), from.size(), offset));
}

int BackgroundWriter::finish() noexcept {
    wait_for_all();
    return std::exchange(error_, 0);
}

void BackgroundWriter::wait_for_all() noexcept {
    std::array<io_event, most_pieces> events{};
    for (std::size_t left = under_way_; left > 0;) {
        const long come =
            ::syscall(SYS_io_getevents, context_, left, left, events.data(), nullptr);
        if (come < 0 && errno == EINTR) continue;
        if (come <= 0) {
            // Nobody knows what they do: the room is theirs for ever, and their answers are not
            // to be taken for those of later ones.
            static_cast<void>(room_.release());
            static_cast<void>(zeros_.release());
            gave_up_ = true;
            note(come < 0 ? errno : EIO);
            break;
        }
        for (std::size_t i = 0; i < static_cast<std::size_t>(come); ++i)
            note(end_of(pieces_[events[i].data % most_pieces], events[i].res));
        left -= static_cast<std::size_t>(come);
    }
    under_way_ = 0;
    used_ = 0;
}

}  // namespace shmbus::journal

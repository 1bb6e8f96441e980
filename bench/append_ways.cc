// Ways to append to a file and have it on disk. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "append_ways.h"

#include "crew.h"
#include "disk_limits.h"
#include "histogram.h"
#include "pages.h"
#include "ticks.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{60'000};
constexpr std::size_t file_bytes = std::size_t{64} << 20;
constexpr std::size_t piece_bytes = std::size_t{256} << 10;
constexpr std::size_t most_pieces = 16;
constexpr std::size_t large_page = std::size_t{2} << 20;

[[noreturn]] void fail(const char* what, int error = errno) {
    throw std::system_error(error, std::generic_category(), what);
}

// One file and a way to write it. Throws std::system_error: refused.
class Appender {
public:
    Appender(const std::string& path, int flags)
        : fd_(::open(path.c_str(), O_RDWR | O_CLOEXEC | flags)) {
        if (fd_ < 0) fail("opening a file like this");
    }
    virtual ~Appender() { ::close(fd_); }
    Appender(const Appender&) = delete;
    Appender& operator=(const Appender&) = delete;
    // Drops what is cached of it: a segment of the journal that is written was never read.
    void forget() const { ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED); }
    // On disk when it returns.
    virtual void append(const std::byte* from, std::size_t bytes, std::size_t offset) = 0;

protected:
    [[nodiscard]] int fd() const noexcept { return fd_; }
    void sync() const {
        if (::fdatasync(fd_) != 0) fail("syncing");
    }

private:
    int fd_;
};

class Plain final : public Appender {
public:
    Plain(const std::string& path, int flags)
        : Appender(path, flags), syncs_((flags & O_DSYNC) == 0) {}
    void append(const std::byte* from, std::size_t bytes, std::size_t offset) override {
        if (::pwrite(fd(), from, bytes, static_cast<off_t>(offset)) !=
            static_cast<ssize_t>(bytes))
            fail("writing");
        if (syncs_) sync();
    }

private:
    bool syncs_;
};

class Submitted final : public Appender {
public:
    explicit Submitted(const std::string& path) : Appender(path, O_DIRECT) {
        if (::syscall(SYS_io_setup, most_pieces, &context_) != 0) fail("io_setup");
    }
    ~Submitted() override { ::syscall(SYS_io_destroy, context_); }
    void append(const std::byte* from, std::size_t bytes, std::size_t offset) override {
        long under_way = 0;
        for (std::size_t at = 0; at < bytes; at += piece_bytes) {
            iocb piece{};
            piece.aio_lio_opcode = IOCB_CMD_PWRITE;
            piece.aio_fildes = static_cast<std::uint32_t>(fd());
            piece.aio_buf = reinterpret_cast<std::uint64_t>(from + at);
            piece.aio_nbytes = std::min(piece_bytes, bytes - at);
            piece.aio_offset = static_cast<std::int64_t>(offset + at);
            iocb* list = &piece;
            if (::syscall(SYS_io_submit, context_, 1, &list) != 1) fail("io_submit");
            ++under_way;
        }
        std::array<io_event, most_pieces> events{};
        if (::syscall(SYS_io_getevents, context_, under_way, under_way, events.data(), nullptr) !=
            under_way)
            fail("io_getevents");
        std::size_t written = 0;
        for (const io_event& event : std::span(events).first(static_cast<unsigned>(under_way)))
            written += event.res > 0 ? static_cast<std::size_t>(event.res) : 0;
        if (written != bytes) fail("writing by io_submit", EIO);
        sync();
    }

private:
    aio_context_t context_ = 0;
};

// The kernel's two queues, by its own header alone: this is all of them that is needed here.
class Ring final : public Appender {
public:
    explicit Ring(const std::string& path) : Appender(path, O_DIRECT) {
        io_uring_params params{};
        ring_ = static_cast<int>(::syscall(SYS_io_uring_setup, 2 * most_pieces, &params));
        if (ring_ < 0) fail("io_uring_setup");
        sent_ = map(params.sq_off.array + params.sq_entries * sizeof(std::uint32_t),
                    IORING_OFF_SQ_RING);
        done_ = map(params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe),
                    IORING_OFF_CQ_RING);
        entries_ = reinterpret_cast<io_uring_sqe*>(
            map(params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
        offsets_ = params;
    }
    ~Ring() override { ::close(ring_); }  // its maps end with the process, a moment later
    void append(const std::byte* from, std::size_t bytes, std::size_t offset) override {
        unsigned count = 0;
        for (std::size_t at = 0; at < bytes; at += piece_bytes, ++count) {
            io_uring_sqe& entry = next(count);
            entry.opcode = IORING_OP_WRITE;
            entry.fd = fd();
            entry.addr = reinterpret_cast<std::uint64_t>(from + at);
            entry.len = static_cast<std::uint32_t>(std::min(piece_bytes, bytes - at));
            entry.off = offset + at;
            // A link would write the pieces one after the other; the sync drains them instead.
            if (bytes <= piece_bytes) entry.flags = IOSQE_IO_LINK;
        }
        io_uring_sqe& last = next(count++);
        last.opcode = IORING_OP_FSYNC;
        last.fd = fd();
        last.fsync_flags = IORING_FSYNC_DATASYNC;
        if (bytes > piece_bytes) last.flags = IOSQE_IO_DRAIN;
        submit(count);
        if (reap(count) != bytes) fail("writing by io_uring", EIO);
    }

private:
    std::byte* map(std::size_t bytes, off_t what) const {
        void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_POPULATE, ring_, what);
        if (at == MAP_FAILED) fail("mapping a queue of io_uring");
        return static_cast<std::byte*>(at);
    }
    [[nodiscard]] static std::uint32_t& word(std::byte* ring, std::uint32_t offset) {
        return *reinterpret_cast<std::uint32_t*>(ring + offset);
    }
    io_uring_sqe& next(unsigned count) {
        // Written by this thread alone.
        const std::uint32_t tail = word(sent_, offsets_.sq_off.tail) + count;
        const std::uint32_t index = tail & word(sent_, offsets_.sq_off.ring_mask);
        reinterpret_cast<std::uint32_t*>(sent_ + offsets_.sq_off.array)[index] = index;
        entries_[index] = {};
        return entries_[index];
    }
    void submit(unsigned count) {
        std::atomic_ref<std::uint32_t> tail(word(sent_, offsets_.sq_off.tail));
        // Edge RING_SENT: the entries. The other end is the kernel's own.
        tail.fetch_add(count, std::memory_order_release);
        if (::syscall(SYS_io_uring_enter, ring_, count, count, IORING_ENTER_GETEVENTS, nullptr,
                      0) != static_cast<long>(count))
            fail("io_uring_enter");
    }
    // Bytes written.
    [[nodiscard]] std::size_t reap(unsigned count) {
        std::atomic_ref<std::uint32_t> tail(word(done_, offsets_.cq_off.tail));
        std::uint32_t& head = word(done_, offsets_.cq_off.head);
        // Edge RING_DONE: the answers. The other end is the kernel's.
        if (tail.load(std::memory_order_acquire) - head != count) fail("io_uring_enter", EIO);
        std::size_t written = 0;
        for (unsigned i = 0; i < count; ++i) {
            const std::uint32_t index = (head + i) & word(done_, offsets_.cq_off.ring_mask);
            const io_uring_cqe& answer =
                reinterpret_cast<io_uring_cqe*>(done_ + offsets_.cq_off.cqes)[index];
            if (answer.res < 0) fail("writing by io_uring", -answer.res);
            written += static_cast<std::size_t>(answer.res);
        }
        std::atomic_ref<std::uint32_t> seen(head);
        // Edge RING_DONE: they were read, their places may be used again.
        seen.store(head + count, std::memory_order_release);
        return written;
    }

    int ring_ = -1;
    io_uring_params offsets_{};
    std::byte* sent_ = nullptr;
    std::byte* done_ = nullptr;
    io_uring_sqe* entries_ = nullptr;
};

std::unique_ptr<Appender> make(AppendWay way, const std::string& path) {
    switch (way) {
        case AppendWay::cached: return std::make_unique<Plain>(path, 0);
        case AppendWay::direct: return std::make_unique<Plain>(path, O_DIRECT);
        case AppendWay::direct_sync: return std::make_unique<Plain>(path, O_DIRECT | O_DSYNC);
        case AppendWay::submitted:
        case AppendWay::submitted_large: return std::make_unique<Submitted>(path);
        case AppendWay::ring: return std::make_unique<Ring>(path);
    }
    return nullptr;
}

struct Board {
    Histogram latency;
    std::uint64_t appends = 0;
    std::uint64_t elapsed_ticks = 0;
    std::array<char, 128> refused{};
};

void fill_with_zeros(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const std::vector<std::byte> zeros(std::size_t{1} << 20);
    for (std::size_t at = 0; at < file_bytes; at += zeros.size())
        if (::pwrite(fd, zeros.data(), zeros.size(), static_cast<off_t>(at)) < 0)
            fail("filling a file");
    if (::fsync(fd) != 0) fail("syncing a file");
    ::close(fd);
}

struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
};
using Aligned = std::unique_ptr<std::byte, Free>;

Aligned aligned_memory(std::size_t bytes, bool in_large_pages) {
    const std::size_t whole = (bytes + large_page - 1) / large_page * large_page;
    Aligned made(static_cast<std::byte*>(std::aligned_alloc(large_page, whole)));
    if (made == nullptr) fail("getting aligned memory", ENOMEM);
    if (::madvise(made.get(), whole, in_large_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) != 0)
        fail("asking for pages of a size");
    return made;
}

void append_all(Appender& appender, AppendWay way, std::size_t bytes, milliseconds span,
                Board& board) {
    const Aligned aligned = aligned_memory(bytes, way == AppendWay::submitted_large);
    std::vector<std::byte> message(bytes, std::byte{7});
    std::size_t at = 0;
    const auto append = [&] {
        message[0] = static_cast<std::byte>(board.appends);
        const bool is_direct = way != AppendWay::cached;
        if (is_direct) std::memcpy(aligned.get(), message.data(), bytes);
        appender.append(is_direct ? aligned.get() : message.data(), bytes, at);
        at += bytes;
    };
    appender.forget();
    append();
    const std::uint64_t begin = now_ticks();
    const std::uint64_t span_ticks = tick_rate().ticks(span);
    while (now_ticks() - begin < span_ticks) {
        if (at + bytes > file_bytes) {
            at = 0;
            appender.forget();
        }
        const std::uint64_t last = now_ticks();
        append();
        const std::uint64_t took = now_ticks() - last;
        board.latency.record(took);
        board.elapsed_ticks += took;
        ++board.appends;
    }
}

Sample measured(AppendWay way, std::size_t bytes, milliseconds span) {
    const DiskFolder folder;
    const std::string path = folder.path() + "/appended";
    fill_with_zeros(path);
    Shared<Board> board;
    Crew crew;
    crew.add("appender", 0, [&](StartLine&) {
        std::unique_ptr<Appender> appender;
        try {
            appender = make(way, path);
        } catch (const std::system_error& refused) {
            std::strncpy(board->refused.data(), refused.what(), board->refused.size() - 1);
            return;
        }
        append_all(*appender, way, bytes, span, *board);
    });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    if (board->refused[0] != 0) sample.mark = std::string("refused: ") + board->refused.data();
    if (board->appends == 0) return sample;
    sample.latency = std::make_shared<Histogram>(board->latency);
    sample.rate_per_s = static_cast<double>(board->appends * bytes) /
                        tick_rate().ns(board->elapsed_ticks) * 1e9;
    return sample;
}

const char* name_of(AppendWay way) {
    switch (way) {
        case AppendWay::cached: return "pwrite, fdatasync";
        case AppendWay::direct: return "O_DIRECT, fdatasync";
        case AppendWay::direct_sync: return "O_DIRECT|O_DSYNC";
        case AppendWay::submitted: return "io_submit, fdatasync";
        case AppendWay::submitted_large: return "io_submit, large pages";
        case AppendWay::ring: return "io_uring";
    }
    return "";
}

}  // namespace

Contestant append_by(AppendWay way, std::size_t bytes) {
    return {name_of(way), [=](milliseconds span) { return measured(way, bytes, span); }};
}

}  // namespace shmbus::bench

// What the disk charges at least. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "disk_limits.h"

#include "crew.h"
#include "histogram.h"
#include "pages.h"
#include "ticks.h"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace shmbus::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience{60'000};
constexpr std::size_t block = 4096;
constexpr std::size_t file_bytes = std::size_t{64} << 20;

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

class AppendedFile {
public:
    AppendedFile(const std::string& path, bool filled)
        : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)),
          filled_(filled) {
        if (fd_ < 0) fail("making " + path);
        if (!filled) return;
        const std::vector<std::byte> zeros(std::size_t{1} << 20);
        for (std::size_t at = 0; at < file_bytes; at += zeros.size())
            if (::pwrite(fd_, zeros.data(), zeros.size(), static_cast<off_t>(at)) < 0)
                fail("filling " + path);
        if (::fsync(fd_) != 0) fail("syncing " + path);
    }
    ~AppendedFile() { ::close(fd_); }
    AppendedFile(const AppendedFile&) = delete;
    AppendedFile& operator=(const AppendedFile&) = delete;

    void append(const std::vector<std::byte>& bytes) {
        if (filled_ && at_ + bytes.size() > file_bytes) at_ = 0;
        if (::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at_)) !=
            static_cast<ssize_t>(bytes.size()))
            fail("appending");
        if (::fdatasync(fd_) != 0) fail("syncing");
        at_ += bytes.size();
    }

private:
    int fd_;
    bool filled_;
    std::size_t at_ = 0;
};

struct Board {
    Histogram latency;
    std::uint64_t appends = 0;
    std::uint64_t elapsed_ticks = 0;
};

Sample append(milliseconds span, std::size_t bytes, std::size_t group, bool filled) {
    const DiskFolder folder;
    Shared<Board> board;
    Crew crew;
    crew.add("appender", 0, [&](StartLine&) {
        AppendedFile file(folder.path() + "/appended", filled);
        std::vector<std::byte> batch((bytes * group + block - 1) / block * block, std::byte{7});
        file.append(batch);
        const std::uint64_t begin = now_ticks();
        const std::uint64_t span_ticks = tick_rate().ticks(span);
        std::uint64_t now = begin;
        while (now - begin < span_ticks) {
            const std::uint64_t last = now;
            batch[0] = static_cast<std::byte>(board->appends);
            file.append(batch);
            now = now_ticks();
            board->latency.record(now - last);
            ++board->appends;
        }
        board->elapsed_ticks = now - begin;
    });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    sample.latency = std::make_shared<Histogram>(board->latency);
    const double ns = tick_rate().ns(board->elapsed_ticks);
    if (ns > 0) sample.rate_per_s = static_cast<double>(board->appends * group) / ns * 1e9;
    return sample;
}

// What the two threads of a pipeline share: payloads in a ring, and how far both are.
struct Pipeline {
    Pipeline(std::size_t payload_bytes, std::size_t count)
        : bytes(payload_bytes), in_flight(count), ring(bytes * count) {}
    std::size_t bytes;
    std::size_t in_flight;
    std::vector<std::byte> ring;
    std::atomic<std::uint64_t> produced{0};
    std::atomic<std::uint64_t> committed{0};
    std::atomic<bool> ends{false};
};

void produce(Pipeline& pipeline, int core) {
    pin_to_core(core);
    // relaxed: only this thread moves it.
    std::uint64_t next = pipeline.produced.load(std::memory_order_relaxed);
    // relaxed: carries nothing.
    while (!pipeline.ends.load(std::memory_order_relaxed)) {
        // Edge COMMITTED: the ring's place may be used again.
        if (next - pipeline.committed.load(std::memory_order_acquire) >= pipeline.in_flight) {
            relax();
            continue;
        }
        std::memset(pipeline.ring.data() + next % pipeline.in_flight * pipeline.bytes,
                    static_cast<int>(next), pipeline.bytes);
        // Edge PRODUCED: the payload stands in the ring.
        pipeline.produced.store(++next, std::memory_order_release);
    }
}

void commit(Pipeline& pipeline, AppendedFile& file, std::uint64_t span_ticks, Board& board) {
    std::vector<std::byte> batch;
    std::uint64_t done = 0;
    const std::uint64_t begin = now_ticks();
    std::uint64_t now = begin;
    while (now - begin < span_ticks) {
        // Edge PRODUCED, the other end.
        const std::uint64_t end = pipeline.produced.load(std::memory_order_acquire);
        if (end == done) continue;
        batch.clear();
        for (; done < end; ++done) {
            const auto from = pipeline.ring.begin() +
                              static_cast<std::ptrdiff_t>(done % pipeline.in_flight *
                                                          pipeline.bytes);
            batch.insert(batch.end(), from, from + static_cast<std::ptrdiff_t>(pipeline.bytes));
        }
        batch.resize((batch.size() + block - 1) / block * block);
        file.append(batch);
        // Edge COMMITTED: all before `done` is on disk.
        pipeline.committed.store(done, std::memory_order_release);
        now = now_ticks();
    }
    board.appends = done;
    board.elapsed_ticks = now - begin;
}

Sample pipelined(milliseconds span, std::size_t bytes, std::size_t in_flight) {
    const DiskFolder folder;
    Shared<Board> board;
    const int other_core = usable_cores().front();
    Crew crew;
    crew.add("committer", 1, [&](StartLine&) {
        AppendedFile file(folder.path() + "/appended", true);
        Pipeline pipeline(bytes, in_flight);
        std::jthread producer([&] { produce(pipeline, other_core); });
        commit(pipeline, file, tick_rate().ticks(span), *board);
        // relaxed: carries nothing.
        pipeline.ends.store(true, std::memory_order_relaxed);
    });
    Sample sample;
    sample.integrity = crew.run(span + patience);
    const double ns = tick_rate().ns(board->elapsed_ticks);
    if (ns > 0) sample.rate_per_s = static_cast<double>(board->appends) / ns * 1e9;
    return sample;
}

}  // namespace

DiskFolder::DiskFolder() {
    for (const char* variable : {"SHMBUS_BENCH_DISK", "TMPDIR"}) {
        const char* const wanted = std::getenv(variable);
        if (path_.empty() && wanted != nullptr && *wanted != '\0') path_ = wanted;
    }
    if (path_.empty()) path_ = "/var/tmp";
    path_ += "/shm-bench-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr)
        throw std::runtime_error("no folder " + path_ + "; set SHMBUS_BENCH_DISK");
}

DiskFolder::~DiskFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

Contestant append_and_sync(std::size_t payload_bytes, std::size_t group) {
    return {group == 1 ? "append and fdatasync" : "group commit of " + std::to_string(group),
            [=](milliseconds span) { return append(span, payload_bytes, group, true); },
            {}};
}

Contestant pipelined_commit(std::size_t payload_bytes, std::size_t in_flight) {
    return {"pipelined group commit",
            [=](milliseconds span) { return pipelined(span, payload_bytes, in_flight); },
            {}};
}

Contestant append_and_grow(std::size_t payload_bytes) {
    return {"append to a growing file",
            [=](milliseconds span) { return append(span, payload_bytes, 1, false); },
            {},
            true};
}

}  // namespace shmbus::bench

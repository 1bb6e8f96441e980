// A way over file descriptors that carry bytes in order.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/byte_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <sys/utsname.h>
#include <system_error>
#include <unistd.h>

namespace shmbus::bench {
namespace {

// What one read asks for at least: many small messages, or a large one.
constexpr std::size_t read_bytes = std::size_t{256} << 10;

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

// Of the open file, which both sides of a pair have for themselves.
void set_waiting(int fd, Waiting waiting) {
    const int flags = ::fcntl(fd, F_GETFL);
    const int wanted =
        waiting == Waiting::sleeping ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
    if (::fcntl(fd, F_SETFL, wanted) != 0) fail("setting a descriptor's flags");
}

class ByteSender : public Sender {
public:
    ByteSender(const ByteKind& kind, std::vector<int> fds, std::size_t bytes, Waiting waiting)
        : kind_(kind), fds_(std::move(fds)), bytes_(bytes), waiting_(waiting) {
        for (const int fd : fds_) set_waiting(fd, waiting);
    }

    void send(const std::byte* messages, std::size_t count) override {
        for (const int fd : fds_) write_all(fd, messages, count * bytes_);
    }

private:
    void write_all(int fd, const std::byte* from, std::size_t left) const {
        while (left > 0) {
            const ssize_t written = kind_.write(fd, from, left);
            if (written < 0 && errno != EAGAIN) fail("writing");
            if (written < 0) {
                stay_away(waiting_);
                continue;
            }
            from += written;
            left -= static_cast<std::size_t>(written);
        }
    }

    ByteKind kind_;
    std::vector<int> fds_;
    std::size_t bytes_;
    Waiting waiting_;
};

class ByteReceiver : public Receiver {
public:
    ByteReceiver(const ByteKind& kind, int fd, std::size_t bytes, Waiting waiting)
        : kind_(kind), fd_(fd), bytes_(bytes), buffer_(std::max(read_bytes, 2 * bytes)) {
        set_waiting(fd, waiting);
    }

    std::span<const std::byte> receive() override {
        // What was left of a message that had come in part moves to the front.
        std::memmove(buffer_.data(), buffer_.data() + whole_, filled_ - whole_);
        filled_ -= whole_;
        whole_ = 0;
        const ssize_t got =
            kind_.read(fd_, buffer_.data() + filled_, buffer_.size() - filled_);
        if (got < 0 && errno == EAGAIN) return {};
        if (got < 0) fail("reading");
        if (got == 0) throw std::runtime_error("the sender is gone before its stream has ended");
        filled_ += static_cast<std::size_t>(got);
        whole_ = filled_ / bytes_ * bytes_;
        return {buffer_.data(), whole_};
    }

private:
    ByteKind kind_;
    int fd_;
    std::size_t bytes_;
    std::vector<std::byte> buffer_;
    std::size_t filled_ = 0;
    std::size_t whole_ = 0;  // handed out by the last call
};

class ByteStream : public Way {
public:
    ByteStream(const ByteKind& kind, std::size_t bytes, std::size_t receivers)
        : kind_(kind), bytes_(bytes) {
        for (std::size_t i = 0; i < receivers; ++i) pairs_.push_back(kind.open(bytes));
    }
    ~ByteStream() override {
        for (const Ends& ends : pairs_) {
            ::close(ends.read_fd);
            ::close(ends.write_fd);
        }
    }

    std::unique_ptr<Sender> sender(Waiting waiting) override {
        std::vector<int> fds;
        for (const Ends& ends : pairs_) fds.push_back(ends.write_fd);
        return std::make_unique<ByteSender>(kind_, std::move(fds), bytes_, waiting);
    }

    std::unique_ptr<Receiver> receiver(std::size_t index, Waiting waiting) override {
        return std::make_unique<ByteReceiver>(kind_, pairs_[index].read_fd, bytes_, waiting);
    }

private:
    ByteKind kind_;
    std::size_t bytes_;
    std::vector<Ends> pairs_;
};

}  // namespace

std::unique_ptr<Way> byte_stream(const ByteKind& kind, std::size_t bytes, std::size_t receivers) {
    return std::make_unique<ByteStream>(kind, bytes, receivers);
}

void stream_over(Peer& peer, Ends (*open)(std::size_t bytes)) {
    const MakeWay make = [open](std::size_t bytes, std::size_t receivers) {
        return byte_stream({open, ::read, ::write}, bytes, receivers);
    };
    run_over(peer, make);
    pack_over(peer, make);
}

std::string kernel_version() {
    utsname system{};
    ::uname(&system);
    return std::string(system.sysname) + " " + system.release;
}

}  // namespace shmbus::bench

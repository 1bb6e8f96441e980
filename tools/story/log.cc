// The logs that the processes of the story keep outside the bus, and reading them back.
//
// SPDX-License-Identifier: BSL-1.0
#include "log.h"

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

namespace story {

std::uint64_t now_ns() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(time.tv_nsec);
}

LogLine line_of(const shmbus::Context& context, std::uint64_t order_id, std::int64_t cents) {
    const shmbus::Envelope& envelope = context.envelope();
    LogLine line;
    line.time_ns = now_ns();
    line.order_id = order_id;
    line.id = envelope.id;
    line.redelivered = envelope.redelivered;
    line.repeated = envelope.repeated;
    line.attempt = envelope.attempt;
    line.cents = cents;
    // A message of another boot has lost its time: the clock has begun anew.
    const auto sent_ns = static_cast<std::uint64_t>(envelope.time_sent_ns);
    line.span_ns = sent_ns != 0 ? line.time_ns - sent_ns : 0;
    return line;
}

AppendFile::AppendFile(const std::string& path)
    : path_(path), fd_(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) {
    if (fd_ < 0) throw std::runtime_error("cannot open " + path + ": " + std::strerror(errno));
}

AppendFile::~AppendFile() { ::close(fd_); }

void AppendFile::append(const std::string& text) {
    const ssize_t wrote = ::write(fd_, text.data(), text.size());
    if (wrote != static_cast<ssize_t>(text.size()))
        throw std::runtime_error("cannot write " + path_ + ": " +
                                 (wrote < 0 ? std::strerror(errno) : "no room"));
}

void AppendFile::append(const LogLine& line) {
    append(fmt::format("{} {} {:016x}{:016x} {} {} {} {} {}\n", line.time_ns, line.order_id,
                       line.id.high, line.id.low, line.redelivered ? 'R' : '-',
                       line.repeated ? 'r' : '-', line.attempt, line.cents, line.span_ns));
}

void LogReader::update() {
    const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return;
    if (fd < 0) throw std::runtime_error("cannot read " + path_ + ": " + std::strerror(errno));
    std::array<char, 65536> part;
    for (;;) {
        const ssize_t got = ::pread(fd, part.data(), part.size(), static_cast<off_t>(offset_));
        if (got <= 0) break;
        offset_ += static_cast<std::uint64_t>(got);
        rest_.append(part.data(), static_cast<std::size_t>(got));
        std::size_t begin = 0;
        for (std::size_t end = 0; (end = rest_.find('\n', begin)) != std::string::npos;
             begin = end + 1)
            take(rest_.substr(begin, end - begin));
        rest_.erase(0, begin);
    }
    ::close(fd);
}

void LogReader::take(const std::string& text) {
    LogLine line;
    char redelivered = 0;
    char repeated = 0;
    std::array<char, 33> id{};
    const int fields = std::sscanf(
        text.c_str(), "%" SCNu64 " %" SCNu64 " %32s %c %c %" SCNu32 " %" SCNd64 " %" SCNu64,
        &line.time_ns, &line.order_id, id.data(), &redelivered, &repeated, &line.attempt,
        &line.cents, &line.span_ns);
    if (fields != 8) throw std::runtime_error("no log line in " + path_ + ": " + text);
    Seen& seen = orders_[line.order_id];
    ++seen.lines;
    seen.redelivered += redelivered == 'R';
    seen.repeated += repeated == 'r';
    seen.marked += redelivered == 'R' || repeated == 'r';
    seen.last_time_ns = std::max(seen.last_time_ns, line.time_ns);
    seen.cents = line.cents;
    spans_.push_back({line.time_ns, line.span_ns});
}

}  // namespace story

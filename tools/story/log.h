// The logs that the processes of the story keep outside the bus, and reading them back.
//
// One line per message accepted or handled, written by one write(2) before the handler returns, so
// that a SIGKILL takes nothing that counts:
//
//   time_ns order_id message_id redelivered repeated attempt cents span_ns
//   5021734811 1207 0000...00 - - 1 2599 41022
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include <shmbus/context.h>

namespace story {

// CLOCK_MONOTONIC, as the bus's own times.
[[nodiscard]] std::uint64_t now_ns();

struct LogLine {
    std::uint64_t time_ns = 0;
    std::uint64_t order_id = 0;
    shmbus::MessageId id;
    bool redelivered = false;
    bool repeated = false;
    std::uint32_t attempt = 1;
    std::int64_t cents = 0;
    std::uint64_t span_ns = 0;  // from sending to here; 0: not known
};

// A line's facts of the message in hand; the span ends now.
[[nodiscard]] LogLine line_of(const shmbus::Context& context, std::uint64_t order_id,
                              std::int64_t cents);

// A file that only grows. Throws std::runtime_error when it cannot be opened or written.
class AppendFile {
public:
    explicit AppendFile(const std::string& path);
    AppendFile(const AppendFile&) = delete;
    AppendFile& operator=(const AppendFile&) = delete;
    ~AppendFile();
    void append(const std::string& text);
    void append(const LogLine& line);

private:
    std::string path_;
    int fd_;
};

// What a log says about one order.
struct Seen {
    std::uint32_t lines = 0;
    std::uint32_t redelivered = 0;  // of the lines
    std::uint32_t repeated = 0;
    std::uint32_t marked = 0;       // either
    std::uint64_t last_time_ns = 0;
    std::int64_t cents = 0;
};

// When a line was written and how long its message had travelled.
struct Span {
    std::uint64_t time_ns;
    std::uint64_t span_ns;
};

// Reads one log while it grows.
class LogReader {
public:
    explicit LogReader(std::string path) : path_(std::move(path)) {}
    // Takes in the lines that have come since. A log that is not there yet is empty. Throws
    // std::runtime_error for a line that is none.
    void update();

    [[nodiscard]] std::uint64_t lines() const noexcept { return spans_.size(); }
    [[nodiscard]] const std::unordered_map<std::uint64_t, Seen>& orders() const noexcept {
        return orders_;
    }
    [[nodiscard]] const std::vector<Span>& spans() const noexcept { return spans_; }

private:
    void take(const std::string& line);

    std::string path_;
    std::uint64_t offset_ = 0;
    std::string rest_;  // of a line that is being written
    std::unordered_map<std::uint64_t, Seen> orders_;
    std::vector<Span> spans_;
};

}  // namespace story

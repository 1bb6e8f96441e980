// What is carried: messages whose every byte is written by the sender and read by the receiver.
//
// Contestants and limits use the same cargo, the same stream of it and the same tally, so that what
// differs between them is only the way.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include "ticks.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace shmbus::bench {

enum class Mark : std::uint64_t {
    plain = 0,
    begin = 1,  // the sender is warm: counting starts when every sender has said so
    end = 2,    // the sender's last message
};

// A message of exactly `size` bytes.
template <std::size_t size>
struct Cargo {
    static_assert(size >= 32 && size % 8 == 0);
    static constexpr std::size_t filler_words = size / 8 - 3;

    std::uint64_t sequence = 0;
    std::uint64_t mark = 0;
    std::uint64_t sender = 0;
    std::array<std::uint64_t, filler_words> filler{};

    // Every word once: the reader's proof that all of it has arrived.
    std::uint64_t sum() const noexcept {
        std::uint64_t total = sequence + mark + sender;
        for (const std::uint64_t word : filler) total += word;
        return total;
    }
};

// An odd number of many bits, so that no word of a message is like another one.
inline constexpr std::uint64_t stirrer = 0x9e3779b97f4a7c15;

// A word of a message that need not be aligned.
inline std::uint64_t word_at(const std::byte* bytes) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof word);
    return word;
}

// The filler but for its last word, which follows the sequence: what was left in a ring by an
// earlier message, or a copy cut short, cannot pass for this one.
template <typename Message>
void fill_up(Message& message) noexcept {
    for (std::size_t i = 0; i < message.filler.size(); ++i) message.filler[i] = (i + 1) * stirrer;
}

template <typename Message>
void number(Message& message, std::uint64_t sequence) noexcept {
    message.sequence = sequence;
    message.mark = 0;
    message.filler.back() = ~sequence * stirrer;
}

// What the filler of message number `sequence` sums up to.
template <std::size_t size>
constexpr std::uint64_t filler_sum(std::uint64_t sequence) noexcept {
    constexpr std::uint64_t words = Cargo<size>::filler_words;
    return (words - 1) * words / 2 * stirrer + ~sequence * stirrer;
}

// The messages of one sender, in order: some to warm up, the begin, as many as the time allows,
// the end. The time is looked at only now and then. `Message` is a Cargo, or derived from one.
//
// Small messages are written in blocks ahead of their sending: a copy that reads with wide loads
// what narrow stores wrote an instant ago stalls the core for longer than the whole send takes,
// and would be charged to the way although it belongs to the benchmark.
template <typename Message>
class Stream {
public:
    static constexpr std::size_t size = sizeof(Message);
    static constexpr std::size_t block_size = size <= 64 ? 64 : size <= 4096 ? 4 : 1;

    Stream(std::uint64_t sender, std::chrono::nanoseconds span)
        : warm_ticks_(tick_rate().ticks(span / 5)), span_ticks_(tick_rate().ticks(span)),
          begin_(now_ticks()), block_(block_size) {
        for (Message& cargo : block_) {
            cargo.sender = sender;
            fill_up(cargo);
        }
    }

    // False after the end was given out.
    bool more() const noexcept { return !ended_ || at_ < filled_; }

    // The next message; valid until the following call. Only while more().
    const Message& next() noexcept {
        if (at_ == filled_) [[unlikely]] fill();
        return block_[at_++];
    }

    // The next messages, block_size of them but for the last ones. Only while more(); not to be
    // mixed with next().
    std::span<const Message> next_block() noexcept {
        fill();
        at_ = filled_;
        return {block_.data(), filled_};
    }

private:
    static constexpr std::uint64_t blocks_per_look = size <= 4096 ? 16 : 4;

    void fill() noexcept {
        for (Message& cargo : block_) number(cargo, sequence_++);
        at_ = 0;
        filled_ = block_size;
        if (++blocks_ % blocks_per_look == 0) look_at_the_clock();
    }

    void look_at_the_clock() noexcept {
        const std::uint64_t elapsed = now_ticks() - begin_;
        if (!begun_ && elapsed >= warm_ticks_) {
            begun_ = true;
            if (loses_one_) skip_one();
            block_[0].mark = static_cast<std::uint64_t>(Mark::begin);
        } else if (begun_ && elapsed >= span_ticks_) {
            ended_ = true;
            filled_ = 1;
            block_[0].mark = static_cast<std::uint64_t>(Mark::end);
        }
    }

    // To the receiver this is a message lost on its way.
    void skip_one() noexcept {
        for (std::size_t i = 0; i < filled_; ++i) number(block_[i], sequence_ - filled_ + i + 1);
        ++sequence_;
    }

    bool loses_one_ = std::getenv("SHMBUS_BENCH_LOSE") != nullptr;  // for tests
    std::uint64_t warm_ticks_;
    std::uint64_t span_ticks_;
    std::uint64_t begin_;
    std::uint64_t sequence_ = 0;
    std::uint64_t blocks_ = 0;
    bool begun_ = false;
    bool ended_ = false;
    std::size_t at_ = 0;
    std::size_t filled_ = 0;
    std::vector<Message> block_;
};

// What a receiver found. Lies in shared memory; its parent asks it after the receiver has ended.
class Tally {
public:
    static constexpr std::size_t max_senders = 4;

    // `senders` of them must begin before the counting starts, and end before it is complete.
    void expect(std::size_t senders) noexcept { senders_ = senders; }

    // Checks one message and counts it.
    template <std::size_t size>
    void take(const Cargo<size>& cargo) noexcept {
        take<size>(cargo.sequence, cargo.mark, cargo.sender, cargo.sum());
    }

    // The same of one that lies anywhere: libraries hand out what no message is aligned in.
    template <std::size_t size>
    void take_at(const std::byte* message) noexcept {
        std::uint64_t sum = 0;
        for (std::size_t at = 0; at < size; at += 8) sum += word_at(message + at);
        take<size>(word_at(message), word_at(message + 8), word_at(message + 16), sum);
    }

    bool complete() const noexcept { return ends_ == senders_; }

    // Nothing if the senders were never at work together: a busy machine may do that.
    std::optional<double> rate_per_s() const noexcept {
        if (first_ticks_ == 0 || last_ticks_ <= first_ticks_) return std::nullopt;
        const double span_ns = tick_rate().ns(last_ticks_ - first_ticks_);
        return static_cast<double>(last_count_ - first_count_) / span_ns * 1e9;
    }

    std::string integrity() const {
        if (wrong_order_ > 0) return std::to_string(wrong_order_) + " messages lost or disordered";
        if (wrong_sums_ > 0) return std::to_string(wrong_sums_) + " messages damaged";
        if (!complete()) return "the stream did not end";
        return "ok";
    }

private:
    template <std::size_t size>
    void take(std::uint64_t sequence, std::uint64_t mark, std::uint64_t sender,
              std::uint64_t sum) noexcept {
        if (sender != sender_) [[unlikely]] turn_to(sender);
        wrong_order_ += sequence != next_ ? 1 : 0;
        next_ = sequence + 1;
        wrong_sums_ += sum != sequence + mark + sender + filler_sum<size>(sequence) ? 1 : 0;
        ++count_;
        if (mark != 0) [[unlikely]] note(mark);
    }

    // Messages come in runs of one sender; what is expected of the others waits in a table, so that
    // the run needs no look-up per message.
    void turn_to(std::uint64_t sender) noexcept {
        others_[sender_ % max_senders] = next_;
        next_ = others_[sender % max_senders];
        sender_ = sender;
    }

    // Counted is what lies between the last begin and the first end: all senders are at work there.
    void note(std::uint64_t mark) noexcept {
        if (mark == static_cast<std::uint64_t>(Mark::begin) && ++begins_ == senders_) {
            first_ticks_ = now_ticks();
            first_count_ = count_;
        }
        if (mark == static_cast<std::uint64_t>(Mark::end) && ++ends_ == 1) {
            last_ticks_ = now_ticks();
            last_count_ = count_;
        }
    }

    std::size_t senders_ = 1;
    std::size_t begins_ = 0;
    std::size_t ends_ = 0;
    std::uint64_t count_ = 0;
    std::uint64_t first_ticks_ = 0;
    std::uint64_t first_count_ = 0;
    std::uint64_t last_ticks_ = 0;
    std::uint64_t last_count_ = 0;
    std::uint64_t wrong_order_ = 0;
    std::uint64_t wrong_sums_ = 0;
    std::uint64_t sender_ = 0;
    std::uint64_t next_ = 0;
    std::array<std::uint64_t, max_senders> others_{};
};

}  // namespace shmbus::bench

// Spans: what was handled when, as lines of JSON, for messages that belong to a sampled trace.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <shmbus/context.h>
#include <shmbus/options.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace shmbus::detail {

// The span of one handling of a message: the same whoever asks, so it needs no state.
[[nodiscard]] std::array<std::uint8_t, 8> span_of(MessageId id, std::uint32_t attempt) noexcept;

struct HandledSpan {
    std::uint64_t begin_ns = 0;  // CLOCK_MONOTONIC
    std::uint64_t end_ns = 0;
    std::string_view endpoint;
    std::string_view process;
    std::string_view complaint;  // empty: it succeeded
};
// One line, its end included. Field names as in OTLP's JSON; times since 1970.
[[nodiscard]] std::string span_line(const Envelope& message, const HandledSpan& handled);

// Appends lines to a file, each with one write. Throws SetupError when it cannot be opened.
[[nodiscard]] std::function<void(std::string_view)> spans_to_file(const std::string& path);

}  // namespace shmbus::detail

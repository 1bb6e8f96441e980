// W3C trace context: which distributed trace a message belongs to.
//
//     SendOptions options;
//     options.trace = shmbus::TraceContext::parse(request.header("traceparent"));
//     bus.send(PlaceOrder{...}, options);
//
// It travels with the message, and what its handler sends belongs to the same trace, with the
// handling as its parent. With BusOptions::spans, or SHMBUS_SPANS=FILE, each handling of a sampled
// message is told as one line of JSON.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace [[gnu::visibility("default")]] shmbus {

struct TraceContext {
    std::array<std::uint8_t, 16> trace_id{};
    std::array<std::uint8_t, 8> parent_id{};  // the span that caused the message
    std::uint8_t flags = 0;                   // as in the header; bit 0: sampled

    [[nodiscard]] constexpr bool is_sampled() const noexcept { return (flags & 1U) != 0; }
    // Reads a traceparent header (https://www.w3.org/TR/trace-context/, version 00, later versions
    // as far as 00 goes). Nothing when it is none, or an id is all zero. Any thread.
    [[nodiscard]] static std::optional<TraceContext> parse(std::string_view traceparent) noexcept;
    // The header's value: 00-<trace id>-<parent id>-<flags>. Any thread.
    [[nodiscard]] std::string text() const;
    friend bool operator==(const TraceContext&, const TraceContext&) = default;
};

}  // namespace shmbus

// Trace contexts and spans. See the headers.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/trace.h"

#include <algorithm>
#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "wire/record.h"

namespace shmbus {

namespace {

// -1: no lower-case hexadecimal digit, which are the only ones that the header has.
[[nodiscard]] int digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

[[nodiscard]] bool read_hex(std::string_view text, std::uint8_t* into, std::size_t bytes) noexcept {
    for (std::size_t i = 0; i < bytes; ++i) {
        const int high = digit(text[2 * i]);
        const int low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        into[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return true;
}

template <std::size_t n>
[[nodiscard]] std::string hex(const std::array<std::uint8_t, n>& bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 0xFU];
    }
    return text;
}

template <std::size_t n>
[[nodiscard]] bool is_zero(const std::array<std::uint8_t, n>& bytes) noexcept {
    return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

std::optional<TraceContext> TraceContext::parse(std::string_view text) noexcept {
    constexpr std::size_t length = 2 + 1 + 32 + 1 + 16 + 1 + 2;
    TraceContext read;
    std::uint8_t version = 0;
    if (text.size() < length || text[2] != '-' || text[35] != '-' || text[52] != '-' ||
        !read_hex(text, &version, 1) || version == 0xFF ||
        !read_hex(text.substr(3), read.trace_id.data(), read.trace_id.size()) ||
        !read_hex(text.substr(36), read.parent_id.data(), read.parent_id.size()) ||
        !read_hex(text.substr(53), &read.flags, 1))
        return std::nullopt;
    // A later version may say more, behind another dash.
    if (text.size() != length && (version == 0 || text[length] != '-')) return std::nullopt;
    if (is_zero(read.trace_id) || is_zero(read.parent_id)) return std::nullopt;
    return read;
}

std::string TraceContext::text() const {
    return "00-" + hex(trace_id) + "-" + hex(parent_id) + "-" +
           hex(std::array<std::uint8_t, 1>{flags});
}

namespace detail {

namespace {

[[nodiscard]] std::string in_quotes(std::string_view text) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string all = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') (all += '\\') += c;
        else if (byte >= 0x20 && byte < 0x7F) all += c;
        // What an exception said may be in any encoding: byte for byte.
        else all += std::string("\\u00") + digits[byte >> 4] + digits[byte & 0xFU];
    }
    return all + "\"";
}

}  // namespace

std::array<std::uint8_t, 8> span_of(MessageId id, std::uint32_t attempt) noexcept {
    const std::uint64_t mixed =
        wire::detail::mixed(id.high ^ wire::detail::mixed(id.low + attempt)) | 1U;  // never zero
    std::array<std::uint8_t, 8> span{};
    for (std::size_t i = 0; i < span.size(); ++i)
        span[i] = static_cast<std::uint8_t>(mixed >> (8 * i));
    return span;
}

std::string span_line(const Envelope& message, const HandledSpan& handled) {
    const TraceContext trace = message.trace.value_or(TraceContext{});
    // The difference of the clocks, now: spans end just before they are told.
    const std::uint64_t since_1970 = base::realtime_ns() - base::now_ns();
    std::string line = "{\"traceId\":\"" + hex(trace.trace_id) + "\",\"spanId\":\"" +
                       hex(span_of(message.id, message.attempt)) + "\",\"parentSpanId\":\"" +
                       hex(trace.parent_id) + "\",\"name\":" +
                       in_quotes("process " + std::string(message.type)) +
                       ",\"kind\":\"SPAN_KIND_CONSUMER\",\"startTimeUnixNano\":\"" +
                       std::to_string(since_1970 + handled.begin_ns) +
                       "\",\"endTimeUnixNano\":\"" + std::to_string(since_1970 + handled.end_ns) +
                       "\",\"status\":{\"code\":\"" +
                       (handled.complaint.empty() ? "STATUS_CODE_OK" : "STATUS_CODE_ERROR") + "\"";
    if (!handled.complaint.empty()) line += ",\"message\":" + in_quotes(handled.complaint);
    line += "},\"attributes\":{\"service.name\":" + in_quotes(handled.process) +
            ",\"messaging.system\":\"shmbus\",\"messaging.operation\":\"process\"" +
            ",\"messaging.destination.name\":" + in_quotes(handled.endpoint) +
            ",\"messaging.message.id\":" + in_quotes(message.id.text()) +
            ",\"messaging.message.conversation_id\":" + in_quotes(message.conversation.text()) +
            ",\"shmbus.attempt\":" + std::to_string(message.attempt) +
            ",\"shmbus.redelivered\":" + (message.redelivered ? "true" : "false") + "}}\n";
    return line;
}

std::function<void(std::string_view)> spans_to_file(const std::string& path) {
    auto file = std::make_shared<base::File>(::open(
        path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
    if (!*file)
        throw SetupError{"opening a file for spans", path, errno,
                         "SHMBUS_SPANS names a file that may be written, and is no link"};
    return [file](std::string_view line) {
        // A span that cannot be written is missing: nothing waits for a disk on their account.
        static_cast<void>(!::write(file->fd(), line.data(), line.size()));
    };
}

}  // namespace detail
}  // namespace shmbus

// One message as an onlooker shows it.
//
// SPDX-License-Identifier: BSL-1.0
#include "look/message.h"

#include <fmt/core.h>
#include <shmbus/context.h>

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "look/message_text.h"
#include "wire/fields.h"

namespace shmbus::look {
namespace {

constexpr std::size_t most_shown_bytes = 256;

[[nodiscard]] std::optional<std::vector<wire::Field>> fields_of(const Type& type,
                                                                const base::File& types) {
    if (!types) return std::nullopt;
    try {
        const auto file = base::File::open_if_there(types.fd(), wire::numbered_file(type.reference),
                                                    base::Access::read_only);
        if (!file) return std::nullopt;
        std::string text(wire::most_field_text, '\0');
        text.resize(file->read_all(std::as_writable_bytes(std::span(text)), 0));
        return wire::parse_fields(text, type.bytes);
    } catch (const SetupError&) {
        return std::nullopt;
    }
}

// On one line: what scripts send has ends of lines in it, and one at its end.
[[nodiscard]] std::string text_of_bytes(std::span<const std::byte> payload) {
    const auto is_space = [](char c) { return c == '\n' || c == '\t' || c == '\r'; };
    std::size_t shown_bytes = 0;  // whole characters
    for (std::size_t at = 0, length = 0; at < payload.size(); at += length) {
        const bool is_here = is_space(static_cast<char>(payload[at]));
        length = is_here ? 1 : tools::character_at(payload.subspan(at));
        if (length == 0)
            return tools::hex_of(payload.first(std::min(payload.size(), most_shown_bytes)));
        if (at + length <= most_shown_bytes) shown_bytes = at + length;
    }
    std::string text(reinterpret_cast<const char*>(payload.data()), shown_bytes);
    std::ranges::replace_if(text, is_space, ' ');
    text.resize(text.find_last_not_of(' ') + 1);
    return text;
}

[[nodiscard]] std::string text_of(const wire::FailureRecord& failure, const Snapshot& seen) {
    const std::size_t bytes = std::min<std::size_t>(failure.what_bytes, sizeof(failure.what));
    const Endpoint* const endpoint = seen.endpoint_at(failure.endpoint);
    std::string text =
        fmt::format("{} at {}, {} attempts", name_of(static_cast<FailureReason>(failure.reason)),
                    endpoint ? endpoint->name : "an endpoint that is gone", failure.attempts);
    if (failure.signal != 0) text += fmt::format(", signal {}", failure.signal);
    if (bytes > 0) text += ": " + std::string(failure.what, bytes);
    return text;
}

}  // namespace

Message message_of(const lane::SeenRecord& record, std::uint64_t lane, const Snapshot& seen,
                   const base::File& types) {
    Message message;
    message.lane = lane;
    message.position = record.position;
    message.type = record.meta.type;
    message.count = record.messages();
    message.bytes = record.payload().size();
    message.id = wire::id_at(lane, record.position, 0).text();
    wire::Extensions extensions;
    if (record.extensions(extensions)) {
        if ((extensions.flags & wire::has_explicit_id) != 0) message.id = extensions.id.text();
        const auto sent = static_cast<std::uint64_t>(extensions.time_sent.monotonic_ns);
        if ((extensions.flags & wire::has_time_sent) != 0 && sent <= seen.monotonic_ns)
            message.age_ns = seen.monotonic_ns - sent;
        if ((extensions.flags & wire::has_failure) != 0)
            message.failure = text_of(extensions.failure, seen);
    }
    if (message.count > 1) {
        message.text = fmt::format("{} messages behind one header", message.count);
        return message;
    }
    const Type* const type = seen.type(message.type);
    const auto fields = type ? fields_of(*type, types) : std::nullopt;
    message.text = fields && !fields->empty() ? tools::text_of(*fields, record.payload())
                                              : text_of_bytes(record.payload());
    return message;
}

}  // namespace shmbus::look

// A message out of its JSON. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/archived_message.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "cli/body.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

[[noreturn]] void wrong(const Json& message, const std::string& what) {
    const std::string id = message.value("id", "?");
    throw Trouble(Exit::damaged, "message " + id + " of the archive cannot be restored: " + what,
                  "the file was changed, or is no archive of shmbus failed archive");
}

// A member of an archived message; refuses what is not of its kind.
template <class T>
[[nodiscard]] T member_of(const Json& object, const Json& message, const char* name) {
    const auto found = object.find(name);
    if (found == object.end()) wrong(message, std::string("it has no \"") + name + '"');
    try {
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
            if (!found->is_number_integer()) wrong(message, std::string(name) + " is no number");
            const bool fits = found->is_number_unsigned()
                                  ? std::in_range<T>(found->get<std::uint64_t>())
                                  : std::in_range<T>(found->get<std::int64_t>());
            if (!fits) wrong(message, std::string(name) + " is out of range");
        }
        return found->get<T>();
    } catch (const Json::exception&) {
        wrong(message, std::string(name) + " is of another kind");
    }
}

[[nodiscard]] MessageId id_of(const std::string& digits, const Json& message) {
    const auto bytes = digits.size() == 32 ? bytes_of_hex(digits) : Bytes();
    if (bytes.size() != 16) wrong(message, '"' + digits + "\" is no id");
    const auto number = [&](std::size_t at) {
        std::uint64_t value = 0;
        for (std::size_t byte = at; byte < at + 8; ++byte)
            value = value << 8 | std::to_integer<std::uint64_t>(bytes[byte]);
        return value;
    };
    return {number(0), number(8)};
}

[[nodiscard]] wire::FailureRecord failure_of(const OpenBus& bus, const Json& message) {
    const Json& told = message["failure"];
    wire::FailureRecord failure{};
    const auto reason = member_of<std::string>(told, message, "reason");
    constexpr auto last = static_cast<std::uint8_t>(FailureReason::not_decodable);
    for (std::uint8_t one = 0; one <= last; ++one)
        if (name_of(static_cast<FailureReason>(one)) == reason) failure.reason = one;
    failure.attempts = member_of<std::uint8_t>(told, message, "attempts");
    failure.signal = member_of<std::int32_t>(told, message, "signal");
    failure.pid = member_of<std::int64_t>(told, message, "pid");
    const auto what = member_of<std::string>(told, message, "what");
    failure.what_bytes = static_cast<std::uint8_t>(std::min(what.size(), sizeof(failure.what)));
    std::memcpy(failure.what, what.data(), failure.what_bytes);
    // Gone meanwhile, or of another bus: then who handles its type is where a retry sends it.
    if (const auto there = bus.reader().find_endpoint(member_of<std::string>(told, message,
                                                                             "endpoint")))
        wire::set_failed_at(failure, there->index, there->row.generation);
    return failure;
}

}  // namespace

SeenMessage message_of(const OpenBus& bus, const Json& message) {
    SeenMessage made;
    made.id = id_of(member_of<std::string>(message, message, "id"), message);
    const directory::Type type = bus.type(member_of<std::string>(message, message, "type"));
    made.meta.type = static_cast<std::uint16_t>(type.index);
    made.payload = bytes_of_hex(member_of<std::string>(message, message, "hex"));
    require_length(made.payload.size(), type);
    const auto has = [&](const char* name) {
        return message.contains(name) && message[name].is_object();
    };
    if (member_of<bool>(message, message, "durable")) made.meta.flags |= wire::has_durable;
    if (member_of<bool>(message, message, "repeated")) made.meta.flags |= wire::is_repeated;
    if (message.value("mixed_id", Json()) == true) made.meta.flags |= wire::is_mixed_id;
    if (has("failure")) {
        made.meta.flags |= wire::has_failure;
        made.extensions.failure = failure_of(bus, message);
    }
    if (has("lineage")) {
        const Json& told = message["lineage"];
        made.meta.flags |= wire::has_lineage;
        const auto id = [&](const char* name) {
            return id_of(member_of<std::string>(told, message, name), message);
        };
        made.extensions.lineage = {id("related_to"), id("conversation"), id("correlation")};
    }
    if (message.contains("traceparent"))
        if (const auto trace = TraceContext::parse(member_of<std::string>(message, message,
                                                                          "traceparent"))) {
            made.meta.flags |= wire::has_trace;
            made.extensions.trace = {trace->trace_id, trace->parent_id, trace->flags, {}};
        }
    return made;
}

}  // namespace shmbus::cli

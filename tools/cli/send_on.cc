// A message once more, to another endpoint. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/send_on.h"

#include <chrono>

#include "base/bytes.h"
#include "cli/trouble.h"

namespace shmbus::cli {

using namespace std::chrono_literals;

namespace {

[[nodiscard]] MessageId conversation_of(const SeenMessage& message) {
    if ((message.meta.flags & wire::has_lineage) != 0)
        return message.extensions.lineage.conversation;
    const bool is_mixed = (message.meta.flags & wire::is_mixed_id) != 0;
    return is_mixed ? message.id : wire::root_of(message.id);
}

[[nodiscard]] wire::Lineage lineage_of_copy(const SeenMessage& message) {
    const bool has_lineage = (message.meta.flags & wire::has_lineage) != 0;
    return {message.id, conversation_of(message),
            has_lineage ? message.extensions.lineage.correlation : message.id};
}

// To where it came first: see wire/record.h.
[[nodiscard]] bool goes_back(const SeenMessage& message, const SendOn& how) {
    const bool is_same = how.to.index == how.from.index && how.to.generation == how.from.generation;
    const bool has_failed = (message.meta.flags & wire::has_failure) != 0;
    return is_same || (has_failed && (how.keeps_failure ||
                                      wire::is_failed_at(message.extensions.failure, how.to.index,
                                                         how.to.generation)));
}

[[nodiscard]] detail::Outgoing outgoing(const SeenMessage& message, const SendOn& how) {
    detail::Outgoing record;
    record.type = message.meta.type;
    record.payload = how.payload ? *how.payload : message.payload;
    record.extensions = message.extensions;
    if (how.is_copy) {
        // Whoever asked is answered by the one who handles the original.
        record.extensions.lineage = lineage_of_copy(message);
        record.extensions.flags = wire::has_lineage;
    } else {
        const std::uint16_t kept =
            wire::has_reply_to | wire::has_lineage | wire::has_trace |
            (how.keeps_failure ? wire::has_failure : 0);
        record.extensions.id = message.id;
        record.extensions.flags =
            static_cast<std::uint16_t>((message.meta.flags & kept) | wire::has_explicit_id);
        record.flags = static_cast<std::uint16_t>(message.meta.flags &
                                                  (wire::is_repeated | wire::is_mixed_id));
        if (!message.is_durable() && wire::is_place(message.id) && !goes_back(message, how))
            record.flags |= wire::is_mixed_id;
        if (how.payload) {
            record.extensions.id = id_of_edited(message, *how.payload);
            record.extensions.lineage = {message.id, conversation_of(message), message.id};
            record.extensions.flags |= wire::has_lineage;
            record.flags |= wire::is_mixed_id;
        }
    }
    if (how.may_be_repeated) record.flags |= wire::is_repeated;
    return record;
}

}  // namespace

MessageId id_of_edited(const SeenMessage& message, std::span<const std::byte> payload) {
    // No output of a handler has this number; its id is mixed from the bytes as well.
    constexpr std::uint16_t as_edited = 65'533;
    return wire::id_mixed(message.id, base::hash_of(payload), as_edited);
}

void send_on(Member& member, const SeenMessage& message, const SendOn& how) {
    const std::string tried = "sending on " + message.id.text();
    detail::Outbound& out = member.out();
    detail::Outgoing record = outgoing(message, how);
    detail::Target* target = nullptr;
    if (message.is_durable()) {
        record.extensions.durable = {how.to.index, how.to.generation, 0};
        if (!how.is_copy)
            record.extensions.durable.lsn =
                wire::sent_on_from(message.extensions.durable.lsn, how.from.index);
        record.extensions.flags |= wire::has_durable;
        // In order: what stands in the lane is on disk before a longer one is opened for this.
        if (record.payload.size() > value_of(out.journal_target(), tried)->most_payload())
            wait_until_on_disk(member);
        target = value_of(out.journal_target(record.payload.size()), tried);
    } else {
        target = value_of(
            out.target(how.to.index, how.to.generation, record.payload.size()), tried);
    }
    if (record.payload.size() > target->most_payload())
        throw trouble_of(detail::too_large(record.payload.size(), target->most_payload()), tried);
    require(out.write_and_ring(*target, record, detail::Outbound::patience_of(WhenFull::wait, 5s)),
            tried);
}

void wait_until_on_disk(Member& member) {
    require(member.out().last_receipt().wait(30s), "waiting until what was sent on is on disk");
}

}  // namespace shmbus::cli

// The way into the journal. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/intake.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <shmbus/context.h>

#include "base/barrier.h"
#include "base/check.h"
#include "base/clock.h"
#include "daemon/step.h"
#include "lane/receipt.h"

namespace shmbus::daemon {

using directory::EndpointRow;
using directory::LaneRow;
using directory::RowState;
using directory::SubscriptionRow;
using directory::TypeRow;
using journal::Outcome;

namespace {

// Our place at the doorbell: nobody else reads this inbox.
constexpr std::uint16_t place = 0;
// So many records of one lane, then the next lane's; and so many in a batch.
constexpr std::uint32_t most_in_a_row = 1'024;
constexpr std::size_t most_in_a_batch = 16'384;
// Who sends one message behind the other has sent more by then.
constexpr auto between_looks = std::chrono::microseconds(1);
// Who has many on their way takes all their receipts first: so long for each.
constexpr auto takes_receipt = std::chrono::nanoseconds(8);
// Of a lane that could not be opened: wherever it ends.
constexpr std::uint64_t to_its_end = ~std::uint64_t{0};
// Among the audiences: no type and no endpoint.
constexpr std::pair<std::uint64_t, std::uint64_t> errors{~std::uint64_t{0}, 0};

// The largest head that a record can have.
using Head = std::array<std::byte, 16 * 16>;

// What stands before the payload of a command that goes to the error endpoint, since its own one
// was removed behind its sender's back.
[[nodiscard]] std::span<const std::byte> head_of_failed(wire::Meta meta,
                                                        wire::Extensions extensions,
                                                        journal::Endpoint to, Head& head) {
    static constexpr std::string_view why = "its endpoint was removed before it came";
    extensions.failure = {};
    extensions.failure.reason = static_cast<std::uint8_t>(FailureReason::unknown_type);
    wire::set_failed_at(extensions.failure, extensions.durable.endpoint,
                        extensions.durable.generation);
    extensions.failure.what_bytes = static_cast<std::uint8_t>(why.size());
    std::ranges::copy(why, extensions.failure.what);
    extensions.durable = {wire::index_of(to), wire::generation_of(to), 0};
    extensions.flags |= wire::has_failure;
    meta.flags = extensions.flags;
    meta.extension_units = static_cast<std::uint8_t>(wire::extension_bytes(meta.flags) / 16);
    const std::uint64_t word = meta.word();
    std::memcpy(head.data(), &word, sizeof(word));
    wire::write_extensions(extensions, head.data() + sizeof(word));
    return std::span(head).first(sizeof(word) + wire::extension_bytes(meta.flags));
}

}  // namespace

Intake::Intake(State& state, std::uint32_t endpoint, std::uint32_t generation)
    : state_(state),
      endpoint_(endpoint),
      inbox_(state.inboxes().open(endpoint, generation)),
      bell_(lane::name_of(inbox_.identity()), place) {}

// ---- lanes

void Intake::refresh(journal::Journal& journal) {
    const auto& tables = state_.tables();
    const auto now = std::chrono::steady_clock::now();
    if (tables.version() == known_version_ && !(lacks_lanes_ && now >= next_try_)) return;
    // None, until all is done: where no memory is left for it, it is done again.
    known_version_ = 0;
    lacks_lanes_ = false;
    next_try_ = now + try_again_after;
    audiences_.clear();
    std::map<std::uint64_t, Source> kept;
    for (const LaneRow& row : tables.rows<LaneRow>()) {
        if (row.state == RowState::free || row.endpoint != endpoint_) continue;
        const auto [known, is_new] = sources_.try_emplace(row.id);
        Source& source = known->second;
        source.waits = false;
        if (source.lane == nullptr && !open(row.id, source, journal)) lacks_lanes_ = true;
        kept.insert(sources_.extract(known));
    }
    // Only to be forgotten sooner: without it the journal remembers a lane for a day.
    for (const auto& [id, gone] : sources_) static_cast<void>(journal.lane_gone(id));
    sources_ = std::move(kept);
    known_version_ = tables.version();
}

bool Intake::open(std::uint64_t lane_id, Source& source, const journal::Journal& journal) const {
    try {
        source.lane = std::make_unique<lane::ReaderLane>(
            base::File::open_at(state_.home().lanes().fd(), wire::lane_file(lane_id),
                                base::Access::read_write));
    } catch (const SetupError& error) {
        source.is_hindered = is_for_want_of_room(error);
        if (!std::exchange(source.is_missed, true)) state_.log(LogLevel::error, error.what());
        return false;
    }
    source.is_hindered = false;
    const lane::StdReaderPage& page = source.lane->parts().reader_page();
    // relaxed, both: only the daemon moves them, and the one before us is dead.
    const std::uint64_t head = lane::position_in(page.head.load(std::memory_order_relaxed));
    const std::uint64_t receipt = page.receipt.load(std::memory_order_relaxed);
    source.begin = source.read = std::max({head, receipt, journal.consumed_of(lane_id)});
    // What was marked before it could be looked at.
    source.asked_to = std::min(source.asked_to, source.begin + source.lane->capacity_units());
    // What a killed daemon had on disk and did not come to say.
    lane::give_receipt(source.lane->parts().reader_page(), source.lane->parts().writer_page(),
                       source.read);
    give_room(source);
    return true;
}

void Intake::poison(Source& source, const std::string& why) {
    if (source.lane->poisoned) return;
    source.lane->poisoned = true;
    // relaxed: a hint to the writer; it changes nothing that is ordered.
    source.lane->parts().reader_page().poisoned.store(1, std::memory_order_relaxed);
    state_.log(LogLevel::error, "lane " + wire::lane_file(source.lane->lane_id()) +
                                    " into the journal is not read any more: " +
                                    (source.lane->parts().lost() ? "its file was cut short" : why));
}

// ---- reading

const std::vector<journal::Endpoint>& Intake::audience(std::uint16_t type,
                                                       const wire::Durable& durable) {
    static const std::vector<journal::Endpoint> nobody;
    const auto& tables = state_.tables();
    const auto number = [&](std::uint32_t index) {
        return wire::make_reference(index, tables.row<EndpointRow>(index).generation);
    };
    // Only what is there is remembered: a stranger can name any number.
    journal::Endpoint wanted = 0;
    if (durable.endpoint != 0) {
        wanted = wire::make_reference(durable.endpoint, durable.generation);
        // Removed and made again since it was sent: whoever handles the command now.
        if (!state_.has_endpoint(wanted) && type < tables.used<TypeRow>())
            wanted = number(tables.row<TypeRow>(type).route);
        if (!state_.has_endpoint(wanted)) return nobody;
        type = 0;
    } else if (type >= tables.used<TypeRow>()) {
        return nobody;
    }
    const auto [found, is_new] = audiences_.try_emplace({type, wanted});
    std::vector<journal::Endpoint>& to = found->second;
    if (!is_new) return to;
    if (wanted != 0) {
        to.push_back(wanted);
        return to;
    }
    for (const SubscriptionRow& row : tables.rows<SubscriptionRow>())
        if (row.state != RowState::free && state_.has_endpoint(number(row.endpoint)) &&
            state_.descends(type, row.event))
            to.push_back(number(row.endpoint));
    std::ranges::sort(to);
    to.erase(std::unique(to.begin(), to.end()), to.end());
    return to;
}

bool Intake::was_there(std::uint16_t type, const wire::Durable& durable) const {
    const auto& tables = state_.tables();
    return type != 0 && type < tables.used<TypeRow>() && durable.endpoint != 0 &&
           durable.endpoint < tables.used<EndpointRow>() &&
           durable.generation <= tables.row<EndpointRow>(durable.endpoint).generation;
}

const std::vector<journal::Endpoint>& Intake::error_audience() {
    const auto& tables = state_.tables();
    const auto [found, is_new] = audiences_.try_emplace(errors);
    for (std::uint32_t index = 1; is_new && index < tables.used<EndpointRow>(); ++index) {
        const EndpointRow& row = tables.row<EndpointRow>(index);
        if (row.state != RowState::live || row.kind != directory::EndpointKind::error) continue;
        found->second.push_back(wire::make_reference(index, row.generation));
        break;
    }
    return found->second;
}

// No receipt for what nobody would get.
void Intake::wait_for_endpoint(Source& source, std::uint16_t type) {
    source.waits = true;
    state_.log(LogLevel::error,
               "a durable command of type " + std::to_string(type) +
                   " came whose endpoint is gone, and there is no error endpoint; it and what is "
                   "behind it wait in lane " + wire::lane_file(source.lane->lane_id()) +
                   " until there is one, or somebody handles that command");
}

// Whether a message of this id is in the journal, or was, and the id to know it by again. Doubted:
// or it was among what is lost.
Intake::Known Intake::is_known(const journal::Journal& journal, MessageId id,
                               const wire::Extensions& extensions, MessageId& key) const {
    const auto unless = [](bool is_doubted) { return is_doubted ? Known::doubted : Known::yes; };
    key = id;
    // Sent on under its id, as one that failed or is tried again: another message.
    constexpr std::uint16_t as_sent_on = 65'534;
    const bool is_sent_on = wire::is_sent_on(extensions.durable.lsn);
    if (is_sent_on) key = wire::id_mixed(id, extensions.durable.lsn, as_sent_on);
    if (keys_.contains({key.high, key.low})) return Known::yes;
    if (journal.was_seen(key)) return unless(journal.is_doubted(key));
    // Sent again under the id that its place in a lane gave it, by its sender's choice.
    const std::uint64_t lane = id.high >> 12;
    const bool is_read =
        !is_sent_on && wire::is_place(id) && id.low >> 16 < journal.consumed_of(lane);
    return is_read ? unless(journal.is_doubted_lane(lane)) : Known::no;
}

Outcome Intake::read_record(Source& source, journal::Journal& journal) {
    lane::ReaderLane& lane = *source.lane;
    const std::byte* const record = lane.record(source.read);
    std::uint64_t meta_word = lane.meta(source.read);
    wire::Meta meta = wire::Meta::of(meta_word);
    const std::uint64_t units = wire::units_of(meta_word);
    wire::Extensions extensions;
    if (units > lane.most_units()) {
        poison(source, "a record is longer than any may be");
        return Outcome::ok;
    }
    // The sender can write to these bytes at any time: what is judged is what is kept.
    const std::size_t bytes = meta.payload_offset() + meta.payload_bytes;
    Head head;
    std::span<const std::byte> kept_head =
        std::span(head).first(meta.payload_offset() - sizeof(std::uint64_t));
    std::memcpy(head.data(), &meta_word, sizeof(meta_word));
    std::memcpy(head.data() + sizeof(meta_word), record + wire::head_bytes,
                kept_head.size() - sizeof(meta_word));
    if (!wire::read_extensions(meta, head.data() + sizeof(meta_word), extensions) ||
        (meta.flags & wire::has_durable) == 0) {
        poison(source, "a record says not where it is to go");
        return Outcome::ok;
    }
    const bool has_id = (meta.flags & wire::has_explicit_id) != 0;
    const MessageId id =
        has_id ? extensions.id : wire::id_at(lane.lane_id(), source.read, 0);
    MessageId key = id;
    const Known known = has_id ? is_known(journal, id, extensions, key) : Known::no;
    const bool is_again = known == Known::yes;
    if (known == Known::doubted) {
        meta.flags |= wire::is_repeated;
        meta_word = meta.word();
        std::memcpy(head.data(), &meta_word, sizeof(meta_word));
    }
    const auto* to = &audience(meta.type, extensions.durable);
    const bool fails = !is_again && to->empty() && was_there(meta.type, extensions.durable);
    if (fails) {
        to = &error_audience();
        if (to->empty()) {
            wait_for_endpoint(source, meta.type);
            return Outcome::ok;
        }
        kept_head = head_of_failed(meta, extensions, to->front(), head);
    }
    Outcome outcome = Outcome::ok;
    if (!is_again && !to->empty()) {
        const journal::Journal::Mark before = journal.mark();
        const journal::Appended appended = journal.publish(
            {.to = *to,
             .head = kept_head,
             .payload = {record + meta.payload_offset(), meta.payload_bytes},
             .type = meta.type,
             .id = key,
             .keep_id = has_id});
        outcome = appended.outcome;
        if (outcome == Outcome::too_large) {
            poison(source, "a record of " + std::to_string(bytes) +
                               " bytes is longer than the journal takes");
            return Outcome::ok;
        }
        if (outcome != Outcome::ok) return outcome;
        if (lane.parts().lost()) {  // there were zeros instead
            journal.take_back(before);
            return Outcome::ok;
        }
        if (has_id) keys_.emplace(key.high, key.low);
        fresh_.push_back({fails ? nullptr : record, meta_word, appended.lsn, id, to,
                          &lane.parts()});
        if (fails)
            state_.log(LogLevel::warning, "a durable command of type " +
                                              std::to_string(meta.type) +
                                              " came whose endpoint is gone; it has failed");
    } else if (!is_again && extensions.durable.endpoint != 0) {
        state_.log(LogLevel::warning, "a durable command came that names no endpoint that ever "
                                      "was, or no type; it is dropped");
    }
    source.read += units;
    return Outcome::ok;
}

// False when the batch takes no more.
bool Intake::read_lane(Source& source, journal::Journal& journal, bool& went_on) {
    lane::ReaderLane& lane = *source.lane;
    const std::uint64_t begin = source.read;
    if (source.waits || lane.poisoned || lane.parts().lost()) return true;
    if (!lane.published(begin)) {
        source.asked_to = 0;
        return true;
    }
    const journal::Journal::Mark before = journal.mark();
    // Records must not be in a batch that has no room left to say how far the lane was read.
    if (const Outcome outcome = journal.up_to(lane.lane_id(), begin); outcome != Outcome::ok) {
        if (outcome != Outcome::batch_full) obstacle_ = outcome;
        return false;
    }
    Outcome outcome = Outcome::ok;
    for (std::uint32_t count = 0; count < most_in_a_row && outcome == Outcome::ok; ++count) {
        if (source.waits || lane.poisoned || lane.parts().lost() || !lane.published(source.read))
            break;
        outcome = read_record(source, journal);
    }
    // Nothing to say then, and a batch that is begun keeps the journal from making room.
    if (source.read == begin) journal.take_back(before);
    else went_on = true;
    if (outcome != Outcome::ok) {
        if (outcome != Outcome::batch_full) obstacle_ = outcome;
        return false;
    }
    if (!source.waits && !lane.published(source.read)) source.asked_to = 0;
    return fresh_.size() < most_in_a_batch;
}

bool Intake::collect(journal::Journal& journal) {
    refresh(journal);
    obstacle_ = Outcome::ok;
    is_full_ = false;
    keys_.clear();
    const bool went_on = read_lanes(journal);
    if (went_on) step("collected");
    return went_on;
}

// Who was given the receipts of a batch sends the next messages one after the other: the first few
// of them would be a batch of their own, and all others would wait for its sync.
void Intake::gather(journal::Journal& journal, std::size_t messages,
                    std::chrono::steady_clock::time_point until) {
    using Clock = std::chrono::steady_clock;
    if (messages <= 1) return;
    const auto bears = between_looks + messages * takes_receipt;  // so long a silence
    auto came = Clock::now();
    // Ends: at the first look behind that time.
    while (!is_full_) {
        const auto look = Clock::now() + between_looks;
        while (Clock::now() < look) base::cpu_relax();
        if (read_lanes(journal)) came = look;
        else if (fresh_.size() >= messages || look - came >= bears) return;
        if (look >= until) return;
    }
}

bool Intake::read_lanes(journal::Journal& journal) {
    bool went_on = false;
    const std::size_t count = sources_.size();
    if (count == 0) return false;
    auto next = sources_.upper_bound(turn_);
    for (std::size_t i = 0; i < count; ++i, ++next) {
        if (next == sources_.end()) next = sources_.begin();
        if (next->second.lane == nullptr) continue;
        turn_ = next->first;
        is_full_ = !read_lane(next->second, journal, went_on);
        if (is_full_) break;
    }
    if (!journal.why_stopped().empty()) return false;
    for (const auto& [id, source] : sources_) {
        if (source.read == source.begin) continue;
        base::check(journal.up_to(id, source.read) == Outcome::ok,
                    "there is room in the batch for what was reserved before");
    }
    return went_on;
}

// ---- afterwards

void Intake::give_receipts() noexcept {
    for (auto& [id, source] : sources_)
        if (source.read != source.begin)
            lane::give_receipt(source.lane->parts().reader_page(),
                               source.lane->parts().writer_page(), source.read);
}

void Intake::give_room(Source& source) const noexcept {
    lane::StdReaderPage& page = source.lane->parts().reader_page();
    // HELD: nothing is in a hand here. Other end: the writer's count_room.
    page.head.store(lane::head_word(source.read, lane::no_hand), std::memory_order_seq_cst);
    lane::give_room(page.reclaim, source.read);
    // WISHED: seq_cst, behind the head. Other end: Writer::wait_for_room.
    if (source.lane->parts().writer_page().wants_room.load(std::memory_order_seq_cst) != 0) {
        // RUNG: the room. Other end: Writer::wait_for_room.
        page.room_bell.fetch_add(1, std::memory_order_release);
        base::wake(page.room_bell, 1);
    }
}

void Intake::release() noexcept {
    for (auto& [id, source] : sources_) {
        if (source.read == source.begin) continue;
        source.begin = source.read;
        give_room(source);
        step("head moved");
    }
    fresh_.clear();
}

void Intake::mark(journal::Journal& journal) {
    refresh(journal);
    is_marked_ = true;
    for (auto& [id, source] : sources_) {
        if (source.lane == nullptr) {
            source.asked_to = source.is_hindered ? to_its_end : 0;
            continue;
        }
        // A writer is a lap ahead of what was released at most.
        const lane::ReaderLane& lane = *source.lane;
        source.asked_to =
            lane.published(source.read) ? source.begin + lane.capacity_units() : 0;
    }
}

bool Intake::owes(const Source& source) const {
    if (source.lane == nullptr) return source.is_hindered && source.asked_to != 0;
    const lane::ReaderLane& lane = *source.lane;
    return !lane.poisoned && !lane.parts().lost() && source.read < source.asked_to;
}

void Intake::note_causes(const Source& source) {
    const lane::ReaderLane& lane = *source.lane;
    // Ends: at what was marked.
    for (std::uint64_t at = source.read; at < source.asked_to && lane.published(at);) {
        const std::uint64_t word = lane.meta(at);
        const wire::Meta meta = wire::Meta::of(word);
        wire::Extensions extensions;
        // As in read_record: such a one is where reading ends.
        if (wire::units_of(word) > lane.most_units() || (meta.flags & wire::has_durable) == 0 ||
            !wire::read_extensions(meta, lane.record(at) + wire::head_bytes, extensions))
            return;
        causes_.add(extensions.durable.lsn);
        at += wire::units_of(word);
    }
}

bool Intake::has_read(bool takes_none) {
    if (!is_marked_) return false;
    causes_.clear();
    for (const auto& [id, source] : sources_) {
        if (!owes(source)) continue;
        // What one that cannot be opened has is not known.
        if (source.lane == nullptr || !(takes_none || source.waits)) return false;
        note_causes(source);
    }
    causes_.sort();
    is_marked_ = false;
    return true;
}

bool Intake::may_have(journal::Endpoint number, journal::Journal& journal) {
    refresh(journal);
    return std::ranges::any_of(sources_, [&](const auto& entry) {
        const Source& source = entry.second;
        if (source.lane == nullptr) return true;
        const lane::ReaderLane& lane = *source.lane;
        // Ends: what is not released is at most a lap, whatever a stranger goes on writing.
        const std::uint64_t lap = source.read + lane.capacity_units();
        for (std::uint64_t at = source.read;
             at < lap && !lane.poisoned && !lane.parts().lost() && lane.published(at);) {
            const std::uint64_t word = lane.meta(at);
            wire::Extensions extensions;
            // As in read_record: such a one is where reading ends.
            if (wire::units_of(word) > lane.most_units() ||
                !wire::read_extensions(wire::Meta::of(word), lane.record(at) + wire::head_bytes,
                                       extensions))
                return false;
            const wire::Durable& to = extensions.durable;
            if (wire::make_reference(to.endpoint, to.generation) == number) return true;
            at += wire::units_of(word);
        }
        return false;
    });
}

// ---- waiting

bool Intake::anything_there() const noexcept {
    return std::any_of(sources_.begin(), sources_.end(), [](const auto& entry) {
        const Source& source = entry.second;
        return source.lane != nullptr && !source.waits && !source.lane->poisoned &&
               !source.lane->parts().lost() && source.lane->published(source.read);
    });
}

bool Intake::announce() noexcept {
    lane::announce(inbox_.doorbell(), place, true, base::barrier_available());
    if (state_.tables().version() == known_version_ && !anything_there()) return true;
    withdraw();
    return false;
}

void Intake::withdraw() noexcept {
    lane::withdraw(inbox_.doorbell(), place);
    bell_.drain();
}

}  // namespace shmbus::daemon

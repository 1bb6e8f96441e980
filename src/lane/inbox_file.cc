// Making, opening and checking an inbox's file; the tables in it. See the header.
#include "lane/inbox_file.h"

#include "base/parking.h"
#include "lane/metrics.h"
#include "lane/protocol.h"
#include "lane/writer.h"

#include <shmbus/result.h>

#include <bit>
#include <cerrno>

namespace shmbus::lane {

namespace {

[[noreturn]] void reject(const base::File& file, const std::string& what, std::string helps) {
    throw SetupError("opening an inbox: " + what, base::path_of(file.fd()), EPROTO,
                     std::move(helps));
}

// relaxed: a bound for scans; a consumer is counted before it takes anything.
std::uint32_t consumers_used(const StdConsumers& table) noexcept {
    return std::min(table.consumers_used.load(std::memory_order_acquire), most_consumers);
}

}  // namespace

std::string inbox_file_name(std::uint32_t endpoint, std::uint32_t generation) {
    return std::to_string(endpoint) + "." + std::to_string(generation);
}

base::File create_inbox_file(int inboxes_directory, const InboxSpec& spec) {
    const std::string name = inbox_file_name(spec.endpoint, spec.endpoint_generation);
    base::File file = base::File::create_at(inboxes_directory, name, spec.mode, spec.group);
    try {
        file.allocate(inbox_bytes);
        file.end_at(inbox_file_bytes);
        InboxIdentity identity{};
        identity.magic = inbox_magic;
        identity.major = layout_major;
        identity.minor = layout_minor;
        identity.endpoint = spec.endpoint;
        identity.endpoint_generation = spec.endpoint_generation;
        identity.bus_high = spec.bus_high;
        identity.bus_low = spec.bus_low;
        file.write_all(std::as_bytes(std::span(&identity, 1)), 0);
        identity.ready = 1;
        file.write_all(std::as_bytes(std::span(&identity.ready, 1)),
                       offsetof(InboxIdentity, ready));
    } catch (...) {
        base::unlink_at(inboxes_directory, name);
        throw;
    }
    return file;
}

InboxIdentity read_inbox_identity(const base::File& file) {
    file.require_regular();
    InboxIdentity identity{};
    const std::size_t got = file.read_all(std::as_writable_bytes(std::span(&identity, 1)), 0);
    if (got < sizeof(identity))
        reject(file, "the file has only " + std::to_string(got) + " bytes",
               "it was cut short: find out who did it, then give the bus another directory");
    if (identity.magic != inbox_magic || identity.ready != 1)
        reject(file, "this is no finished inbox file",
               "somebody else wrote there; shmbus endpoint rm removes its endpoint, which can be "
               "made anew");
    if (identity.major != layout_major)
        throw OtherLayout("opening an inbox: its layout is version " +
                              std::to_string(identity.major) + ", this program's is " +
                              std::to_string(layout_major),
                          base::path_of(file.fd()), EPROTO,
                          "use programs built with one version of shmbus on one bus");
    if (file.facts().bytes != inbox_file_bytes)
        reject(file, "its length is " + std::to_string(file.facts().bytes) + " bytes, not " +
                         std::to_string(inbox_file_bytes),
               "it was cut short or written to by a stranger");
    return identity;
}

InboxView::InboxView(const base::File& file)
    : identity_(read_inbox_identity(file)),
      all_(file, {0, inbox_bytes}, base::Access::read_only),
      doorbell_(file, {doorbell_page_at, page_bytes}, base::Access::read_write),
      all_guard_(all_.data(), inbox_bytes, &lost_),
      doorbell_guard_(doorbell_.data(), page_bytes, &lost_) {}

std::uint32_t InboxView::hands_used() const noexcept {
    return consumers_used(consumers()) * hands_each;
}

Holder oldest_holder(const Writer& writer, const InboxView& inbox) noexcept {
    // HELD. Other end: take.
    const std::uint64_t head = writer.parts().reader_page().head.load(std::memory_order_acquire);
    Holder oldest{0, position_in(head), 0};
    for (std::uint32_t i = 0; i < inbox.hands_used(); ++i) {
        const StdHand& hand = inbox.hands()[i];
        const std::uint64_t from =
            held_by<base::StdAtomics>(hand, static_cast<std::uint16_t>(i), writer.lane_id(), head,
                                      position_in(head));
        if (from >= oldest.position) continue;
        // relaxed, all: for display.
        const std::uint16_t owner = owner_in(hand.word.load(std::memory_order_relaxed));
        oldest.position = from;
        oldest.since_ticks = hand.since.load(std::memory_order_relaxed);
        oldest.participant =
            owner < most_consumers
                ? inbox.consumers().consumers[owner].load(std::memory_order_relaxed)
                : 0;
    }
    return oldest;
}

std::vector<std::uint64_t> lanes_in(const base::File& inbox) {
    std::vector<std::uint64_t> table(most_lanes);
    if (inbox.read_all(std::as_writable_bytes(std::span(table)), lane_table_at) !=
        most_lanes * sizeof(std::uint64_t))
        return {};
    std::erase(table, 0);
    return table;
}

InboxAdmin::InboxAdmin(const base::File& file)
    : all_((static_cast<void>(read_inbox_identity(file)), base::Mapping(file, {0, inbox_bytes},
                                                                       base::Access::read_write))),
      guard_(all_.data(), inbox_bytes, &lost_) {}

void InboxAdmin::changed() noexcept {
    // TABLES: the rows. Other end: Consumer::refresh.
    table().version.fetch_add(1, std::memory_order_release);
}

// The table's words are written by this one thread; relaxed throughout, TABLES carries them.
bool InboxAdmin::add_lane(std::uint64_t lane_id) noexcept {
    LaneTable& lanes = lane_table();
    std::uint32_t free = most_lanes;
    for (std::uint32_t i = 0; i < most_lanes; ++i) {
        const std::uint64_t there = lanes[i].load(std::memory_order_relaxed);
        if (there == lane_id) return true;
        if (there == 0 && free == most_lanes) free = i;
    }
    if (free == most_lanes) return false;
    lanes[free].store(lane_id, std::memory_order_relaxed);
    // relaxed: as above.
    if (table().lanes_used.load(std::memory_order_relaxed) <= free)
        table().lanes_used.store(free + 1, std::memory_order_relaxed);
    changed();
    ring_all();
    return true;
}

void InboxAdmin::remove_lane(std::uint64_t lane_id) noexcept {
    for (auto& lane : lane_table()) {
        if (lane.load(std::memory_order_relaxed) != lane_id) continue;
        lane.store(0, std::memory_order_relaxed);
        changed();
    }
}

// Killed before the name is stored: done again, from the same sums. Killed behind it: the sums are
// made again from `kept_before`, with the same result.
void InboxAdmin::keep_account(std::uint64_t lane_id, const LaneParts& parts) noexcept {
    using Word = base::StdAtomics::word<std::uint64_t>;
    struct Sum {
        Word& before;
        Word& sum;
        std::uint64_t more;
    };
    StdConsumers& all = table();
    const StdWriterPage& page = parts.writer_page();
    // relaxed, all: nobody writes to the lane any more, or takes from it; the sums are ours.
    const auto read = [](const Word& word) { return word.load(std::memory_order_relaxed); };
    Sum sums[] = {{all.kept_before[0], all.kept[0], read(page.refused)},
                  {all.kept_before[1], all.kept[1], read(page.dropped_newest)},
                  {all.kept_before[2], all.kept[2], read(page.dropped_oldest)},
                  {all.kept_before[3], all.kept[3], read(page.waits)},
                  {all.kept_units_before, all.kept_units,
                   position_in(read(parts.reader_page().head))}};
    if (read(all.kept_lane) != lane_id) {
        // relaxed: as above.
        for (Sum& each : sums) each.before.store(read(each.sum), std::memory_order_relaxed);
        // KEPT: the sums before. Other end: the same loop, in the next daemon.
        all.kept_lane.store(lane_id, std::memory_order_release);
    }
    // KEPT: behind the name.
    for (Sum& each : sums)
        each.sum.store(read(each.before) + each.more, std::memory_order_release);
}

std::vector<std::uint64_t> InboxAdmin::lanes() const {
    std::vector<std::uint64_t> found;
    for (const auto& lane : lane_table()) {
        const std::uint64_t id = lane.load(std::memory_order_relaxed);
        if (id != 0) found.push_back(id);
    }
    return found;
}

std::optional<std::uint16_t> InboxAdmin::assign_consumer(std::uint64_t participant) noexcept {
    for (std::uint16_t slot = 0; slot < most_consumers; ++slot) {
        if (table().consumers[slot].load(std::memory_order_relaxed) != 0) continue;
        replace_consumer(slot, participant);
        return slot;
    }
    return std::nullopt;
}

void InboxAdmin::replace_consumer(std::uint16_t slot, std::uint64_t participant) noexcept {
    // Counted before it is named: whoever sees it among the consumers scans its hands.
    // Only this thread writes the count; release keeps the order for scanners.
    if (table().consumers_used.load(std::memory_order_relaxed) <= slot)
        table().consumers_used.store(slot + 1U, std::memory_order_release);
    // TABLES: who owns the hands from here on.
    table().consumers[slot].store(participant, std::memory_order_release);
    changed();
}

void InboxAdmin::free_consumer(std::uint16_t slot) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << slot;
    // relaxed: bits of one who is gone; nobody waits for them.
    doorbell().sleepers.fetch_and(~bit, std::memory_order_relaxed);
    doorbell().by_descriptor.fetch_and(~bit, std::memory_order_relaxed);
    // TABLES: it is gone. Other end: Consumer::rescue.
    table().consumers[slot].store(0, std::memory_order_release);
    changed();
    ring_all();
}

std::uint64_t InboxAdmin::consumer(std::uint16_t slot) const noexcept {
    return slot < most_consumers ? table().consumers[slot].load(std::memory_order_relaxed) : 0;
}

std::vector<std::uint16_t> InboxAdmin::consumers_of(std::uint64_t participant) const {
    std::vector<std::uint16_t> found;
    for (std::uint16_t slot = 0; slot < most_consumers; ++slot)
        if (consumer(slot) == participant) found.push_back(slot);
    return found;
}

bool InboxAdmin::holds_nothing(std::uint16_t slot) const noexcept {
    for (const StdHand& hand : hands()) {
        // CLEARED. Other end: clear.
        const std::uint64_t word = hand.word.load(std::memory_order_acquire);
        if (state_in(word) != HandState::idle && owner_in(word) == slot) return false;
    }
    return true;
}

bool InboxAdmin::in_nobodys_hand(std::uint64_t lane_id) const noexcept {
    for (const StdHand& hand : hands()) {
        // CLEARED. Other end: clear. A hand that is filled meanwhile is filled from another lane:
        // this one has nothing left to take.
        const std::uint64_t word = hand.word.load(std::memory_order_acquire);
        if (state_in(word) == HandState::idle) continue;
        if (hand.lane.load(std::memory_order_relaxed) == lane_id) return false;
    }
    return true;
}

void InboxAdmin::ring_all() noexcept {
    // acq_rel: takes over the waking of all of them.
    doorbell().sleepers.exchange(0, std::memory_order_acq_rel);
    for (auto& bell : doorbell().bells) {
        // RUNG. Other end: Consumer::rung.
        bell.fetch_add(1, std::memory_order_release);
        base::wake(bell, base::all_sleepers);
    }
}

}  // namespace shmbus::lane

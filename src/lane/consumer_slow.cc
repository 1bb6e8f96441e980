// One consumer of an inbox: finding lanes, rescuing what the dead held, sleeping. See consumer.h.
#include "lane/consumer.h"

#include "base/barrier.h"
#include "base/clock.h"
#include "lane/reader_lane.h"

#include <shmbus/result.h>

#include <algorithm>

namespace shmbus::lane {

using namespace std::chrono_literals;

namespace {

// What a full batch may take its handlers.
constexpr double full_batch_ns = 20'000;
constexpr std::chrono::nanoseconds longest_sleep = 50ms;
// Without membarrier, or when a death is seen but not yet proved, sleeps are this short.
constexpr std::chrono::nanoseconds shortest_sleep = 200us;

}  // namespace

Consumer::Consumer(const base::File& inbox, std::uint16_t slot, std::uint64_t me,
                   int lanes_directory, Peers peers, Log log)
    : slot_(slot),
      me_(me),
      lanes_directory_(lanes_directory),
      peers_(std::move(peers)),
      log_(std::move(log)),
      all_((static_cast<void>(read_inbox_identity(inbox)),
            base::Mapping(inbox, {0, inbox_bytes}, base::Access::read_write))),
      guard_(all_.data(), inbox_bytes, &lost_),
      table_(&table()),
      doorbell_(&doorbell()),
      hands_(hands().data()),
      batch_size_(most_entries, static_cast<std::uint64_t>(
                                    full_batch_ns / base::tick_rate().ns_per_tick)),
      can_barrier_(base::barrier_available()),
      is_reached_(base::register_for_global_barrier()) {
    warm_.reserve(64);
    rescued_.reserve(most_hands);
    look_at_clock();
    refresh();
    rescue();
}

Consumer::~Consumer() { withdraw(); }

ReaderLane* Consumer::known(std::uint64_t lane_id) noexcept {
    const auto place = lanes_.find(lane_id);
    return place == lanes_.end() ? nullptr : place->second.get();
}

bool Consumer::is_open(const ReaderLane* lane) const noexcept {
    for (std::uint32_t i = 0; i < hands_each; ++i)
        if ((open_batches_ >> i & 1U) != 0 && batches_[i].lane == lane) return true;
    return std::any_of(rescued_batches_.begin(), rescued_batches_.end(),
                       [&](const auto& batch) { return batch->lane == lane; });
}

void Consumer::open_lane(std::uint64_t lane_id) noexcept {
    try {
        auto lane = std::make_unique<ReaderLane>(
            base::File::open_at(lanes_directory_, lane_file_name(lane_id),
                                base::Access::read_write));
        if (lane->identity().lane_id != lane_id)
            throw SetupError("opening a lane", lane_file_name(lane_id), EPROTO,
                             "its identity names another lane; a stranger wrote to it");
        ReaderLane& opened = *lane;
        lanes_.emplace(lane_id, std::move(lane));
        (opened.identity().predecessor != 0 ? waiting_ : cold_).push_back(&opened);
    } catch (const std::exception& error) {
        ++poisoned_;
        if (log_) log_(true, error.what());
        lanes_.emplace(lane_id, nullptr);  // remembered as unusable, so that it is said once
    }
}

void Consumer::refresh() noexcept {
    expected_ = {};
    // TABLES: the rows below are at least as new. Other end: InboxAdmin::changed.
    known_version_ = table_->version.load(std::memory_order_acquire);
    if (is_lost()) return;
    // relaxed: carried by TABLES.
    const std::uint32_t used =
        std::min(table_->lanes_used.load(std::memory_order_relaxed), most_lanes);
    std::vector<std::uint64_t> there;
    for (std::uint32_t i = 0; i < used; ++i) {
        // relaxed: carried by TABLES; a row that changes meanwhile moves the version again.
        const std::uint64_t id = lane_table()[i].load(std::memory_order_relaxed);
        if (id != 0) there.push_back(id);
    }
    std::sort(there.begin(), there.end());
    // A lane leaves the table only when it is drained and in nobody's hand.
    std::vector<std::uint64_t> gone;
    for (const auto& [id, lane] : lanes_) {
        if (std::binary_search(there.begin(), there.end(), id)) continue;
        if (!is_open(lane.get())) gone.push_back(id);
    }
    for (const std::uint64_t id : gone) {
        const ReaderLane* lane = known(id);
        for (auto* list : {&warm_, &cold_, &waiting_}) std::erase(*list, lane);
        lanes_.erase(id);
    }
    for (const std::uint64_t id : there)
        if (!lanes_.contains(id)) open_lane(id);
    std::array<std::uint64_t, most_consumers> consumers{};
    // relaxed: as the rows above.
    for (std::size_t slot = 0; slot < most_consumers; ++slot)
        consumers[slot] = table_->consumers[slot].load(std::memory_order_relaxed);
    peers_.keep_only(consumers);
    warm_next_ = cold_next_ = 0;
    // With few lanes there is nothing to save.
    while (!cold_.empty() && warm_.size() < 8) {
        warm_.push_back(cold_.back());
        warm_.back()->is_warm = true;
        cold_.pop_back();
    }
    start_successors();
}

// A successor's records come after its predecessor's: it is read when that one is drained.
void Consumer::start_successors() noexcept {
    if (waiting_.empty()) return;
    std::erase_if(waiting_, [&](ReaderLane* lane) {
        const ReaderLane* before = known(lane->identity().predecessor);
        bool drained = before == nullptr || before->poisoned || before->parts().lost();
        if (!drained) {
            // CLOSED: its end. Other end: Writer::close.
            const StdWriterPage& writer = before->parts().writer_page();
            if (writer.closed.load(std::memory_order_acquire) != 0) {
                // HELD, a hint: it only grows.
                drained = position_in(before->head().load(std::memory_order_acquire)) >=
                          writer.end.load(std::memory_order_relaxed);
            }
        }
        if (drained) {
            expected_ = {};
            cold_.push_back(lane);
        }
        return drained;
    });
}

std::uint32_t Consumer::consumers_used() const noexcept {
    // TABLES: a consumer is counted before it takes. Other end: InboxAdmin::replace_consumer.
    return std::min(table_->consumers_used.load(std::memory_order_acquire), most_consumers);
}

bool Consumer::adopt_hands_of(std::uint16_t owner, std::uint64_t participant,
                              std::int32_t signal) noexcept {
    bool found = false;
    const std::uint32_t hands_used = consumers_used() * hands_each;
    for (std::uint32_t i = 0; i < hands_used; ++i) {
        StdHand& hand = hands_[i];
        // Read before the owner is looked at again: a word of a new owner is not this one.
        const std::uint64_t word = hand.word.load(std::memory_order_seq_cst);
        if (state_in(word) == HandState::idle || owner_in(word) != owner) continue;
        // TABLES. The slot was given to somebody else meanwhile: that one adopts.
        if (owner != slot_ &&
            table_->consumers[owner].load(std::memory_order_acquire) != participant)
            return found;
        // relaxed: adopt compares the word, so a lane of another filling is not acted upon.
        const std::uint64_t lane_id = hand.lane.load(std::memory_order_relaxed);
        ReaderLane* lane = known(lane_id);
        if (lane == nullptr) {
            // Opened by the dead one since we last looked at the tables.
            refresh();
            lane = known(lane_id);
        }
        // Without its head a take cannot be judged; the hand stays for who can open the lane.
        if (lane == nullptr) continue;
        const Verdict verdict =
            adopt(hand, static_cast<std::uint16_t>(i), word, slot_, [&](std::uint64_t lane_now) {
                // HELD. Other end: take. Another lane than before: another filling, adopt fails.
                return lane_now == lane_id ? lane->head().load(std::memory_order_acquire) : 0;
            });
        if (verdict == Verdict::adopted) {
            // relaxed, both: ours now. Whoever looks between the word and this sees for how long
            // the dead one had it, which is shown at most.
            hand.since.store(base::ticks(), std::memory_order_relaxed);
            if (signal != 0)
                hand.signal.store(static_cast<std::uint32_t>(signal), std::memory_order_relaxed);
            rescued_.push_back({&hand, static_cast<std::uint16_t>(i)});
            found = true;
        } else if (verdict == Verdict::cleared) {
            count_room(*lane);
        } else {
            // A helper said TAKEN meanwhile, which happens once, or another adopter was faster:
            // look at it again, because what is left under our own place nobody else comes for.
            --i;
        }
    }
    return found;
}

bool Consumer::rescue() noexcept {
    bool found = false;
    const std::uint32_t used = consumers_used();
    if (fresh_) {
        // What an earlier owner of this slot left behind is ours to deliver.
        fresh_ = false;
        found = adopt_hands_of(slot_, me_, 0);
    }
    for (std::uint16_t slot = 0; slot < used; ++slot) {
        if (slot == slot_) continue;
        // TABLES. Other end: InboxAdmin.
        const std::uint64_t peer = table_->consumers[slot].load(std::memory_order_acquire);
        if (peer == 0) {
            // Freed: whatever it still owns was left behind.
            found = adopt_hands_of(slot, 0, 0) || found;
            continue;
        }
        if (!peers_.maybe_dead(peer) || !peers_.proved_dead(peer)) continue;
        peers_.wake_others(peer);
        found = adopt_hands_of(slot, peer, peers_.signal_of(peer)) || found;
    }
    return found || !rescued_.empty();
}

Batch* Consumer::take_rescued() noexcept {
    while (!rescued_.empty()) {
        const Rescued rescued = rescued_.back();
        // relaxed: the hand is ours.
        const std::uint64_t lane_id = rescued.hand->lane.load(std::memory_order_relaxed);
        ReaderLane* lane = known(lane_id);
        if (lane == nullptr) {
            refresh();
            lane = known(lane_id);
        }
        const std::uint64_t from = rescued.hand->from.load(std::memory_order_relaxed);
        const std::uint64_t end = rescued.hand->end.load(std::memory_order_relaxed);
        const std::uint32_t count =
            records_in(rescued.hand->count.load(std::memory_order_relaxed));
        rescued_.pop_back();
        auto batch = std::make_unique<Batch>();
        const bool sane = lane != nullptr && count <= most_entries && end > from &&
                          end - from <= lane->capacity_units() &&
                          count != 0 && lane->published(from) &&
                          walk(*lane, from, end, count, *batch) == count;
        if (!sane) {
            // The lane is lost with what was in it, or the hand was scribbled on.
            if (lane != nullptr) poison(*lane, "a dead consumer's hand does not fit it");
            else if (log_) log_(true, "a dead consumer held messages of a lane that is gone");
            clear(*rescued.hand);
            continue;
        }
        batch->lane = lane;
        batch->hand = rescued.hand;
        batch->count = count;
        batch->adopted = true;
        rescued_batches_.push_back(std::move(batch));
        return rescued_batches_.back().get();
    }
    return nullptr;
}

bool Consumer::is_lost() noexcept {
    // relaxed: behind the look at a word of the inbox, see base::FaultGuard.
    if (!lost_.load(std::memory_order_relaxed)) [[likely]] return false;
    if (!told_of_loss_ && log_)
        log_(true, "the inbox's file was cut short: nothing is taken from it any more; find out "
                   "who did it, then give the bus another directory");
    told_of_loss_ = true;
    return true;
}

bool Consumer::holds_anything() const noexcept {
    return !rescued_.empty() || !rescued_batches_.empty() || open_batches_ != 0;
}

bool Consumer::anything_there() noexcept {
    if (table_->version.load(std::memory_order_acquire) != known_version_) refresh();  // TABLES
    if (is_lost()) return false;
    start_successors();
    if (rescue()) return true;
    const auto there = [](const ReaderLane* lane) {
        if (lane->poisoned) return false;
        // HELD, a hint.
        return lane->published(position_in(lane->head().load(std::memory_order_acquire)));
    };
    if (std::any_of(warm_.begin(), warm_.end(), there)) return true;
    const auto place = std::find_if(cold_.begin(), cold_.end(), there);
    if (place == cold_.end()) return false;
    warm(**place);
    return true;
}

bool Consumer::announce(bool by_descriptor) noexcept {
    lane::announce(*doorbell_, slot_, by_descriptor, can_barrier_);
    if (!anything_there()) return true;
    withdraw();
    return false;
}

void Consumer::withdraw() noexcept {
    lane::withdraw(*doorbell_, slot_);
}

std::uint32_t Consumer::rung() const noexcept {
    // RUNG: what was published before it was rung. Other end: wake_one.
    return doorbell_->bells[slot_].load(std::memory_order_acquire);
}

void Consumer::rest(std::chrono::nanoseconds limit, std::uint32_t seen) noexcept {
    ++sleeps_;
    base::wait(base::watch(doorbell_->bells[slot_], seen), std::min(limit, longest_sleep));
    look_at_clock();
}

bool Consumer::sleep(std::chrono::nanoseconds limit, std::uint32_t seen) noexcept {
    if (idle_hand() == hands_each) {
        rest(limit, seen);
        return rescue();
    }
    if (!announce(false)) return true;
    limit = std::min(limit, longest_sleep);
    if (!can_barrier_) limit = std::min(limit, shortest_sleep);
    std::array<base::WatchedWord, most_consumers + 1> words;
    std::array<std::uint64_t, most_consumers + 1> whose{};
    std::size_t count = 0;
    words[count++] = base::watch(doorbell_->bells[slot_], seen);
    const std::uint32_t used = consumers_used();
    for (std::uint16_t slot = 0; slot < used; ++slot) {
        // TABLES. Other end: InboxAdmin.
        const std::uint64_t peer = table_->consumers[slot].load(std::memory_order_acquire);
        if (peer == 0 || slot == slot_ || peer == me_) continue;
        if (const auto word = peers_.watched(peer)) {
            whose[count] = peer;
            words[count++] = *word;
        } else {
            limit = std::min(limit, shortest_sleep);  // seems dead: prove it soon
        }
    }
    ++sleeps_;
    const base::WaitEnd end = base::wait_any({words.data(), count}, limit);
    look_at_clock();
    // Who was rung has no bit left, and need not fetch the ringer's line to see that. Should it be
    // awake for another reason, a sender rings once for nothing.
    if (end != base::WaitEnd::woken || count != 1) withdraw();
    for (std::size_t i = 1; i < count; ++i) {
        if (peers_.maybe_dead(whose[i])) peers_.wake_others(whose[i]);
    }
    if (end == base::WaitEnd::timed_out) return anything_there();
    return true;
}

}  // namespace shmbus::lane

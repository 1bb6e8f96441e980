// One consumer of an inbox: takes messages from its lanes, keeps account of them, rescues what
// dead consumers held, sleeps until there is something.
//
// Used by one thread, the one that polls; begin, fail and done of a batch's records may come from
// other threads. Nothing from take to finish enters the kernel, locks or allocates, save when a
// lane or a consumer has come or gone.
#pragma once

#include "base/bytes.h"
#include "lane/batch_size.h"
#include "lane/doorbell.h"
#include "lane/inbox_file.h"
#include "lane/peers.h"
#include "lane/protocol.h"
#include "lane/reader_lane.h"
#include "lane/writer.h"

#include <functional>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace shmbus::lane {

// One record of a batch. `record` points into the lane and stays valid until finish().
struct Entry {
    std::uint64_t position;
    std::uint64_t meta;  // read once and checked: the record lies inside the lane
    const std::byte* record;
};

// Messages in one hand. Owned by the Consumer.
struct Batch {
    ReaderLane* lane = nullptr;
    StdHand* hand = nullptr;
    std::uint64_t end = 0;  // where its last record ends
    std::uint32_t count = 0;
    bool adopted = false;  // its taker died: deliver what is not done, marked
    // Records with one and the same meta word, which nearly all batches consist of, are not listed:
    // they follow the first at this distance. 0: they are listed.
    std::uint32_t units_each = 0;
    Entry first;
    std::array<Entry, most_entries> listed;

    [[nodiscard, gnu::always_inline]] Entry entry(std::uint32_t index) const noexcept {
        if (units_each == 0) [[unlikely]] return listed[index];
        const std::uint64_t units = std::uint64_t{units_each} * index;
        return {first.position + units, first.meta, first.record + units * wire::unit_bytes};
    }

    [[nodiscard]] Progress progress(std::uint32_t index) const noexcept {
        return progress_of(*hand, index);
    }
    // Lists the progress first, unless it is listed already; who sets from several threads does
    // that himself before.
    void set(std::uint32_t index, Progress progress) noexcept {
        list();
        // relaxed: see progress_of.
        hand->progress[index].store(progress.word(), std::memory_order_relaxed);
    }
    void list() noexcept { list_progress(*hand, count); }
    [[nodiscard]] bool is_listed() const noexcept {
        return hand->cursor.load(std::memory_order_relaxed) == progress_is_listed;
    }
    // The signal of the process that died last with this batch, where it could be learnt.
    [[nodiscard]] std::int32_t signal() const noexcept {
        return static_cast<std::int32_t>(hand->signal.load(std::memory_order_relaxed));
    }
};

class Consumer {
public:
    using Log = std::function<void(bool is_error, std::string_view)>;
    // Joins the inbox as consumer `slot`, which the daemon has assigned to participant `me`. Lanes
    // are opened by name in `lanes_directory`, which outlives this. Takes over what an earlier
    // owner of the slot held. Throws SetupError.
    Consumer(const base::File& inbox, std::uint16_t slot, std::uint64_t me, int lanes_directory,
             Peers peers, Log log);
    ~Consumer();
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;

    // The next batch, of at most `limit` records, or null when nothing is there. First what was
    // rescued, then the lanes in turn. The batch is the caller's until finish(), and there may be
    // several: as long as one is open it occupies one of eight hands, and with all of them occupied
    // nothing is taken from a lane. How many records it has follows from the time between takes.
    [[nodiscard]] Batch* take(std::uint32_t limit) noexcept {
        if (until_look_ > 1 && is_expecting()) {
            if (expected_is_there()) {
                if (Batch* batch = take_expected()) return batch;
            }
        }
        // Nearly always: one lane, quiet or with a record, and no other business.
        if (until_look_ > 1 && warm_.size() == 1 && cold_.empty()) [[likely]] {
            --until_look_;
            ReaderLane& lane = *warm_.front();
            // HELD: who took last. Other end: take.
            const std::uint64_t head = lane.head().load(std::memory_order_acquire);
            if (!lane.published(position_in(head))) {
                batch_size_.found_nothing();
                return nullptr;
            }
            ask_for_answers_line();
            return take_from(lane, head, batch_size_.next(limit));
        }
        return take_in_turn(limit, 1);
    }
    // For those who have several batches open at once, whose pace is not the time between takes: as
    // many records as are there, up to `limit` or what is walked at most, and how many that should
    // be.
    [[nodiscard]] Batch* take_all(std::uint32_t limit) noexcept {
        return take_in_turn(limit, limit);
    }
    [[nodiscard]] std::uint32_t batch_for(std::uint64_t ticks_each) const noexcept {
        return batch_size_.of_pace(ticks_each);
    }
    // Nothing is there: does ahead what can be done of the take of a message that is waited for,
    // and looks for it `looks` times, with a pause before each. Null: it has not come, or none is
    // waited for, or take() has to find out more.
    [[nodiscard]] Batch* await_expected(unsigned looks) noexcept {
        if (until_look_ <= 1 || !is_expecting()) return nullptr;
        if (!expected_.is_filled) fill_for_expected();
        for (; looks > 0; --looks) {
            // Who looks again and again without a pause keeps taking the line from its writer.
            base::cpu_relax();
            if (expected_is_there()) return take_expected();
        }
        return nullptr;
    }
    // All records of the batch are done: lets go of the hand and gives room back when it is due.
    [[gnu::always_inline]] void finish(Batch* batch) noexcept {
        // Taken as expected, and nothing has changed since: what follows is expected again.
        if (batch != batches_.data() || expected_.lane == nullptr) return finish_usual(batch);
        ReaderLane& lane = *expected_.lane;
        count_settled(*batch->hand, 1);
        clear(*batch->hand);
        open_batches_ = 0;
        expected_.record = lane.record(batch->end);
        expected_.is_filled = false;
        give_room_if_due(lane, batch->end);
    }

    // Messages that are taken from here on are likely to be answered through this lane of the same
    // thread: its next line is asked for as soon as one is found, so that it travels while the
    // handler runs. Null: nothing is known. The lane outlives the takes that follow.
    void expect_answer_through(Writer* writer) noexcept {
        answers_line_ = nullptr;
        if (writer == nullptr) return;
        writer->expect_single();
        if (writer->tail() == asked_for_) return;
        answers_line_ = writer->next_record();
        answers_position_ = writer->tail();
    }

    // Moves when lanes or consumers of the inbox come or go: see TABLES. As long as this lives.
    [[nodiscard]] const base::StdWord<std::uint64_t>& tables_version() const noexcept {
        return table_->version;
    }

    // Looks for dead consumers and takes over their hands. Called by take() now and then, and by
    // sleep(). True when there is something to deliver. Makes system calls only when a peer seems
    // to be dead.
    bool rescue() noexcept;

    // How often our bell has rung; sleep and rest want to know it from before the caller's own look
    // around: what rings after that keeps them awake.
    [[nodiscard]] std::uint32_t rung() const noexcept;
    // Sleeps until the bell rings, a peer dies or `limit` passes, at most 50 ms. Returns true when
    // there is, or may be, something to take. With all hands occupied it rests.
    bool sleep(std::chrono::nanoseconds limit, std::uint32_t seen) noexcept;
    bool sleep(std::chrono::nanoseconds limit) noexcept { return sleep(limit, rung()); }
    // Sleeps until the bell rings or `limit` passes, whatever there is to take: for those who could
    // not take it. Senders wake somebody else meanwhile.
    void rest(std::chrono::nanoseconds limit, std::uint32_t seen) noexcept;
    // The same in two halves for those who wait for a descriptor: announce; false when there is
    // something to take at once, and then nothing was announced.
    bool announce(bool by_descriptor) noexcept;
    void withdraw() noexcept;

    // The reader found what cannot be: nobody in this process reads the lane again, its writer is
    // told. Logged.
    void poison(ReaderLane& lane, std::string_view why) noexcept;

    // How to ring those that wait for a descriptor, when we leave messages behind for them;
    // outlives this. Without it they find out by themselves within 50 ms.
    void use_descriptors(DescriptorBell* descriptors) noexcept { descriptors_ = descriptors; }
    [[nodiscard]] std::uint16_t slot() const noexcept { return slot_; }
    [[nodiscard]] std::uint64_t poisoned_lanes() const noexcept { return poisoned_; }
    // How often this consumer slept, and was woken.
    [[nodiscard]] std::uint64_t sleeps() const noexcept { return sleeps_; }
    // Looks at every lane, also those that were quiet for long.
    [[nodiscard]] bool anything_there() noexcept;
    // A batch is open or waits in a rescued hand.
    [[nodiscard]] bool holds_anything() const noexcept;

private:
    struct Rescued {
        StdHand* hand;
        std::uint16_t index;
    };
    void refresh() noexcept;
    void open_lane(std::uint64_t lane_id) noexcept;
    void start_successors() noexcept;
    Batch* take_in_turn(std::uint32_t limit, std::uint32_t least) noexcept;
    Batch* take_from(ReaderLane& lane, std::uint64_t head, std::uint32_t limit) noexcept;
    [[nodiscard]] bool is_expecting() const noexcept {
        return expected_.lane != nullptr && open_batches_ == 0 && batch_size_.is_single();
    }
    [[nodiscard]] bool expected_is_there() const noexcept {
        return expected_.lane->published_at(expected_.record, batches_[0].end);
    }
    // Takes the expected record, which is published, the shortest way. Null: it needs the usual
    // one, which finds out why.
    [[gnu::always_inline]] Batch* take_expected() noexcept {
        ReaderLane& lane = *expected_.lane;
        Batch& batch = batches_[0];
        if (lane.meta_at(expected_.record) != batch.first.meta || lane.parts().lost()) [[unlikely]]
            return nullptr;
        // CLEARED, by us: acquire, so that the look at the flag comes behind the one at the hand,
        // which notices that the inbox is not there any more.
        static_cast<void>(batch.hand->word.load(std::memory_order_acquire));
        if (lost_.load(std::memory_order_relaxed)) [[unlikely]] return nullptr;  // relaxed: is_lost
        ask_for_answers_line();
        if (!expected_.is_filled) fill_for_expected();
        // We took last, or the head tells that we did not.
        if (!take_filled(lane.head(), expected_.head, expected_.head_behind, *batch.hand,
                         expected_.words)) [[unlikely]] {
            expected_ = {};
            return nullptr;
        }
        --until_look_;
        batch.first.position = batch.end;
        batch.first.record = expected_.record;
        batch.end += batch.units_each;
        batch_size_.took(1);
        open_batches_ = 1;
        wake_for_what_is_left(lane, batch.end);
        return &batch;
    }
    // What is taken from here on was not taken before.
    void look_at_clock() noexcept {
        stamp_ = base::ticks();
        expected_.is_filled = false;
    }
    // Everything about its take that can be done before the record is there.
    void fill_for_expected() noexcept {
        const Batch& batch = batches_[0];
        const auto index = static_cast<std::uint16_t>(slot_ * hands_each);
        const std::uint64_t end = batch.end + batch.units_each;
        expected_.words = fill(*batch.hand, slot_,
                               {expected_.lane->lane_id(), batch.end, end, 1, stamp_});
        expected_.head = head_word(batch.end, index);
        expected_.head_behind = head_word(end, index);
        expected_.is_filled = true;
    }
    // What is left is for others, now and not after our handlers: who leaves messages behind wakes
    // the next.
    [[gnu::always_inline]] void wake_for_what_is_left(const ReaderLane& lane,
                                                      std::uint64_t position) noexcept {
        // relaxed: a sleeper that is missed looks around before it sleeps.
        if (doorbell_->sleepers.load(std::memory_order_relaxed) == 0) [[likely]] return;
        if (lane.published(position)) wake_one(*doorbell_, descriptors_);
    }
    // After a batch of one message in the first hand, with no other hand in use and no other lane,
    // another one like it is expected.
    void expect_another(const Batch& batch) noexcept;
    void finish_usual(Batch* batch) noexcept;
    // When the room behind a batch that ends here is due, or its writer waits for it.
    [[gnu::always_inline]] void give_room_if_due(ReaderLane& lane, std::uint64_t end) noexcept {
        const bool wanted = is_room_wished<base::StdAtomics>(
            lane.parts().writer_page().wants_room, is_reached_);
        if (wanted || end - lane.room_given >= lane.capacity_units() / 4) [[unlikely]]
            count_room(lane);
    }
    // Once per line: who only receives asks for nothing.
    void ask_for_answers_line() noexcept {
        if (answers_line_ == nullptr) return;
        base::prefetch_for_write(answers_line_);
        asked_for_ = answers_position_;
        answers_line_ = nullptr;
    }
    Batch* take_rescued() noexcept;
    bool begin_with(ReaderLane& lane, std::uint64_t position, Batch& into) noexcept;
    // The inbox's file was cut short: what others hold cannot be seen any more, nor they see us.
    [[nodiscard]] bool is_lost() noexcept;
    std::uint32_t walk(ReaderLane& lane, std::uint64_t position, std::uint64_t end_limit,
                       std::uint32_t limit, Batch& into) noexcept;
    std::uint32_t walk_on(ReaderLane& lane, std::uint64_t position, std::uint64_t end_limit,
                          std::uint32_t limit, std::uint32_t count, Batch& into) noexcept;
    void doubt(ReaderLane& lane, std::uint64_t position) noexcept;
    bool adopt_hands_of(std::uint16_t owner, std::uint64_t participant,
                        std::int32_t signal) noexcept;
    void count_room(ReaderLane& lane) noexcept;
    [[nodiscard]] static std::uint64_t count_messages(const Batch& batch) noexcept;
    Batch* look_around() noexcept;
    void look_at_cold() noexcept;
    Batch* take_from_cold(std::uint32_t limit, std::uint32_t least) noexcept;
    [[nodiscard]] std::uint32_t consumers_used() const noexcept;
    Batch* cool_down(std::size_t place) noexcept;
    void warm(ReaderLane& lane) noexcept;
    ReaderLane* known(std::uint64_t lane_id) noexcept;
    [[nodiscard]] bool is_open(const ReaderLane* lane) const noexcept;
    [[nodiscard]] std::uint32_t idle_hand() const noexcept;
    [[nodiscard]] StdConsumers& table() const noexcept {
        return all_.at<StdConsumers>(consumers_page_at);
    }
    [[nodiscard]] StdDoorbell& doorbell() const noexcept {
        return all_.at<StdDoorbell>(doorbell_page_at);
    }
    [[nodiscard]] StdHands& hands() const noexcept { return all_.at<StdHands>(hands_at); }
    [[nodiscard]] LaneTable& lane_table() const noexcept {
        return all_.at<LaneTable>(lane_table_at);
    }

    std::uint16_t slot_;
    std::uint64_t me_;
    int lanes_directory_;
    Peers peers_;
    Log log_;
    DescriptorBell* descriptors_ = nullptr;
    std::atomic<bool> lost_{false};
    bool told_of_loss_ = false;
    base::Mapping all_;
    base::FaultGuard guard_;
    StdConsumers* table_;
    StdDoorbell* doorbell_;
    StdHand* hands_;

    std::unordered_map<std::uint64_t, std::unique_ptr<ReaderLane>> lanes_;
    std::vector<ReaderLane*> warm_;     // had messages lately: looked at by every take
    std::vector<ReaderLane*> cold_;     // looked at in turn, two per take
    std::vector<ReaderLane*> waiting_;  // successors whose predecessor is not drained
    std::size_t warm_next_ = 0;
    std::size_t cold_next_ = 0;
    std::uint64_t known_version_ = 0;
    bool fresh_ = true;
    std::array<Batch, hands_each> batches_;
    std::uint32_t open_batches_ = 0;
    // A record like the one before it, which is how they come when they are waited for: the first
    // batch and the first hand are as they were for that one.
    struct Expected {
        ReaderLane* lane = nullptr;         // null: nothing is expected
        const std::byte* record = nullptr;  // where it will stand
        bool is_filled = false;             // the hand is, and what follows here
        std::uint64_t head = 0;             // of the lane, until the take
        std::uint64_t head_behind = 0;
        HandWords words;
    } expected_;
    std::vector<Rescued> rescued_;
    std::vector<std::unique_ptr<Batch>> rescued_batches_;
    BatchSize batch_size_;
    std::uint64_t stamp_ = 0;  // base::ticks() of the last look at the clock
    const std::byte* answers_line_ = nullptr;  // to be asked for; null: none
    std::uint64_t answers_position_ = 0;
    std::uint64_t asked_for_ = ~std::uint64_t{0};  // the latest position for which it was
    std::uint32_t until_look_ = 1;
    std::uint64_t poisoned_ = 0;
    std::uint64_t sleeps_ = 0;
    bool can_barrier_;
    bool is_reached_;  // by others' barriers
};

}  // namespace shmbus::lane

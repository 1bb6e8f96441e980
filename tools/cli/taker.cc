// Taking messages out. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/taker.h"

#include <algorithm>
#include <cstdio>

#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

// Places among the consumers that one command may take: 8 hands with 64 records each.
constexpr std::size_t most_places = 16;
// A consumer looks for what others left behind once in so many takes.
constexpr int takes_until_look = 70;

[[nodiscard]] std::vector<SeenMessage> messages_of(const lane::Entry& entry, std::uint64_t lane,
                                                   std::size_t done) {
    lane::SeenRecord record;
    record.position = entry.position;
    record.meta = wire::Meta::of(entry.meta);
    record.units = wire::units_of(entry.meta);
    const std::byte* const block = entry.record + wire::head_bytes;
    record.block.assign(block, block + std::size_t{record.meta.extension_units} * 16 +
                                   record.meta.payload_bytes);
    std::vector<SeenMessage> messages = messages_in(record, lane);
    messages.erase(messages.begin(),
                   messages.begin() + static_cast<std::ptrdiff_t>(std::min(done, messages.size())));
    return messages;
}

}  // namespace

Taker::Taker(Member& member, const directory::Endpoint& endpoint)
    : member_(member),
      name_(endpoint.name()),
      handle_{endpoint.index, endpoint.row.generation} {
    if (endpoint.row.kind == directory::EndpointKind::journal ||
        endpoint.row.kind == directory::EndpointKind::reply_inbox)
        throw Trouble(Exit::permission,
                      "\"" + name_ + "\" is private: only its owner takes from it", "",
                      "shmbus endpoint ls");
    join();
}

Taker::~Taker() {
    for (Place& place : places_) {
        place.consumer.reset();
        if (const auto left = member_.core().session().detach(handle_, place.slot); !left)
            std::fprintf(stderr, "shmbus: leaving %s: %s\n", name_.c_str(),
                         left.error().text().c_str());
    }
}

void Taker::join() {
    auto opened = value_of(member_.core().session().attach(handle_), "taking from " + name_);
    Place& place = places_.emplace_back();
    place.slot = opened.slot;
    place.bell = std::make_unique<detail::SelfBell>(opened.inbox, opened.slot);
    if (!inbox_) inbox_.emplace(opened.inbox);
    const detail::BusFolder& folder = member_.core().session().folder();
    place.consumer = std::make_unique<lane::Consumer>(
        opened.inbox, opened.slot, member_.core().session().reference(), folder.lanes().fd(),
        lane::Peers(folder.participants().fd()), [](bool is_error, std::string_view text) {
            if (is_error)
                std::fprintf(stderr, "shmbus: %.*s\n", static_cast<int>(text.size()), text.data());
        });
}

// Null: there is nothing, or the hands of this place are all in use.
lane::Batch* Taker::take(std::uint32_t limit) {
    lane::Consumer& consumer = *places_.back().consumer;
    // Ends: what a dead consumer held is looked for once in so many takes.
    for (int turn = 0; turn < takes_until_look; ++turn) {
        if (lane::Batch* const batch = limit == 1 ? consumer.take(1) : consumer.take_all(limit))
            return batch;
        if (!consumer.anything_there()) return nullptr;
    }
    return nullptr;
}

// A hand that an earlier consumer in this place has left filled is none, whoever adopts it.
bool Taker::has_idle_hand(const Place& place) {
    if (!inbox_->refresh()) return true;  // the consumer says that the file is lost
    const auto is_its = [&](const auto& hand) {
        return hand.index / lane::hands_each == place.slot;
    };
    return std::ranges::count_if(inbox_->hands(), is_its) < lane::hands_each;
}

std::vector<Taker::Record> Taker::next(std::uint32_t limit) {
    lane::Batch* batch = take(limit);
    while (batch == nullptr && places_.back().consumer->anything_there() &&
           !has_idle_hand(places_.back())) {
        if (places_.size() == most_places) {
            is_out_of_hands_ = true;
            return {};
        }
        join();
        batch = take(limit);
    }
    std::vector<Record> records;
    if (batch == nullptr) return records;
    batch->list();
    for (std::uint32_t index = 0; index < batch->count; ++index) {
        const std::size_t done = batch->progress(index).done;
        Record record{batch, index, {}, batch->adopted};
        record.messages = messages_of(batch->entry(index), batch->lane->lane_id(), done);
        for (SeenMessage& message : record.messages)
            message.sender = batch->lane->identity().writer;
        if (done == 0 || !record.messages.empty()) records.push_back(std::move(record));
    }
    if (records.empty()) {
        places_.back().consumer->finish(batch);
        return next(limit);
    }
    return records;
}

bool Taker::is_nearly_out_of_hands(const Record& record) const noexcept {
    // Adopted ones may all be those of the place that we are given next: it is to have one left.
    if (record.is_again) return adopted_ + 1 >= lane::hands_each;
    // Those of all places but the last are in use, or there would be no last one.
    return places_.size() == most_places;
}

void Taker::begin(const Record& record) {
    lane::Progress progress = record.batch->progress(record.index);
    progress.starts = static_cast<std::uint8_t>(std::min(progress.starts + 1, 250));
    record.batch->set(record.index, progress);
}

void Taker::take_back(const Record& record) {
    lane::Progress progress = record.batch->progress(record.index);
    if (progress.starts != 0) --progress.starts;
    record.batch->set(record.index, progress);
}

void Taker::let_go(const Record& record) { record.batch->set(record.index, lane::all_done); }

void Taker::close(const std::vector<Record>& records) {
    if (records.empty()) return;
    lane::Batch* const batch = records.front().batch;
    for (std::uint32_t index = 0; index < batch->count; ++index) {
        if (batch->progress(index).done != 0) continue;
        ++(batch->adopted ? adopted_ : held_);
        return;
    }
    places_.back().consumer->finish(batch);
}

bool Taker::wait(std::chrono::nanoseconds limit) { return places_.back().consumer->sleep(limit); }

}  // namespace shmbus::cli

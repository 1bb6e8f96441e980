// Random work on a journal, and the account beside it.
//
// SPDX-License-Identifier: BSL-1.0
#include "rig.h"

#include <shmbus/result.h>

#include <algorithm>
#include <functional>

namespace shmbus::test {

using namespace shmbus::journal;

namespace {

constexpr std::uint64_t first_second = 1'700'000'000;

[[nodiscard]] std::string differs_for(Journal& journal, const Account& account, Endpoint endpoint) {
    Delivery delivery;
    const std::string whose = "endpoint " + std::to_string(endpoint) + ": ";
    for (const auto& [lsn, line] : account.messages) {
        if (!std::ranges::binary_search(line->to, endpoint)) continue;
        const bool is_settled =
            account.gone.contains(endpoint) || account.settled.contains({endpoint, lsn});
        if (journal.is_settled(endpoint, lsn) != is_settled)
            return whose + "LSN " + std::to_string(lsn) + " is " + (is_settled ? "un" : "") +
                   "settled";
        if (is_settled) continue;
        const Next next = journal.next(endpoint, delivery);
        if (next != Next::message)
            return whose + "LSN " + std::to_string(lsn) + " is lost: " + journal.why_stopped();
        if (delivery.lsn != lsn)
            return whose + "LSN " + std::to_string(delivery.lsn) + " comes instead of " +
                   std::to_string(lsn);
        if (!std::ranges::equal(delivery.payload, line->payload) || delivery.id != line->id ||
            delivery.type != line->type)
            return whose + "LSN " + std::to_string(lsn) + " has other bytes";
    }
    if (journal.next(endpoint, delivery) != Next::nothing)
        return whose + "LSN " + std::to_string(delivery.lsn) + " was never published";
    return {};
}

}  // namespace

std::string differs(Journal& journal, const Account& account) {
    if (journal.ledger().items != account.items) return "other items";
    for (const auto& [lane, position] : account.lanes)
        if (journal.consumed_of(lane) != position) return "another position of a lane";
    for (const std::uint64_t id : account.kept_ids)
        if (!journal.was_seen({1, id})) return "a kept id is not known";
    for (Endpoint endpoint = 1; endpoint <= most_endpoints; ++endpoint)
        if (std::string what = differs_for(journal, account, endpoint); !what.empty()) return what;
    return {};
}

Options Rig::small_options() {
    Options options;
    options.segment_bytes = 32 * 1024;
    options.checkpoint_bytes = 48 * 1024;
    options.read_ahead_bytes = 8 * 1024;
    options.most_batch_bytes = 16 * 1024;
    options.early_write_bytes = 4 * 1024;
    options.slice_bytes = 64 * 1024;
    return options;
}

Rig::Rig(std::uint64_t seed, Options how) : random(seed), options(std::move(how)) {
    disk.random.seed(seed);
    options.now_seconds = [this] { return first_second + commits; };
    options.uptime_seconds = [this] { return commits; };
    options.random = [this] { return random() | 1U; };
    allowed.before = std::make_shared<Account>();
}

bool Rig::open() {
    journal.reset();
    begin_.reset();
    out_.clear();
    try {
        journal = std::make_unique<Journal>(disk, options);
    } catch (const SetupError&) {
        return false;
    }
    if (!journal->why_stopped().empty()) return false;
    const std::uint64_t lsn = journal->status().durable_lsn;
    if (allowed.at(lsn)) agree_on(lsn);  // else check() will say so
    return true;
}

void Rig::agree_on(std::uint64_t lsn) {
    allowed = {lsn, allowed.at(lsn), nullptr};
    account_ = *allowed.before;
}

void Rig::begin_batch() {
    if (!begin_) begin_ = journal->mark();
}

void Rig::publish() {
    begin_batch();
    auto line = std::make_shared<Account::Line>();
    for (Endpoint endpoint = 1; endpoint <= most_endpoints; ++endpoint)
        if (draw(3) == 0 && !account_.gone.contains(endpoint)) line->to.push_back(endpoint);
    if (line->to.empty()) return;
    static constexpr std::size_t most_bytes[] = {1, 64, 300, 300, 3000, 6000};
    line->payload.resize(draw(most_bytes[draw(std::size(most_bytes))]));
    for (std::byte& byte : line->payload) byte = static_cast<std::byte>(random());
    line->type = static_cast<std::uint16_t>(draw(9));
    line->id = {1, next_id_++};
    Message message;
    message.to = line->to;
    message.payload = line->payload;
    message.type = line->type;
    message.id = line->id;
    message.keep_id = draw(8) == 0;
    const Appended appended = journal->publish(message);
    if (appended.outcome != Outcome::ok) return;
    account_.messages[appended.lsn] = line;
    if (message.keep_id) account_.kept_ids.insert(line->id.low);
}

void Rig::settle(bool one_is_slow) {
    begin_batch();
    Delivery delivery;
    const Endpoint endpoint = 1 + draw(most_endpoints);
    if (one_is_slow && endpoint == 1 && draw(12) != 0) return;
    for (std::size_t more = draw(4); more > 0; --more)
        if (journal->next(endpoint, delivery) == Next::message)
            out_.emplace_back(endpoint, delivery.lsn);
    for (std::size_t some = draw(5); some > 0 && !out_.empty(); --some) {
        // Mostly the oldest, sometimes any: consumers compete.
        const std::size_t which = draw(3) == 0 ? draw(out_.size()) : 0;
        const auto one = out_[which];
        if (!account_.gone.contains(one.first)) {
            if (journal->settle(one.first, one.second) != Outcome::ok) return;
            account_.settled.insert(one);
        }
        out_.erase(out_.begin() + static_cast<std::ptrdiff_t>(which));
    }
}

void Rig::put() {
    begin_batch();
    const ItemKey key{static_cast<std::uint16_t>(draw(2)), draw(5)};
    if (draw(4) == 0) {
        if (journal->erase(key) == Outcome::ok) account_.items.erase(key);
        return;
    }
    std::vector<std::byte> bytes(draw(200), static_cast<std::byte>(random()));
    if (journal->put(key, bytes) == Outcome::ok) account_.items[key] = bytes;
}

void Rig::up_to() {
    begin_batch();
    const std::uint64_t lane = 1 + draw(3);
    const std::uint64_t position = account_.lanes[lane] + draw(100);
    if (journal->up_to(lane, position) == Outcome::ok) account_.lanes[lane] = position;
}

void Rig::forget() {
    begin_batch();
    const Endpoint endpoint = 1 + draw(most_endpoints);
    if (account_.gone.contains(endpoint) || account_.gone.size() + 2 >= most_endpoints) return;
    if (journal->forget(endpoint) == Outcome::ok) account_.gone.insert(endpoint);
}

void Rig::commit() {
    begin_batch();
    ++commits;
    // What is settled stands in records of their own, whose number shows only afterwards: any
    // LSN above the last one means that all of the batch is there.
    const std::uint64_t last = allowed.lsn;
    allowed.after = std::make_shared<const Account>(account_);
    const Committed done = journal->commit();
    if (done.outcome == Outcome::stopped) {
        // Nobody knows; both are allowed, until it is opened again.
        journal.reset();
        return;
    }
    if (done.outcome == Outcome::ok) {
        agree_on(std::max(last, done.last_lsn));
    } else {
        journal->take_back(*begin_);
        agree_on(last);
        out_.clear();
    }
    begin_.reset();
}

void Rig::kill() {
    journal.reset();
    account_ = *allowed.before;
}

void Rig::crash() {
    journal.reset();
    disk.state = after_random_crash(disk.state, random);
    account_ = *allowed.before;
}

void Rig::lose_unsynced() {
    journal.reset();
    disk.state = after_crash(disk.state, [](auto, auto) { return Fate::lost; }, random);
    account_ = *allowed.before;
}

void Rig::close() {
    if (journal && begin_) commit();
    if (journal) journal->close();
    journal.reset();
}

void Rig::step(const Weights& weights) {
    if (!journal) {
        static_cast<void>(open());
        return;
    }
    const std::pair<int, std::function<void(Rig&)>> choices[] = {
        {weights.publish, [](Rig& rig) { rig.publish(); }},
        {weights.settle, [&](Rig& rig) { rig.settle(weights.one_is_slow); }},
        {weights.put, [](Rig& rig) { rig.put(); }},
        {weights.up_to, [](Rig& rig) { rig.up_to(); }},
        {weights.forget, [](Rig& rig) { rig.forget(); }},
        {weights.commit, [](Rig& rig) { rig.commit(); }},
        {weights.maintain, [](Rig& rig) { static_cast<void>(rig.journal->maintain()); }},
        {weights.idle,
         [](Rig& rig) {
             if (rig.begin_) rig.commit();
             for (int turn = 0; turn < 20 && rig.journal && rig.journal->maintain(true);) ++turn;
         }},
        {weights.close, [](Rig& rig) { rig.close(); }},
        {weights.kill, [](Rig& rig) { rig.kill(); }},
        {weights.crash, [](Rig& rig) { rig.crash(); }},
    };
    int sum = 0;
    for (const auto& choice : choices) sum += choice.first;
    int dice = static_cast<int>(draw(static_cast<std::size_t>(sum)));
    for (const auto& [weight, act] : choices) {
        if (dice < weight) return act(*this);
        dice -= weight;
    }
}

std::string Rig::check() {
    if (!journal) return "there is no journal";
    if (!journal->why_stopped().empty()) return "it is stopped: " + journal->why_stopped();
    const std::uint64_t lsn = journal->status().durable_lsn;
    const auto account = allowed.at(lsn);
    if (!account)
        return "it ends at LSN " + std::to_string(lsn) + ", expected was " +
               std::to_string(allowed.lsn) + (allowed.after ? " or the batch behind it" : "");
    return differs(*journal, *account);
}

}  // namespace shmbus::test

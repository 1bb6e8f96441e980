// Around damage: what is whole behind it, and what is lost.
//
// SPDX-License-Identifier: BSL-1.0
#include <algorithm>

#include "journal/walk.h"

namespace shmbus::journal {

void Walk::keep(const Stretch& stretch, const std::vector<Kept>& kept) {
    if (!kept.empty() && kept.back().head.kind == Kind::batch_end)
        begin_batch(
            read_as<BatchEnd>(payload_at(stretch, kept.back().offset, kept.back().head)));
    for (const Kept& record : kept) fold_record(stretch, record.offset, record.head);
}

void Walk::salvage(const Stretch& stretch, const Batch& batch, const Place* limit) {
    const std::uint64_t end = limit != nullptr ? limit->offset : stretch.end();
    std::vector<Kept> kept;
    bool lost_the_way = false;
    std::uint64_t bad_offset = batch.wrong_offset;
    // Ends: every turn goes on by eight bytes or more.
    for (std::uint64_t at = batch.begin; at < end;) {
        const auto head = head_at(stretch, at);
        const std::uint64_t due = place_.lsn + 1;
        const bool fits =
            head && may_follow(*head, place_.lsn) && end_of(at, *head) <= stretch.end();
        if (!fits) {
            if (!lost_the_way) bad_offset = at;
            lost_the_way = true;
            at += 8;
            continue;
        }
        // What is missing before it can be told by its number.
        const std::uint64_t before = takes_lsn(*head) ? head->lsn - 1 : head->lsn;
        if (before >= due)
            lose_to(before, bad_offset, "records are damaged");
        else if (lost_the_way)
            note(bad_offset, "the begin of a segment or the end of a batch is damaged");
        const bool may_begin = at % block_bytes == 0 && at > batch.begin && lost_the_way;
        if (may_begin && takes_lsn(*head)) {
            keep(stretch, kept);
            place_.offset = at;
            chain_is_known_ = false;
            return;
        }
        const bool right = payload_is_right(stretch, at, *head);
        if (takes_lsn(*head)) {
            if (right) kept.push_back({*head, at});
            if (!right) lose_to(head->lsn, at, "a record's payload is damaged");
            if (right) place_.lsn = head->lsn;
        } else if (head->kind == Kind::begin) {
            if (right) kept.push_back({*head, at});
            if (!right) note(at, "a segment's begin is damaged");
        } else {
            if (!right) note(at, "the end of a batch is damaged; its records are whole");
            kept.push_back({*head, at});
            if (!right) kept.pop_back();
            keep(stretch, kept);
            place_.offset = end_of(at, *head);
            chain_is_known_ = right;
            if (right) place_.chain = read_as<BatchEnd>(payload_at(stretch, at, *head)).chain;
            return;
        }
        lost_the_way = false;
        at = end_of(at, *head);
    }
    // Nothing whole behind it: what is known to have been synced is gone.
    const std::uint64_t last = limit != nullptr ? limit->lsn : evidence_.value_or(0);
    if (last > place_.lsn)
        lose_to(last, bad_offset, "records are damaged");
    else
        note(bad_offset, "the end of a batch is damaged; its records are whole");
    keep(stretch, kept);
    place_.offset = limit != nullptr ? limit->offset
                    : known_.synced.number == place_.number
                        ? std::max(known_.synced.offset, batch.begin + block_bytes)
                        : end;
    chain_is_known_ = false;
    if (limit != nullptr) place_.chain = limit->chain;
}

// To the end of a merged segment, whose last record has an LSN of up to `last`. Numbers only rise,
// so what is lost may be any between the two records that are whole.
void Walk::salvage_merged(const Stretch& stretch, std::uint64_t last) {
    std::optional<std::uint64_t> bad_offset;
    // Ends: every turn goes on by eight bytes or more.
    for (std::uint64_t at = stretch.begin; at < stretch.end();) {
        const auto head = head_at(stretch, at);
        const bool fits =
            head && may_follow(*head, place_.lsn) && end_of(at, *head) <= stretch.end();
        if (!fits) {
            if (!bad_offset) bad_offset = at;
            at += 8;
            continue;
        }
        const std::uint64_t before = takes_lsn(*head) ? head->lsn - 1 : head->lsn;
        if (bad_offset && before > place_.lsn)
            lose_to(before, *bad_offset, "records of a merged segment are damaged");
        else if (bad_offset)
            note(*bad_offset, "the begin or the end of a merged segment's batch is damaged");
        bad_offset.reset();
        const bool right = payload_is_right(stretch, at, *head);
        if (takes_lsn(*head)) {
            place_.lsn = before;
            if (right) show(stretch, at, *head);
            if (right) ++report_.records;
            if (!right) lose_to(head->lsn, at, "a record's payload is damaged");
            place_.lsn = head->lsn;
        } else if (!right) {
            note(at, "the begin or the end of a merged segment's batch is damaged");
        }
        at = end_of(at, *head);
    }
    if (!bad_offset) return;
    if (last > place_.lsn)
        lose_to(last, *bad_offset, "records of a merged segment are damaged");
    else
        note(*bad_offset, "the end of a merged segment's batch is damaged; its records are whole");
}

bool Walk::was_synced(const Stretch& stretch, const Batch& batch) {
    if (!evidence_) {
        evidence_ = known_.synced.number == place_.number ? known_.synced.lsn : 0;
        for (std::uint64_t at = base::round_up(batch.begin, block_bytes); at < stretch.end();
             at += block_bytes) {
            const auto head = head_at(stretch, at);
            if (!head || !takes_lsn(*head) || head->lsn == 0) continue;
            const Batch later = read_batch(stretch, at, head->lsn - 1);
            if (later.valid) evidence_ = std::max(*evidence_, later.tail.durable_before);
        }
    }
    return *evidence_ >= batch.first_lsn;
}

void Walk::count_torn(const Stretch& stretch, std::uint64_t from) {
    std::uint64_t last = from;
    for (std::uint64_t at = from; at < stretch.end(); at += block_bytes) {
        const std::uint64_t bytes = std::min(block_bytes, stretch.end() - at);
        if (!all_zero(stretch.bytes.subspan(at - stretch.begin, bytes))) last = at + bytes;
    }
    report_.torn_bytes += last - from;
    tail_is_zero_ = last == from;
}

void Walk::lose_to(std::uint64_t last, std::uint64_t offset, const std::string& what) {
    lose({place_.lsn + 1, last}, offset, what);
    place_.lsn = last;
}

void Walk::lose(Range lsns, std::uint64_t offset, const std::string& what) {
    Damage damage;
    damage.loses = true;
    damage.file = numbered_name(segment_prefix, place_.number);
    damage.offset = offset;
    damage.lsns = lsns;
    damage.what = what;
    report_.damages.push_back(std::move(damage));
}

void Walk::note(std::uint64_t offset, const std::string& what) {
    Damage damage;
    damage.file = numbered_name(segment_prefix, place_.number);
    damage.offset = offset;
    damage.lsns = {1, 0};
    damage.what = what;
    report_.damages.push_back(std::move(damage));
}

// A gap in an audience's own numbers tells whose messages a hole took.
void Walk::blame(const RecordHead& head) {
    if (head.kind != Kind::publish) return;
    const auto audience = ledger_.audiences.find(head.number);
    if (audience == ledger_.audiences.end()) return;
    if (head.sequence == static_cast<std::uint32_t>(audience->second.sequence + 1)) return;
    for (Damage& damage : report_.damages) {
        if (!damage.loses || damage.lsns.first <= audience->second.last_lsn) continue;
        for (const Endpoint endpoint : audience->second.endpoints)
            if (std::ranges::find(damage.endpoints, endpoint) == damage.endpoints.end())
                damage.endpoints.push_back(endpoint);
    }
}

}  // namespace shmbus::journal

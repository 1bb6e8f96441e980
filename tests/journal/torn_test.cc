// Torn tails are no damage: every prefix of a journal.
//
// SPDX-License-Identifier: BSL-1.0
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "rig.h"

using namespace shmbus::test;
using namespace shmbus::journal;

namespace {

// A journal as it is after some commits, with the accounts by LSN.
struct Made {
    DiskState state;
    std::map<std::uint64_t, std::shared_ptr<const Account>> accounts;
    std::vector<std::uint64_t> ends;  // offset behind each batch of the first segment
    std::vector<std::uint64_t> lsns;  // and the LSN there
    Options options;
};

[[nodiscard]] Made make_one_segment(std::uint64_t segment_bytes, std::uint64_t seed) {
    Options options = Rig::small_options();
    options.segment_bytes = segment_bytes;
    options.checkpoint_bytes = UINT64_MAX;
    Rig rig(seed, options);
    REQUIRE(rig.open());
    Made made;
    for (int step = 0; step < 4000; ++step) {
        if (rig.journal->status().segments > 1) break;
        made.state = rig.disk.state;
        const std::uint64_t lsn = rig.journal->status().durable_lsn;
        if (made.lsns.empty() || lsn != made.lsns.back()) {
            made.lsns.push_back(lsn);
            made.accounts[lsn] = rig.allowed.before;
        }
        Weights weights;
        weights.maintain = weights.idle = 0;
        rig.step(weights);
    }
    made.options = rig.options_of_disk();
    return made;
}

[[nodiscard]] Allowed exactly(const Made& made, std::uint64_t lsn) {
    return {lsn, made.accounts.at(lsn), nullptr};
}

}  // namespace

TEST_SUITE("journal") {
TEST_CASE("every prefix of a journal recovers to its last whole batch") {
    const Made made = make_one_segment(256 * 1024, 5);
    const std::string name = numbered_name("seg-", 1);
    const std::vector<std::byte> whole = made.state.content(name);
    // Where the batches end: read off the untouched file.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ends;
    const auto head = read_as<SegmentHead>(whole);
    const Stretch all{Seed(head.journal_id, 1, head.salt), whole, 0};
    std::uint64_t lsn = 0;
    for (std::uint64_t at = first_batch_offset;;) {
        const Batch batch = read_batch(all, at, lsn);
        if (!batch.valid) break;
        ends.emplace_back(at = batch.end, lsn = batch.last_lsn);
    }
    REQUIRE(ends.size() > 20);
    // The bytes are cut one by one; a disk has zeros where nothing was written. A recovery of
    // each takes too long for a suite, so all are judged by the reader and each 61st by a
    // recovery.
    std::uint64_t prefixes = 0;
    std::uint64_t recoveries = 0;
    std::vector<std::byte> cut(whole.size());
    std::size_t whole_batches = 0;
    for (std::uint64_t bytes = first_batch_offset; bytes <= ends.back().first; ++bytes) {
        if (bytes > first_batch_offset) cut[bytes - 1] = whole[bytes - 1];
        while (whole_batches < ends.size() && ends[whole_batches].first <= bytes)
            ++whole_batches;
        ++prefixes;
        // Only the batch that is cut can be in doubt; those before it have not changed. Zeros
        // at the end of a batch are its filling: without them it is the same batch.
        const std::uint64_t from =
            whole_batches == 0 ? first_batch_offset : ends[whole_batches - 1].first;
        const std::uint64_t before = whole_batches == 0 ? 0 : ends[whole_batches - 1].second;
        const bool same =
            whole_batches < ends.size() &&
            std::equal(whole.begin() + static_cast<std::ptrdiff_t>(from),
                       whole.begin() + static_cast<std::ptrdiff_t>(ends[whole_batches].first),
                       cut.begin() + static_cast<std::ptrdiff_t>(from));
        const bool valid = read_batch({all.seed, cut, 0}, from, before).valid;
        if (valid != same) FAIL("a prefix of " << bytes << " bytes is read wrongly");
        if (prefixes % 61 != 0) continue;
        ++recoveries;
        Rig rig(bytes, made.options);
        rig.disk.state = made.state;
        std::ranges::copy(std::span(whole).first(block_bytes), cut.begin());
        std::ranges::copy(std::span(whole).last(block_bytes), cut.end() - block_bytes);
        rig.disk.state.set_content(name, cut);
        rig.allowed = exactly(made, same ? ends[whole_batches].second : before);
        const bool came_up = rig.open();
        INFO("prefix of ", bytes, " bytes");
        REQUIRE(came_up);
        REQUIRE(rig.check() == "");
    }
    MESSAGE("prefixes: ", prefixes, ", recoveries: ", recoveries);
}
}

// The whole ledger in one file, so that a recovery need not read everything.
//
// The journal's thread. The two youngest are kept. A checkpoint is written into a file that was
// reserved beforehand, so that a full disk cannot stop it; it is synced, read back and compared,
// and only then gets its name.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "journal/ledger.h"
#include "journal/storage.h"

namespace shmbus::journal {

// Head of the file; the ledger's bytes follow, then zeros to the end of the file.
struct CheckpointHead {
    static constexpr std::uint64_t right_magic = 0x31504B434A424D53;  // "SMBJCKP1"

    std::uint64_t magic = right_magic;
    std::uint32_t version = format_version;
    std::uint32_t content_sum = 0;
    std::uint64_t content_bytes = 0;
    std::uint64_t journal_id = 0;
    std::uint64_t generation = 0;
    Place place;                       // the ledger is what stands before here
    std::uint64_t oldest_segment = 0;  // the first that is still needed
    std::uint64_t newest_segment = 0;  // files up to this number had been made
};
static_assert(sizeof(CheckpointHead) == 88);

struct Checkpoint {
    CheckpointHead head;
    Ledger ledger;
};

[[nodiscard]] std::vector<std::byte> to_bytes(const Ledger& ledger);
// False when the bytes are not a ledger's; `into` is then half filled.
[[nodiscard]] bool from_bytes(std::span<const std::byte> bytes, Ledger& into);

class CheckpointFiles {
public:
    static constexpr const char* prefix = "ckpt-";
    static constexpr const char* reserve_name = "tmp-ckpt";

    // Reads and checks one; nothing and the reason when it is no checkpoint of this journal.
    [[nodiscard]] static std::optional<Checkpoint> read(Storage& storage, std::uint64_t generation,
                                                        std::uint64_t journal_id,
                                                        const LedgerLimits& limits,
                                                        std::string& why);
    // Makes the next one durable. Returns an errno; the older ones are as they were.
    [[nodiscard]] static int write(Storage& storage, CheckpointHead head, const Ledger& ledger);
    // Reserves room for the next one, which may be twice as long. Returns an errno.
    static int reserve(Storage& storage, std::uint64_t last_bytes);
};

}  // namespace shmbus::journal

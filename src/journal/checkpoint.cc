// A ledger as bytes, and the files that hold it.
//
// SPDX-License-Identifier: BSL-1.0
#include "journal/checkpoint.h"

#include <algorithm>
#include <cerrno>

#include "journal/crc32c.h"

namespace shmbus::journal {

namespace {

constexpr std::uint64_t least_reserve_bytes = 16 * block_bytes;

class Out {
public:
    std::vector<std::byte> bytes;
    template <class T>
    void put(const T& value) {
        const auto raw = bytes_of(value);
        bytes.insert(bytes.end(), raw.begin(), raw.end());
    }
    void put_bytes(std::span<const std::byte> raw) {
        put<std::uint64_t>(raw.size());
        bytes.insert(bytes.end(), raw.begin(), raw.end());
    }
    void put_ranges(const Ranges& ranges) { put_bytes(std::as_bytes(std::span(ranges.all()))); }
};

// Reads what Out has put; asks for more than there is make everything after it empty.
class In {
public:
    explicit In(std::span<const std::byte> bytes) : left_(bytes) {}
    template <class T>
    [[nodiscard]] T get() {
        if (left_.size() < sizeof(T)) return fail(), T{};
        const T value = read_as<T>(left_);
        left_ = left_.subspan(sizeof(T));
        return value;
    }
    [[nodiscard]] std::span<const std::byte> get_bytes() {
        const auto size = get<std::uint64_t>();
        if (left_.size() < size) return fail(), std::span<const std::byte>{};
        const auto taken = left_.first(size);
        left_ = left_.subspan(size);
        return taken;
    }
    [[nodiscard]] Ranges get_ranges() {
        Ranges ranges;
        const auto raw = get_bytes();
        for (std::uint64_t at = 0; raw.size() - at >= sizeof(Range); at += sizeof(Range))
            ranges.add(read_as<Range>(raw, at));
        return ranges;
    }
    // Calls `one` as often as the number in front says, as long as there is something left.
    template <class One>
    void each(One one) {
        for (auto count = get<std::uint64_t>(); count > 0 && good_; --count) one();
    }
    [[nodiscard]] bool is_done() const noexcept { return good_ && left_.empty(); }

private:
    void fail() noexcept {
        good_ = false;
        left_ = {};
    }
    std::span<const std::byte> left_;
    bool good_ = true;
};

void put_segment(Out& out, const Segment& segment) {
    out.put(std::array{segment.number, segment.covers_to, segment.file_bytes, segment.salt,
                       segment.first_lsn, segment.content_end});
    out.put(segment.begin);
    out.put(segment.end);
    out.put(std::array{std::uint8_t{segment.merged}, std::uint8_t{segment.closed},
                       std::uint8_t{segment.clean}, std::uint8_t{0}});
    out.put<std::uint64_t>(segment.shares.size());
    for (const auto& [audience, share] : segment.shares) {
        out.put<std::uint64_t>(audience);
        out.put(share);
    }
}

[[nodiscard]] Segment get_segment(In& in) {
    Segment segment;
    const auto numbers = in.get<std::array<std::uint64_t, 6>>();
    segment.number = numbers[0];
    segment.covers_to = numbers[1];
    segment.file_bytes = numbers[2];
    segment.salt = numbers[3];
    segment.first_lsn = numbers[4];
    segment.content_end = numbers[5];
    segment.begin = in.get<Place>();
    segment.end = in.get<Place>();
    const auto marks = in.get<std::array<std::uint8_t, 4>>();
    segment.merged = marks[0] != 0;
    segment.closed = marks[1] != 0;
    segment.clean = marks[2] != 0;
    in.each([&] {
        const auto audience = static_cast<std::uint32_t>(in.get<std::uint64_t>());
        segment.shares[audience] = in.get<Share>();
    });
    return segment;
}

[[nodiscard]] std::uint32_t seed_of(const CheckpointHead& head) noexcept {
    CheckpointHead summed = head;
    summed.content_sum = 0;
    return crc32c(0, bytes_of(summed));
}

}  // namespace

std::vector<std::byte> to_bytes(const Ledger& ledger) {
    Out out;
    out.put<std::uint64_t>(ledger.endpoints.size());
    for (const auto& [endpoint, settled] : ledger.endpoints) {
        out.put(std::array{endpoint, settled.low, settled.count, settled.addressed_before});
        out.put_ranges(settled.above);
    }
    out.put<std::uint64_t>(ledger.audiences.size());
    for (const auto& [number, audience] : ledger.audiences) {
        out.put(std::array<std::uint64_t, 4>{number, audience.last_lsn, audience.count,
                                             audience.sequence});
        out.put_bytes(std::as_bytes(std::span(audience.endpoints)));
    }
    out.put<std::uint64_t>(ledger.items.size());
    for (const auto& [key, item] : ledger.items) {
        out.put(std::array<std::uint64_t, 2>{key.type, key.key});
        out.put_bytes(item);
    }
    out.put<std::uint64_t>(ledger.lanes.size());
    for (const auto& [lane, mark] : ledger.lanes) {
        out.put(lane);
        out.put(mark);
    }
    out.put<std::uint64_t>(ledger.ids.all().size());
    for (const IdWindow::Seen& seen : ledger.ids.all()) out.put(seen);
    out.put_ranges(ledger.accepted_losses);
    out.put<std::uint64_t>(ledger.segments.size());
    for (const auto& [number, segment] : ledger.segments) put_segment(out, segment);
    out.put(std::array<std::uint64_t, 3>{ledger.next_audience, ledger.seconds, ledger.doubted_to});
    return out.bytes;
}

bool from_bytes(std::span<const std::byte> bytes, Ledger& into) {
    In in(bytes);
    in.each([&] {
        const auto numbers = in.get<std::array<std::uint64_t, 4>>();
        into.endpoints[numbers[0]] = {numbers[1], in.get_ranges(), numbers[2], numbers[3]};
    });
    in.each([&] {
        const auto numbers = in.get<std::array<std::uint64_t, 4>>();
        Audience audience;
        audience.last_lsn = numbers[1];
        audience.count = numbers[2];
        audience.sequence = static_cast<std::uint32_t>(numbers[3]);
        const auto raw = in.get_bytes();
        audience.endpoints.resize(raw.size() / sizeof(Endpoint));
        std::ranges::copy(raw.first(audience.endpoints.size() * sizeof(Endpoint)),
                          std::as_writable_bytes(std::span(audience.endpoints)).begin());
        into.restore(static_cast<std::uint32_t>(numbers[0]), std::move(audience));
    });
    in.each([&] {
        const auto key = in.get<std::array<std::uint64_t, 2>>();
        const auto raw = in.get_bytes();
        into.items[{static_cast<std::uint16_t>(key[0]), key[1]}].assign(raw.begin(), raw.end());
    });
    in.each([&] {
        const auto lane = in.get<std::uint64_t>();
        into.lanes[lane] = in.get<Watermark>();
    });
    in.each([&] {
        const auto seen = in.get<IdWindow::Seen>();
        into.ids.add(seen.id, seen.seconds);
    });
    into.accepted_losses = in.get_ranges();
    in.each([&] {
        Segment segment = get_segment(in);
        into.segments[segment.number] = std::move(segment);
    });
    const auto rest = in.get<std::array<std::uint64_t, 2>>();
    into.next_audience = static_cast<std::uint32_t>(rest[0]);
    into.seconds = rest[1];
    // Not in the first ones that were written.
    if (!in.is_done()) into.doubted_to = in.get<std::uint64_t>();
    return in.is_done();
}

std::optional<Checkpoint> CheckpointFiles::read(Storage& storage, std::uint64_t generation,
                                                std::uint64_t journal_id,
                                                const LedgerLimits& limits, std::string& why) {
    const auto refuse = [&](const char* reason) {
        why = reason;
        return std::nullopt;
    };
    int error = 0;
    const auto file = storage.open(numbered_name(prefix, generation), error);
    if (!file) return refuse("it cannot be opened");
    const Moved size = file->size();
    if (size.error != 0 || size.bytes < sizeof(CheckpointHead)) return refuse("it is too short");
    std::vector<std::byte> bytes(size.bytes);
    if (read_all(*file, bytes, 0) != 0) return refuse("it cannot be read");
    Checkpoint checkpoint{read_as<CheckpointHead>(bytes), Ledger(limits)};
    const CheckpointHead& head = checkpoint.head;
    if (head.magic != CheckpointHead::right_magic || head.version != format_version ||
        head.journal_id != journal_id || head.generation != generation)
        return refuse("its head is damaged or another journal's");
    const auto rest = std::span<const std::byte>(bytes).subspan(sizeof head);
    if (head.content_bytes > rest.size() ||
        crc32c(seed_of(head), rest.first(head.content_bytes)) != head.content_sum)
        return refuse("its content differs from its sum");
    if (!all_zero(rest.subspan(head.content_bytes))) return refuse("its filling is not zero");
    if (!from_bytes(rest.first(head.content_bytes), checkpoint.ledger))
        return refuse("its content is not a ledger's");
    return checkpoint;
}

int CheckpointFiles::write(Storage& storage, CheckpointHead head, const Ledger& ledger) {
    const std::vector<std::byte> content = to_bytes(ledger);
    head.content_bytes = content.size();
    head.content_sum = crc32c(seed_of(head), content);
    std::vector<std::byte> all(sizeof head);
    std::ranges::copy(bytes_of(head), all.begin());
    all.insert(all.end(), content.begin(), content.end());

    int error = 0;
    auto file = storage.open(reserve_name, error);
    if (!file && error == ENOENT) file = storage.create(reserve_name, error);
    if (!file) return error;
    if ((error = write_all(*file, all, 0)) != 0) return error;
    if ((error = file->sync()) != 0) return error;
    static_cast<void>(file->forget_cached());
    std::vector<std::byte> again(all.size());
    if ((error = read_all(*file, again, 0)) != 0) return error;
    if (again != all) return EIO;
    if ((error = storage.rename(reserve_name, numbered_name(prefix, head.generation))) != 0)
        return error;
    return storage.sync_directory();
}

int CheckpointFiles::reserve(Storage& storage, std::uint64_t last_bytes) {
    int error = 0;
    const auto file = storage.create(reserve_name, error);
    if (!file) return error;
    const std::uint64_t bytes =
        base::round_up(std::max(least_reserve_bytes, 2 * last_bytes), block_bytes);
    const std::vector<std::byte> zeros(bytes);
    if ((error = file->allocate(bytes)) == 0) error = write_all(*file, zeros, 0);
    if (error == 0) error = file->sync();
    if (error != 0) static_cast<void>(storage.unlink(reserve_name));
    return error;
}

}  // namespace shmbus::journal

// Fuzzer: a lane and an inbox that somebody scribbles on while a consumer reads them.
//
// A few good messages are written first. Then the input says what is written where: first by this
// thread, then over and over by another one while messages are taken, copied and finished. Nothing
// may crash, reach outside the lane, or go on for ever.
//
// SPDX-License-Identifier: BSL-1.0
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <unistd.h>

#include "fuzz/bytes.h"
#include "support/scene.h"

using namespace shmbus;

namespace {

constexpr std::size_t most_scribbles = 32;
constexpr int takes = 300;

struct Scribble {
    bool on_inbox = false;
    std::size_t at = 0;
    std::array<std::uint8_t, 16> bytes{};
    std::uint8_t count = 0;
};

// The places that matter are few among many bytes: a kind of place first, then where in it.
Scribble scribble_from(shmbus::test::Bytes& input) {
    Scribble one;
    const auto kind = input.next<std::uint8_t>();
    const std::size_t where = input.next<std::uint16_t>();
    switch (kind % 8) {
        case 0: one.at = lane::writer_page_at + where % 64; break;
        case 1: one.at = lane::reader_page_at + where % 512; break;
        case 2: case 3: one.at = lane::data_at + where % 4096; break;
        case 4: one = {true, lane::hands_at + where % 1536, {}, 0}; break;
        case 5: one = {true, lane::consumers_page_at + where % 512, {}, 0}; break;
        case 6: one = {true, lane::lane_table_at + where % 64, {}, 0}; break;
        default: one = {true, lane::doorbell_page_at + where % 256, {}, 0}; break;
    }
    one.count = static_cast<std::uint8_t>(1 + kind / 8 % 16);
    input.fill(one.bytes.data(), one.count);
    return one;
}

struct Target {
    base::Mapping lane;
    base::Mapping inbox;
    // A stranger's stores: plain bytes, whatever anybody reads meanwhile.
    void apply(const Scribble& one) const noexcept {
        const base::Mapping& on = one.on_inbox ? inbox : lane;
        for (std::size_t i = 0; i < one.count && one.at + i < on.bytes(); ++i)
            reinterpret_cast<volatile std::uint8_t*>(on.data())[one.at + i] = one.bytes[i];
    }
};

// As the bus takes a message apart whose writer is not trusted.
std::uint64_t copy_out(const lane::Entry& entry, std::vector<std::byte>& room) {
    const wire::Meta meta = wire::Meta::of(entry.meta);
    std::array<std::byte, 256> block{};
    std::memcpy(block.data(), entry.record + wire::head_bytes,
                std::size_t{meta.extension_units} * 16);
    wire::Extensions extensions;
    if (!wire::read_extensions(meta, block.data(), extensions)) return 0;
    const std::byte* const payload = entry.record + meta.payload_offset();
    room.assign(payload, payload + meta.payload_bytes);
    std::uint64_t sum = 0;
    for (const std::byte byte : room) sum += static_cast<std::uint64_t>(byte);
    return sum;
}

void consume(lane::Consumer& consumer, base::File* to_be_cut) {
    std::vector<std::byte> room;
    std::vector<lane::Batch*> open;
    for (int i = 0; i < takes; ++i) {
        if (to_be_cut != nullptr && i == takes / 2 && ::ftruncate(to_be_cut->fd(), 8192) != 0)
            __builtin_trap();
        lane::Batch* batch = consumer.take(lane::most_entries);
        if (batch != nullptr) {
            if (batch->count > lane::most_entries) __builtin_trap();
            for (std::uint32_t at = 0; at < batch->count; ++at)
                static_cast<void>(copy_out(batch->entry(at), room));
            open.push_back(batch);
        }
        if (open.size() >= 3 || batch == nullptr) {
            for (lane::Batch* done : open) consumer.finish(done);
            open.clear();
        }
        if (batch == nullptr && i % 100 == 99)
            static_cast<void>(consumer.sleep(std::chrono::microseconds{50}));
    }
    for (lane::Batch* done : open) consumer.finish(done);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    shmbus::test::Bytes input(data, size);
    const auto how = input.next<std::uint8_t>();
    std::vector<Scribble> scribbles;
    while (!input.empty() && scribbles.size() < most_scribbles)
        scribbles.push_back(scribble_from(input));

    shmbus::test::Scene scene;
    base::File lane_file = scene.make_lane(1);
    lane::Writer writer(lane_file);
    for (std::uint64_t number = 1; number <= 8 + how % 32U; ++number)
        if (!shmbus::test::send(writer, 1, number)) break;
    const auto writable = base::Access::read_write;
    const Target target{base::Mapping(lane_file, {0, lane::data_at + 4096}, writable),
                        base::Mapping(*scene.inbox, {0, lane::inbox_bytes}, writable)};
    const std::size_t at_once = how % 4 == 0 ? 0 : scribbles.size();
    try {
        scene.make_participant(7);
        const auto life = scene.live_as(7);
        const auto slot = scene.admin->assign_consumer(7);
        if (!slot) return 0;
        const auto consumer = scene.consume(*slot, 7);
        for (std::size_t i = 0; i < at_once; ++i) target.apply(scribbles[i]);
        if (how < 128) {
            consume(*consumer, how % 16 == 3 ? &lane_file : nullptr);
            return 0;
        }
        const std::jthread scribbler([&](const std::stop_token& stop) {
            for (std::size_t i = 0; !stop.stop_requested() && !scribbles.empty(); ++i)
                target.apply(scribbles[i % scribbles.size()]);
        });
        consume(*consumer, nullptr);
    } catch (const SetupError&) {
        return 0;  // a clear refusal is as good as an answer
    }
    return 0;
}

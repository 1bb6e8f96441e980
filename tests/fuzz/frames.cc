// Fuzzer: what any process may send to the daemon. Frames go to the registrar, the deaths of their
// senders to the reaper, in this process, on a real bus directory.
//
// Half of the frames have a right head and a likely name, or the fuzzer would hardly come further.
//
// SPDX-License-Identifier: BSL-1.0
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include <unistd.h>

#include "base/support.h"
#include "daemon/config.h"
#include "daemon/home.h"
#include "daemon/reaper.h"
#include "daemon/registrar.h"
#include "daemon/state.h"
#include "fuzz/bytes.h"

using namespace shmbus;

namespace {

constexpr int inputs_per_bus = 200;
constexpr int most_frames = 24;

[[nodiscard]] daemon::Config small_bus(const std::string& directory) {
    daemon::Config config;
    config.directory = directory;
    config.tables = {16, 24, 32, 32, 32, 64};
    config.default_lane_bytes = 4096;
    config.most_lane_bytes = 16384;
    config.journal = directory + "/journal";
    config.journal_segment_bytes = 65536;
    return config;
}

struct House {
    House()
        : state(daemon::Home(config), config, [](LogLevel, const std::string&) {}),
          durable(state),
          registrar(state, durable),
          reaper(state) {}
    shmbus::test::TemporaryDirectory folder;
    daemon::Config config = small_bus(folder.path() + "/bus");
    daemon::State state;
    daemon::Durable durable;
    daemon::Registrar registrar;
    daemon::Reaper reaper;
};

House& house() {
    static std::unique_ptr<House> current;
    static int inputs = 0;
    if (!current || ++inputs % inputs_per_bus == 0) {
        current.reset();
        current = std::make_unique<House>();
    }
    return *current;
}

std::vector<std::byte> frame_from(shmbus::test::Bytes& input, std::uint8_t how) {
    const auto type = static_cast<std::uint32_t>(input.next<std::uint8_t>() % 18);
    const bool right = (how & 1) != 0 && wire::request_bytes(type) != 0;
    const std::size_t bytes =
        right ? wire::request_bytes(type) : input.next<std::uint16_t>() % wire::most_frame_bytes;
    std::vector<std::byte> frame(bytes);
    if (!right) {
        input.fill(frame.data(), frame.size());
        return frame;
    }
    const wire::RequestHead head{wire::control_version, static_cast<std::uint32_t>(bytes), type, 7};
    std::memcpy(frame.data(), &head, sizeof(head));
    std::byte* const body = frame.data() + sizeof(head);
    std::size_t rest = bytes - sizeof(head);
    const bool named = type == 1 || type == 3 || type == 4;
    if (named && (how & 2) != 0) {
        wire::NameField name{};
        name.set(std::string(1, static_cast<char>('a' + how / 32)));
        std::memcpy(body, &name, sizeof(name));
        rest -= sizeof(name);
        input.fill(body + sizeof(name), rest);
    } else {
        input.fill(body, rest);
    }
    return frame;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    House& here = house();
    shmbus::test::Bytes input(data, size);
    std::array<daemon::Client, 2> clients{};
    for (daemon::Client& client : clients) client.peer = {::getpid(), ::geteuid(), ::getegid()};
    for (int frames = 0; frames < most_frames && !input.empty(); ++frames) {
        const auto how = input.next<std::uint8_t>();
        daemon::Client& client = clients[how >> 2 & 1];
        const daemon::Answer answer = here.registrar.answer(client, frame_from(input, how));
        if (answer.reply.length != sizeof(wire::Reply)) __builtin_trap();
        if (answer.reply.descriptor_count > wire::most_descriptors) __builtin_trap();
        // A malformed frame ends the connection.
        if (answer.hang_up) client.participant = 0;
    }
    static_cast<void>(here.durable.turn());
    // Nobody took its page, nobody is connected: all of them are gone, and what they had.
    for (int time = 0; time < 2; ++time)
        here.reaper.sweep([](wire::Reference) { return false; },
                          [](const directory::LaneRow&) { return true; });
    return 0;
}

// What the processes of the story have in common.
//
// SPDX-License-Identifier: BSL-1.0
#include "roles.h"

#include <thread>

#include "channel.h"

namespace story {

shmbus::Bus open_bus(const std::string& directory, const std::string& name) {
    shmbus::BusOptions options;
    options.process_name = name;
    // The conductor owns the daemon, to kill it at the right moment and to leave none behind.
    options.start_daemon = false;
    options.time_sent_every = 1;
    return shmbus::Bus::open(directory, options);
}

void run_until_told(shmbus::Endpoint& endpoint, const RoleArguments& arguments,
                    const std::string& first_word,
                    const std::function<void(const std::string&)>& other) {
    const Channel conductor(arguments.control_fd);
    conductor.say(first_word);
    std::jthread listener([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            const auto word = conductor.hear(std::chrono::milliseconds{100});
            if (!word) continue;
            if (other) other(*word);
            if (*word == "stop" || word->empty()) {
                endpoint.stop();
                return;
            }
        }
    });
    endpoint.run();
    listener.request_stop();
    listener.join();
    conductor.say("done");
}

}  // namespace story

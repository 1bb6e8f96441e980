// The text protocol of NATS, as much as one publisher and one reader need. See docs.nats.io.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shmbus::bench {

struct NatsMessage {
    std::string_view subject;
    std::string_view payload;
};

// A connection to a server on this machine. All throw std::runtime_error if it is lost.
class NatsLine {
public:
    explicit NatsLine(std::uint16_t port);
    ~NatsLine();
    NatsLine(const NatsLine&) = delete;
    NatsLine& operator=(const NatsLine&) = delete;

    void subscribe(const std::string& subject);
    // Into a buffer; goes out with the next flush or await.
    void publish(const std::string& subject, const std::string& reply, std::string_view payload);
    // The next message that comes; valid until the next call.
    NatsMessage await();
    // The same if it has come already; does not ask the system.
    std::optional<NatsMessage> next_here();

private:
    void write_out();
    void read_more();

    int fd_;
    unsigned subscriptions_ = 0;  // their numbers
    std::string out_;
    std::string in_;
    std::size_t at_ = 0;  // before it, `in_` was given out
};

}  // namespace shmbus::bench

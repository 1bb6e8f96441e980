// RabbitMQ: a quorum queue with publisher confirms. See the guides on quorum queues and confirms.
//
// The server needs ten seconds to start, so it is started once and each measurement has a queue of
// its own in it; between them it sits idle.
//
// SPDX-License-Identifier: BSL-1.0
#include "peers/peer_list.h"
#include "peers/programs.h"
#include "peers/rabbitmq_server.h"
#include "peers/store.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <set>
#include <stdexcept>

namespace shmbus::bench {
namespace {

constexpr amqp_channel_t channel = 1;

class RabbitMq : public Store {
public:
    RabbitMq(std::uint16_t port, std::string queue)
        : queue_(std::move(queue)), connection_(::amqp_new_connection()) {
        amqp_socket_t* const socket = ::amqp_tcp_socket_new(connection_);
        if (::amqp_socket_open(socket, "127.0.0.1", port) != AMQP_STATUS_OK)
            throw std::runtime_error("RabbitMQ cannot be reached");
        check(::amqp_login(connection_, "/", 0, AMQP_DEFAULT_FRAME_SIZE, 0,
                           AMQP_SASL_METHOD_PLAIN, "guest", "guest"),
              "logging in");
        ::amqp_channel_open(connection_, channel);
        check("opening a channel");
        amqp_table_entry_t kind{::amqp_cstring_bytes("x-queue-type"), {}};
        kind.value.kind = AMQP_FIELD_KIND_UTF8;
        kind.value.value.bytes = ::amqp_cstring_bytes("quorum");
        ::amqp_queue_declare(connection_, channel, name(), 0, 1, 0, 0, {1, &kind});
        check("declaring a quorum queue");
        ::amqp_confirm_select(connection_, channel);
        check("asking for confirms");
    }
    ~RabbitMq() override {
        ::amqp_connection_close(connection_, AMQP_REPLY_SUCCESS);
        ::amqp_destroy_connection(connection_);
    }

    void send(const std::byte* message) override {
        amqp_basic_properties_t properties{};
        properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
        properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
        const amqp_bytes_t body{stored_bytes, const_cast<std::byte*>(message)};
        check(::amqp_basic_publish(connection_, channel, amqp_empty_bytes, name(), 0, 0,
                                   &properties, body),
              "publishing");
        open_.insert(open_.end(), ++tag_);
    }

    std::size_t acknowledged() override {
        std::size_t count = 0;
        // Waits for one; more are taken as long as they have come.
        while (count == 0 || ::amqp_frames_enqueued(connection_) ||
               ::amqp_data_in_buffer(connection_)) {
            amqp_frame_t frame{};
            check(::amqp_simple_wait_frame(connection_, &frame), "waiting for confirms");
            count += take(frame);
        }
        ::amqp_maybe_release_buffers(connection_);
        return count;
    }

    void read_back(std::uint64_t count,
                   const std::function<void(const std::byte*)>& use) override {
        ::amqp_basic_consume(connection_, channel, name(), amqp_empty_bytes, 0, 1, 0,
                             amqp_empty_table);
        check("consuming");
        while (count-- > 0)
            if (!read_one(std::chrono::seconds(20), use)) throw std::runtime_error("too few came");
        if (read_one(std::chrono::milliseconds(100), use))
            throw std::runtime_error("more came back than were sent");
    }

private:
    amqp_bytes_t name() const { return ::amqp_cstring_bytes(queue_.c_str()); }

    bool read_one(std::chrono::microseconds limit,
                  const std::function<void(const std::byte*)>& use) {
        timeval left{limit.count() / 1'000'000, limit.count() % 1'000'000};
        amqp_envelope_t envelope{};
        ::amqp_maybe_release_buffers(connection_);
        const amqp_rpc_reply_t reply = ::amqp_consume_message(connection_, &envelope, &left, 0);
        if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
            if (reply.library_error == AMQP_STATUS_TIMEOUT) return false;
            check(reply, "reading back");
        }
        const amqp_bytes_t& body = envelope.message.body;
        if (body.len != stored_bytes) throw std::runtime_error("a message of another size");
        use(static_cast<const std::byte*>(body.bytes));
        ::amqp_destroy_envelope(&envelope);
        return true;
    }

    // How many a frame confirms.
    std::size_t take(const amqp_frame_t& frame) {
        if (frame.frame_type != AMQP_FRAME_METHOD ||
            frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
            throw std::runtime_error("RabbitMQ refused a message or closed the channel");
        const auto& ack = *static_cast<const amqp_basic_ack_t*>(frame.payload.method.decoded);
        if (!ack.multiple) return open_.erase(ack.delivery_tag);
        const std::size_t before = open_.size();
        open_.erase(open_.begin(), open_.upper_bound(ack.delivery_tag));
        return before - open_.size();
    }

    void check(const amqp_rpc_reply_t& reply, const char* what) {
        if (reply.reply_type == AMQP_RESPONSE_NORMAL) return;
        throw std::runtime_error(std::string(what) + ": " +
                                 (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION
                                      ? ::amqp_error_string2(reply.library_error)
                                      : "refused by RabbitMQ"));
    }
    void check(const char* what) { check(::amqp_get_rpc_reply(connection_), what); }
    void check(int status, const char* what) {
        if (status == AMQP_STATUS_OK) return;
        throw std::runtime_error(std::string(what) + ": " + ::amqp_error_string2(status));
    }

    std::string queue_;
    amqp_connection_state_t connection_;
    std::uint64_t tag_ = 0;
    std::set<std::uint64_t> open_;  // published, not yet confirmed
};

class RabbitMqHouse : public StoreHouse {
public:
    RabbitMqHouse() : port_(running_rabbitmq()) {
        static std::uint64_t number = 0;  // of this process
        queue_ = "queue" + std::to_string(number++);
    }
    std::unique_ptr<Store> open() override { return std::make_unique<RabbitMq>(port_, queue_); }

private:
    std::uint16_t port_;
    std::string queue_;
};

}  // namespace

Peer rabbitmq() {
    Peer peer;
    peer.name = "RabbitMQ quorum queue";
    peer.package = "rabbitmq-server librabbitmq-dev";
    peer.version = rabbitmq_version();
    peer.configuration = "x-queue-type=quorum on one node, persistent messages, publisher confirms "
                         "taken as they come, no plugins, defaults otherwise";
    peer.guarantees = {.kill_safe = true, .redelivery = true, .durable = true,
                       .competing_consumers = true};
    if (!find_program("rabbitmq-server"))
        peer.absent = "package rabbitmq-server is missing: no rabbitmq-server is installed";
    keep_in(peer, [](const std::string&) { return std::make_unique<RabbitMqHouse>(); });
    return peer;
}

}  // namespace shmbus::bench

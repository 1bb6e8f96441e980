// Control frames: which lengths there are, names and texts of every length in them.
//
// SPDX-License-Identifier: BSL-1.0
#include "wire/control.h"

#include <array>
#include <span>
#include <string>

#include <doctest/doctest.h>

using namespace shmbus;
using wire::RequestType;

namespace {

// The head says what it should, and every other byte is zero.
template <class Request>
void check_made(RequestType type) {
    const Request request = wire::make_request<Request>(type, 77);
    CHECK(wire::request_bytes(static_cast<std::uint32_t>(type)) == sizeof(Request));
    CHECK(request.head.version == wire::control_version);
    CHECK(request.head.length == sizeof(Request));
    CHECK(request.head.type == static_cast<std::uint32_t>(type));
    CHECK(request.head.sequence == 77);
    const auto bytes = std::as_bytes(std::span(&request, 1)).subspan(sizeof(wire::RequestHead));
    CHECK(std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }));
}

}  // namespace

TEST_SUITE("wire") {

TEST_CASE("each type of request has one length, between its head and the bound") {
    for (std::uint32_t type = 1; type <= wire::last_request_type; ++type) {
        CAPTURE(type);
        CHECK(wire::request_bytes(type) >= sizeof(wire::RequestHead));
        CHECK(wire::request_bytes(type) <= wire::most_frame_bytes);
    }
    for (std::uint32_t type = wire::last_request_type + 1; type < 5000; ++type)
        CHECK(wire::request_bytes(type) == 0);
    CHECK(wire::request_bytes(0) == 0);
    CHECK(wire::request_bytes(~std::uint32_t{0}) == 0);
    CHECK(wire::request_bytes(1U << 31) == 0);
}

TEST_CASE("a request that is made has its type's head and is zero otherwise") {
    check_made<wire::HelloRequest>(RequestType::hello);
    check_made<wire::GoodbyeRequest>(RequestType::goodbye);
    check_made<wire::DeclareTypeRequest>(RequestType::declare_type);
    check_made<wire::CreateEndpointRequest>(RequestType::create_endpoint);
    check_made<wire::RemoveEndpointRequest>(RequestType::remove_endpoint);
    check_made<wire::EndpointTypeRequest>(RequestType::announce);
    check_made<wire::PublisherRequest>(RequestType::publisher);
    check_made<wire::EndpointTypeRequest>(RequestType::subscribe);
    check_made<wire::EndpointTypeRequest>(RequestType::unsubscribe);
    check_made<wire::AttachRequest>(RequestType::attach);
    check_made<wire::DetachRequest>(RequestType::detach);
    check_made<wire::OpenLaneRequest>(RequestType::open_lane);
    check_made<wire::ReplyInboxRequest>(RequestType::reply_inbox);
    check_made<wire::StatusRequest>(RequestType::status);
}

TEST_CASE("a name of 1 to 200 characters travels, every other length is refused") {
    for (std::size_t length = 0; length <= wire::most_frame_bytes; ++length) {
        const std::string name(length, 'n');
        wire::NameField field;
        const bool fits = field.set(name);
        CHECK(fits == (length <= 200));
        const auto back = field.get();
        CHECK(back.has_value() == (length >= 1 && length <= 200));
        if (back) CHECK(*back == name);
        if (!fits) CHECK(field.bytes == 0);
    }
    wire::NameField field;
    CHECK_FALSE(field.set(std::string(100'000, 'n')));
    CHECK_FALSE(field.get().has_value());
}

TEST_CASE("a name with a character that none may have is no name") {
    for (int character = 0; character < 256; ++character) {
        const auto c = static_cast<char>(character);
        wire::NameField field;
        REQUIRE(field.set(std::string("a") + c + "b"));
        const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        CAPTURE(character);
        CHECK(field.get().has_value() == allowed);
    }
}

TEST_CASE("a name's length is believed only if the field is that long") {
    wire::NameField field;
    REQUIRE(field.set(std::string(200, 'n')));
    for (const std::uint32_t bytes : {201U, 204U, 4096U, ~0U}) {
        field.bytes = bytes;
        CHECK_FALSE(field.get().has_value());
    }
}

TEST_CASE("a reply's text is cut where its field ends, written or read") {
    for (std::size_t length = 0; length <= 2 * sizeof(wire::Reply::text); ++length) {
        std::string sentence;
        for (std::size_t i = 0; i < length; ++i) sentence += static_cast<char>('a' + i % 26);
        wire::Reply reply{};
        reply.say(sentence);
        CHECK(reply.message() == sentence.substr(0, sizeof(reply.text)));
    }
    wire::Reply reply{};
    for (const std::uint32_t bytes : {509U, 4096U, ~0U}) {
        reply.text_bytes = bytes;
        CHECK(reply.message().size() == sizeof(reply.text));
    }
}
}

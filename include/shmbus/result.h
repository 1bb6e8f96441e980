// What a call answers: Result and Error for refusals, SetupError for a set-up that failed.
//
// A refusal is normal (the lane is full, nobody listens, time is up) and comes back as a value.
// A set-up that fails throws SetupError, which says what was tried, on what, what the system
// answered and what helps. After set-up no function of this library throws.
//
// A program may be compiled with -fno-exceptions and -fno-rtti. A set-up that fails then ends it
// with the text of the SetupError, and so does value() where there is none; that of a Result<void>
// still fails a handler alone, but skips the destructors of its locals. Ask has_value() instead.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace [[gnu::visibility("default")]] shmbus {

// Names one message for its whole life, whoever gets it: equal ids mean one message. What a handler
// sends has the same id again when its message comes to the same endpoint again, by a death or a
// retry, and another one when another endpoint handles the same event. (A transient event that is
// published outside a handler is a message of its own to each subscriber.) Nothing else is to be
// read off an id.
struct MessageId {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend constexpr bool operator==(const MessageId&, const MessageId&) = default;
    // The id as 32 hexadecimal digits. Allocates.
    [[nodiscard]] std::string text() const;
};

// Why a call was refused. The names are stable; shmbus::name_of gives them as text.
enum class ErrorCode : std::uint8_t {
    ok = 0,
    full,              // the receiver is behind; details name who holds the queue
    timeout,           // the deadline passed
    too_large,         // longer than the lane's largest message
    closed,            // this Bus, Endpoint or loan was closed, this answer handed out
    no_route,          // no endpoint handles the command
    no_endpoint,       // the endpoint that was named does not exist
    no_daemon,         // the daemon is needed for this call and cannot be reached
    refused,           // the daemon said no (quota, permission, conflict); details say why
    lane_lost,         // the lane's file was truncated or scribbled on
    would_block,       // waiting is not allowed here: inside a handler
    stopped,           // the stop token was triggered
    wrong_type,        // an answer arrived that is not of the type asked for
    not_decodable,     // the codec could not make a value of the bytes
    handler_failed,    // the request's handler gave up; the message is in the error endpoint. Or
                       // the handler that asked has failed: the request was not sent
    too_many,          // more outputs than one handler may have
    no_reply_address,  // reply() to a message whose sender expects none
    no_journal,        // durable messages need the journal, which cannot be had; details say why
};

// The code as the word that stands in the documentation, for example "full".
[[nodiscard, gnu::visibility("default")]] std::string_view name_of(ErrorCode code) noexcept;

// What is known about a refusal. Fields that do not apply are zero or empty.
struct Refusal {
    std::string_view endpoint;           // whose queue; valid as long as the Bus lives
    std::int64_t holder_pid = 0;         // the process that holds the oldest message
    MessageId message;                   // that message
    std::chrono::nanoseconds since{0};   // for how long it has been held
    std::uint64_t wanted_bytes = 0;      // too_large: what was asked for
    std::uint64_t limit_bytes = 0;       // too_large: what is allowed
    std::string reason;                  // refused, no_daemon: one sentence
};

// A refusal: a code and, for those that have them, details. Copying is cheap.
// The details live in the calling thread and are overwritten by its next refusal: read them
// before the thread makes another call.
class Error {
public:
    constexpr Error() noexcept = default;
    constexpr explicit Error(ErrorCode code, const Refusal* details = nullptr) noexcept
        : details_(details), code_(code) {}
    [[nodiscard]] constexpr ErrorCode code() const noexcept { return code_; }
    // Null when there is nothing more to say.
    [[nodiscard]] constexpr const Refusal* details() const noexcept { return details_; }
    // One sentence for people: what happened with its values, the likely reason, what helps.
    [[nodiscard]] std::string text() const;
    friend constexpr bool operator==(const Error& a, ErrorCode b) noexcept { return a.code_ == b; }

private:
    const Refusal* details_ = nullptr;
    ErrorCode code_ = ErrorCode::ok;
};

// A value or an Error. Member names are those of std::expected.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : value_(std::move(value)) {}
    Result(Error error) noexcept : error_(error) {}
    [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    // The value; throws std::bad_optional_access when there is none.
    [[nodiscard]] T& value() & { return value_.value(); }
    [[nodiscard]] const T& value() const& { return value_.value(); }
    [[nodiscard]] T&& value() && { return std::move(value_).value(); }
    T& operator*() & noexcept { return *value_; }
    const T& operator*() const& noexcept { return *value_; }
    T&& operator*() && noexcept { return *std::move(value_); }
    T* operator->() noexcept { return &*value_; }
    const T* operator->() const noexcept { return &*value_; }
    [[nodiscard]] const Error& error() const noexcept { return error_; }

private:
    std::optional<T> value_;
    Error error_;
};

// Success or an Error; two machine words, so that it travels in registers.
template <>
class [[nodiscard]] Result<void> {
public:
    constexpr Result() noexcept = default;
    constexpr Result(Error error) noexcept : error_(error) {}
    [[nodiscard]] constexpr bool has_value() const noexcept {
        return error_.code() == ErrorCode::ok;
    }
    constexpr explicit operator bool() const noexcept { return has_value(); }
    [[nodiscard]] constexpr const Error& error() const noexcept { return error_; }
    // Throws std::runtime_error with the error's text when this is a refusal.
    void value() const;

private:
    Error error_;
};

// A set-up that failed. what() is one text of up to four lines: what was tried, on what, what
// the system answered, what helps.
class SetupError : public std::runtime_error {
public:
    // `system_error` is an errno value or 0.
    SetupError(std::string tried, std::string on_what, int system_error, std::string helps);
    [[nodiscard]] const std::string& tried() const noexcept { return tried_; }
    [[nodiscard]] const std::string& on_what() const noexcept { return on_what_; }
    [[nodiscard]] int system_error() const noexcept { return system_error_; }
    [[nodiscard]] const std::string& helps() const noexcept { return helps_; }

private:
    std::string tried_;
    std::string on_what_;
    std::string helps_;
    int system_error_;
};

}  // namespace shmbus

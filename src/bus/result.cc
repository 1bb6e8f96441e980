// Refusals as text: names of codes, one sentence per error. See shmbus/result.h.
//
// SPDX-License-Identifier: BSL-1.0
#include "bus/refusal.h"

#include <shmbus/context.h>

#include <array>
#include <cstdio>

namespace shmbus {

std::string MessageId::text() const {
    std::array<char, 33> digits{};
    std::snprintf(digits.data(), digits.size(), "%016llx%016llx",
                  static_cast<unsigned long long>(high), static_cast<unsigned long long>(low));
    return digits.data();
}

std::string_view name_of(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::ok: return "ok";
        case ErrorCode::full: return "full";
        case ErrorCode::timeout: return "timeout";
        case ErrorCode::too_large: return "too_large";
        case ErrorCode::closed: return "closed";
        case ErrorCode::no_route: return "no_route";
        case ErrorCode::no_endpoint: return "no_endpoint";
        case ErrorCode::no_daemon: return "no_daemon";
        case ErrorCode::refused: return "refused";
        case ErrorCode::lane_lost: return "lane_lost";
        case ErrorCode::would_block: return "would_block";
        case ErrorCode::stopped: return "stopped";
        case ErrorCode::wrong_type: return "wrong_type";
        case ErrorCode::not_decodable: return "not_decodable";
        case ErrorCode::handler_failed: return "handler_failed";
        case ErrorCode::too_many: return "too_many";
        case ErrorCode::no_reply_address: return "no_reply_address";
        case ErrorCode::no_journal: return "no_journal";
    }
    return "unknown";
}

std::string_view name_of(FailureReason reason) noexcept {
    switch (reason) {
        case FailureReason::none: return "none";
        case FailureReason::handler_threw: return "handler_threw";
        case FailureReason::process_died: return "process_died";
        case FailureReason::unknown_type: return "unknown_type";
        case FailureReason::wrong_size: return "wrong_size";
        case FailureReason::not_decodable: return "not_decodable";
    }
    return "unknown";
}

namespace {

// What happened and what helps, for each code.
std::string_view sentence(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::ok: return "nothing went wrong";
        case ErrorCode::full:
            return "the receiver's queue is full; it is behind: look at its handler, send less, or "
                   "give the endpoint a larger lane";
        case ErrorCode::timeout:
            return "no answer came before the deadline; is the receiver running, and quick enough?";
        case ErrorCode::too_large:
            return "the message is longer than this lane's largest; give the endpoint larger lanes "
                   "or send less at once";
        case ErrorCode::closed:
            return "this bus, endpoint or loan is closed, was moved from, or belongs to the "
                   "process that forked this one; open the bus again in this process. Or this "
                   "answer was handed out before, which is done once";
        case ErrorCode::no_route:
            return "no endpoint handles this command yet; start its receiver, declare the endpoint "
                   "first, or name a destination";
        case ErrorCode::no_endpoint:
            return "the endpoint that was named does not exist; check the name or start it first";
        case ErrorCode::no_daemon:
            return "shmbusd is needed for the first message to an endpoint and cannot be reached";
        case ErrorCode::refused: return "shmbusd refused this";
        case ErrorCode::lane_lost:
            return "the lane's file was truncated or scribbled on; what was in it may be lost; the "
                   "next send opens another one";
        case ErrorCode::would_block:
            return "waiting is not allowed here: this thread is inside a handler or holds a loan "
                   "to the same endpoint";
        case ErrorCode::stopped: return "the stop token was triggered";
        case ErrorCode::wrong_type:
            return "the answer is not of the type that was asked for; sender and receiver were "
                   "built with different declarations";
        case ErrorCode::not_decodable:
            return "the bytes are no value of that type; sender and receiver were built with "
                   "different declarations";
        case ErrorCode::handler_failed:
            return "the request's handler gave up and the message is in the error endpoint, or the "
                   "handler that asked threw and the request was not sent";
        case ErrorCode::too_many:
            return "too many messages at once: one batch holds at most 4,096, one handler call at "
                   "most 65,000, and together half of the receiver's lane";
        case ErrorCode::no_reply_address:
            return "the message in hand was not sent by request(): nobody expects an answer";
        case ErrorCode::no_journal:
            return "durable messages cannot be sent: the daemon's journal cannot be had";
    }
    return "an error of a newer version";
}

void add_full(std::string& text, const Refusal& details) {
    if (details.holder_pid == 0) {
        text += "; nobody has taken the oldest message " + details.message.text();
        return;
    }
    using std::chrono::duration_cast, std::chrono::milliseconds;
    text += "; process " + std::to_string(details.holder_pid) + " has held message " +
            details.message.text() + " for " +
            std::to_string(duration_cast<milliseconds>(details.since).count()) + " ms";
}

}  // namespace

std::string Error::text() const {
    std::string text = "shmbus: ";
    text += name_of(code_);
    text += ": ";
    text += sentence(code_);
    if (details_ == nullptr) return text + '.';
    if (!details_->endpoint.empty()) {
        text += " (endpoint \"";
        text += details_->endpoint;
        text += "\")";
    }
    if (code_ == ErrorCode::full) add_full(text, *details_);
    if (code_ == ErrorCode::too_large)
        text += "; " + std::to_string(details_->wanted_bytes) + " bytes, at most " +
                std::to_string(details_->limit_bytes);
    if (!details_->reason.empty()) text += ": " + details_->reason;
    if (text.back() != '.') text += '.';
    return text;
}

void Result<void>::value() const {
    if (!has_value()) throw std::runtime_error(error_.text());
}

namespace detail {

namespace {

// Thread-local: set by this thread's details when they go.
thread_local constinit bool details_are_gone = false;

struct ThreadRefusal : Refusal {
    ~ThreadRefusal() { details_are_gone = true; }
};

Refusal& this_threads_refusal() noexcept {
    if (details_are_gone) {
        // For what is refused to destructors of statics and of other thread-local objects. Never
        // destroyed.
        static thread_local constinit Refusal* late = nullptr;
        if (late == nullptr) late = new Refusal;
        return *late;
    }
    // Thread-local: an Error stays two words, and the details need no owner.
    static thread_local ThreadRefusal details;
    return details;
}

}  // namespace

Refusal& fresh_refusal() noexcept {
    Refusal& details = this_threads_refusal();
    details.endpoint = {};
    details.holder_pid = 0;
    details.message = {};
    details.since = {};
    details.wanted_bytes = details.limit_bytes = 0;
    details.reason.clear();
    return details;
}

Error refuse(ErrorCode code, std::string_view reason) {
    std::string kept(reason);  // it may point into the details that are emptied now
    Refusal& details = fresh_refusal();
    details.reason = std::move(kept);
    return Error(code, &details);
}

}  // namespace detail
}  // namespace shmbus

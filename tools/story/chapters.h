// The story: what happens, in which order, and what is claimed on the way.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "messages.h"
#include "stage.h"

namespace story {

// What the end needs to know of the way there.
struct Course {
    std::uint64_t rows = 0;
    std::uint64_t bad_lines = 0;
    std::uint64_t subscribed_ns = 0;  // when shipping's subscription counted
    std::string killed;               // the sales process that was killed
    std::uint64_t held_order = 0;     // which it held half done
    std::uint64_t killed_ns = 0;
    std::uint64_t calm_begin_ns = 0;  // chapters in which nobody is stopped or killed
    std::uint64_t calm_end_ns = 0;
    std::uint64_t fast_begin_ns = 0;  // as fast as it goes
    std::uint64_t fast_end_ns = 0;
    std::vector<std::uint64_t> request_spans;
    std::vector<std::string> request_errors;
    Totals answered;                  // the read model's last answer
};

// How many orders each chapter gets: by weight, but the chapters that are about a death come first
// when there are few.
enum Part {
    two_sellers,
    late_shipping,
    billing_away,
    killed_seller,
    no_daemon,
    full_speed,
    reboot,
};
inline constexpr std::size_t parts = 7;
[[nodiscard]] std::array<std::uint64_t, parts> share_out(std::uint64_t orders);

// Orders that shipping must have: sales writes its line before it publishes, so a line that is
// later than the subscription belongs to a publish that began after it.
[[nodiscard]] std::set<std::uint64_t> due_to_shipping(const Stage& stage,
                                                      std::uint64_t subscribed_ns);

// Uses the stage from one thread. Throws StoryBroken.
class Chapters {
public:
    explicit Chapters(Stage& stage) : stage_(stage) {}
    // False when there is not one good order.
    bool open();
    void tell_all();
    [[nodiscard]] const Course& course() const noexcept { return course_; }

private:
    void tell_two_sellers();
    void tell_late_shipping();
    void tell_billing_away();
    void tell_killed_seller();
    void tell_no_daemon();
    void tell_full_speed();
    void tell_reboot();
    void close();

    void send(Part part);
    void wait_until_sent();
    // Until each process of the role, together, has noted every order that was sent so far.
    bool wait_until_handled(const std::string& role, std::chrono::milliseconds patience);
    void ask_now_and_then();
    [[nodiscard]] Totals ask(const std::string& product);

    Stage& stage_;
    Course course_;
    std::optional<shmbus::Bus> bus_;
    std::array<std::uint64_t, parts> shares_{};
    std::uint64_t sent_ = 0;  // asked of the orders process so far
    std::uint64_t asked_ns_ = 0;
    std::chrono::milliseconds patience_{std::chrono::hours{1}};
};

}  // namespace story

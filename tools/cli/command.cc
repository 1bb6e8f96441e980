// Commands and options by way of CLI11. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/command.h"

#include <charconv>
#include <cmath>
#include <limits>

#include <CLI/CLI.hpp>

#include "duration_option.h"
#include "said_option.h"

namespace shmbus::cli {

Option Option::required() const {
    option_->required();
    return *this;
}
Option Option::one_of(const std::vector<std::string>& words) const {
    option_->check(CLI::IsMember(words));
    return *this;
}
Option Option::excludes(Option other) const {
    option_->excludes(other.option_);
    return *this;
}
Option Option::separated_by_commas() const {
    option_->delimiter(',');
    return *this;
}
Option Option::at_least_one(const std::string& what) const {
    option_->check([what](const std::string& text) {
        const bool is_none = !text.empty() && text.find_first_not_of('0') == std::string::npos;
        return is_none ? "0 " + what + " are none; leave it away for what is meant without it"
                       : std::string();
    });
    return *this;
}

Command Command::add(const std::string& name, const std::string& what) const {
    return Command(*app_->add_subcommand(name, what));
}
Command Command::needs_command() const {
    app_->require_subcommand(1);
    return *this;
}
void Command::runs(std::function<void()> what) const { app_->callback(std::move(what)); }

namespace {

// The parser itself takes -1 for a very large number, and what is too large for the largest.
template <class T>
[[nodiscard]] T whole_number(const std::string& name, const std::string& text) {
    T value = 0;
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc{} && stopped == end) return value;
    throw CLI::ValidationError(name, '"' + text + "\" is no whole number from 0 to " +
                                         std::to_string(std::numeric_limits<T>::max()));
}

template <class T, class Into>
[[nodiscard]] Option number(CLI::App& app, const std::string& name, Into& into,
                            const std::string& what) {
    const auto read = [&into, name](const std::string& text) {
        into = whole_number<T>(name, text);
    };
    return Option(app.add_option_function<std::string>(name, read, what)->type_name("N"));
}

}  // namespace

Option Command::option(const std::string& name, std::string& into, const std::string& what) const {
    return Option(require_said(app_->add_option(name, into, what)));
}
Option Command::option(const std::string& name, std::vector<std::string>& into,
                       const std::string& what) const {
    CLI::Option* const made = require_said(app_->add_option(name, into, what));
    // "--type A ENDPOINT": one word each time, or it would take those that are told by place.
    if (name.starts_with('-')) made->allow_extra_args(false);
    return Option(made);
}
Option Command::option(const std::string& name, std::uint64_t& into,
                       const std::string& what) const {
    return number<std::uint64_t>(*app_, name, into, what);
}
Option Command::option(const std::string& name, std::uint32_t& into,
                       const std::string& what) const {
    return number<std::uint32_t>(*app_, name, into, what);
}
Option Command::option(const std::string& name, double& into, const std::string& what) const {
    const auto read = [&into, name](const double& value) {
        if (!std::isfinite(value) || value <= 0)
            throw CLI::ValidationError(name, "it is a number above 0");
        into = value;
    };
    return Option(app_->add_option_function<double>(name, read, what));
}
Option Command::option(const std::string& name, std::chrono::nanoseconds& into,
                       const std::string& what) const {
    return Option(add_duration(*app_, name, into, what));
}
Option Command::option(const std::string& name, std::optional<std::uint64_t>& into,
                       const std::string& what) const {
    return number<std::uint64_t>(*app_, name, into, what);
}
Option Command::option(const std::string& name, std::optional<std::string>& into,
                       const std::string& what) const {
    return Option(app_->add_option_function<std::string>(
        name, [&into](const std::string& value) { into = value; }, what));
}
Option Command::flag(const std::string& name, bool& into, const std::string& what) const {
    return Option(app_->add_flag(name, into, what));
}
Option Command::calls(const std::string& name, std::function<void(const std::string&)> call,
                      const std::string& what) const {
    return Option(app_->add_option_function<std::string>(name, std::move(call), what));
}
Option Command::flag_calls(const std::string& name, std::function<void()> call,
                           const std::string& what) const {
    return Option(app_->add_flag_callback(name, std::move(call), what));
}

}  // namespace shmbus::cli

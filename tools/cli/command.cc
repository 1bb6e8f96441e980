// Commands and options by way of CLI11. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/command.h"

#include <CLI/CLI.hpp>

#include "duration_option.h"

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

Command Command::add(const std::string& name, const std::string& what) const {
    return Command(*app_->add_subcommand(name, what));
}
Command Command::needs_command() const {
    app_->require_subcommand(1);
    return *this;
}
void Command::runs(std::function<void()> what) const { app_->callback(std::move(what)); }

namespace {

template <class T>
[[nodiscard]] Option added(CLI::App& app, const std::string& name, T& into,
                           const std::string& what) {
    return Option(app.add_option(name, into, what));
}

}  // namespace

Option Command::option(const std::string& name, std::string& into, const std::string& what) const {
    return added(*app_, name, into, what);
}
Option Command::option(const std::string& name, std::vector<std::string>& into,
                       const std::string& what) const {
    CLI::Option* const made = app_->add_option(name, into, what);
    // "--type A ENDPOINT": one word each time, or it would take those that are told by place.
    if (name.starts_with('-')) made->allow_extra_args(false);
    return Option(made);
}
Option Command::option(const std::string& name, std::uint64_t& into,
                       const std::string& what) const {
    return added(*app_, name, into, what);
}
Option Command::option(const std::string& name, std::uint32_t& into,
                       const std::string& what) const {
    return added(*app_, name, into, what);
}
Option Command::option(const std::string& name, double& into, const std::string& what) const {
    return added(*app_, name, into, what);
}
Option Command::option(const std::string& name, std::chrono::nanoseconds& into,
                       const std::string& what) const {
    return Option(add_duration(*app_, name, into, what));
}
Option Command::option(const std::string& name, std::optional<std::uint64_t>& into,
                       const std::string& what) const {
    return Option(app_->add_option_function<std::uint64_t>(
        name, [&into](std::uint64_t value) { into = value; }, what));
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

// The commands of the program and their options, as each file adds its own: the door to CLI11.
//
// The parser's templates take longer to compile than everything else here, so its headers are
// included where they are needed and by nobody else.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}

namespace shmbus::cli {

// Stays the program's; copies mean the same option.
class Option {
public:
    explicit Option(CLI::Option* option) noexcept : option_(option) {}
    Option required() const;
    Option one_of(const std::vector<std::string>& words) const;
    Option excludes(Option other) const;
    Option separated_by_commas() const;
    // A number, and not 0, which is none of `what`: of a script that has counted none.
    Option at_least_one(const std::string& what) const;

private:
    CLI::Option* option_;
};

// Stays the program's; copies mean the same command.
class Command {
public:
    explicit Command(CLI::App& app) noexcept : app_(&app) {}
    // A command below this one.
    Command add(const std::string& name, const std::string& what) const;
    // This one does nothing by itself.
    Command needs_command() const;
    void runs(std::function<void()> what) const;

    // "--long", "-s,--long", or a word for one that is told by its place. What `into` holds is the
    // default; it outlives the program's parsing. Texts are not empty, save optional ones.
    Option option(const std::string& name, std::string& into, const std::string& what) const;
    Option option(const std::string& name, std::vector<std::string>& into,
                  const std::string& what) const;
    Option option(const std::string& name, std::uint64_t& into, const std::string& what) const;
    Option option(const std::string& name, std::uint32_t& into, const std::string& what) const;
    Option option(const std::string& name, double& into, const std::string& what) const;
    Option option(const std::string& name, std::chrono::nanoseconds& into,
                  const std::string& what) const;
    Option option(const std::string& name, std::optional<std::uint64_t>& into,
                  const std::string& what) const;
    Option option(const std::string& name, std::optional<std::string>& into,
                  const std::string& what) const;
    Option flag(const std::string& name, bool& into, const std::string& what) const;
    // For those that mean more than a value.
    Option calls(const std::string& name, std::function<void(const std::string&)> call,
                 const std::string& what) const;
    Option flag_calls(const std::string& name, std::function<void()> call,
                      const std::string& what) const;

    [[nodiscard]] CLI::App& parser() const noexcept { return *app_; }

private:
    CLI::App* app_;
};

}  // namespace shmbus::cli

// A bash script: a table from each command to its words, and a function that looks it up.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/completion.h"

#include <CLI/CLI.hpp>

#include <algorithm>

namespace shmbus::cli {

namespace {

// The names of endpoints and types come from the bus itself, at the time of the key press.
constexpr const char* script = R"bash(
_shmbus() {
    local word="${COMP_WORDS[COMP_CWORD]}" path="shmbus" at one bus=() words names=""
    local before="${COMP_WORDS[COMP_CWORD-1]}"
    for ((at = 1; at < COMP_CWORD; ++at)); do
        one="${COMP_WORDS[at]}"
        case "$one" in
            -b|--bus) ((++at)); bus=(--bus "${COMP_WORDS[at]}") ;;
            --format|--color) ((++at)) ;;
            -*) ;;
            *) if [ -n "${_shmbus_words["$path $one"]+there}" ]; then path="$path $one"; fi ;;
        esac
    done
    if [ -n "${_shmbus_values["$before"]+there}" ]; then
        # The value of an option; of one that is not known, what bash offers by itself: files.
        words="${_shmbus_values["$before"]}"
        case "$before" in
            -b|--bus)
                words="$(shmbus --format table env | sed -n 's/^root_directory *//p')"
                words="$(ls "$words" 2>/dev/null)" ;;
            --to|--endpoint) names="endpoint" ;;
            --type|--reply|--handles|--base) names="type" ;;
        esac
    else
        words="${_shmbus_words["$path"]}"
        case " ${_shmbus_takes["$path"]} " in
            *" endpoint "*|*" from "*) names="endpoint" ;;
            *" type "*|*" event "*) names="type" ;;
            *" code "*) words="$words $(shmbus help | sed -n 's/^  \([a-z_]*\)$/\1/p')" ;;
        esac
    fi
    if [ -n "$names" ] && [[ "$word" != -* ]]; then
        words="$words $(shmbus "${bus[@]}" "$names" ls --format csv 2>/dev/null |
            tail -n +2 | cut -d, -f1)"
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _shmbus shmbus
)bash";

// What one of a fixed set of words has for its type: "TEXT:{table,json,csv}".
[[nodiscard]] std::string members_of(const CLI::Option& option) {
    const std::string type = option.get_type_name();
    const std::size_t begin = type.find('{');
    const std::size_t end = type.find('}', begin);
    if (begin == std::string::npos || end == std::string::npos) return {};
    std::string members = type.substr(begin + 1, end - begin - 1);
    std::replace(members.begin(), members.end(), ',', ' ');
    return members;
}

// Names of options that are words of their own ("--json"), and of places ("endpoint").
struct Words {
    std::string options;
    std::string places;
    std::string members;  // what may stand in a place
};
[[nodiscard]] Words words_of(const CLI::App& app) {
    Words words;
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) words.options += "--" + name + " ";
        if (option->get_positional() && !option->get_name(true).empty())
            words.places += option->get_name(true) + " ";
        if (option->get_positional()) words.members += members_of(*option) + " ";
    }
    return words;
}

// The options that want a value, each with what it may be, as far as that is a fixed set.
void add_values(const CLI::App& app, std::string& values) {
    for (const CLI::Option* option : app.get_options()) {
        if (option->get_items_expected_max() == 0) continue;
        for (const std::string& name : option->get_lnames())
            values += "_shmbus_values[\"--" + name + "\"]=\"" + members_of(*option) + "\"\n";
        for (const std::string& name : option->get_snames())
            values += "_shmbus_values[\"-" + name + "\"]=\"" + members_of(*option) + "\"\n";
    }
}

void add_rows(const CLI::App& app, const std::string& path, const std::string& inherited,
              std::string& words, std::string& takes, std::string& values) {
    const Words own = words_of(app);
    add_values(app, values);
    std::string row;
    const auto commands = app.get_subcommands([](const CLI::App* one) {
        return !one->get_group().empty();
    });
    for (const CLI::App* command : commands) row += command->get_name() + " ";
    row += own.members + own.options + inherited;
    words += "_shmbus_words[\"" + path + "\"]=\"" + row + "\"\n";
    if (!own.places.empty()) takes += "_shmbus_takes[\"" + path + "\"]=\"" + own.places + "\"\n";
    for (const CLI::App* command : commands)
        add_rows(*command, path + " " + command->get_name(), inherited + own.options, words, takes,
                 values);
}

}  // namespace

std::string bash_completion(const CLI::App& app) {
    std::string words;
    std::string takes;
    std::string values;
    add_rows(app, "shmbus", "", words, takes, values);
    return "# bash completion of shmbus, printed by `shmbus completion bash`\n"
           "declare -gA _shmbus_words _shmbus_takes _shmbus_values\n" +
           words + takes + values + script;
}

}  // namespace shmbus::cli

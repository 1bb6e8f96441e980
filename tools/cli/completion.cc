// A bash script: a table from each command to its words, and a function that looks it up.
//
// SPDX-License-Identifier: BSL-1.0
#include "cli/completion.h"

#include <CLI/CLI.hpp>

namespace shmbus::cli {

namespace {

// The names of endpoints and types come from the bus itself, at the time of the key press.
constexpr const char* script = R"bash(
_shmbus() {
    local word="${COMP_WORDS[COMP_CWORD]}" path="shmbus" at one bus=() words names=""
    for ((at = 1; at < COMP_CWORD; ++at)); do
        one="${COMP_WORDS[at]}"
        case "$one" in
            -b|--bus) ((++at)); bus=(--bus "${COMP_WORDS[at]}") ;;
            --format|--color) ((++at)) ;;
            -*) ;;
            *) if [ -n "${_shmbus_words["$path $one"]+there}" ]; then path="$path $one"; fi ;;
        esac
    done
    words="${_shmbus_words["$path"]}"
    case "$word" in
        -*) ;;
        *)
            case " ${_shmbus_takes["$path"]} " in
                *" endpoint "*) names="endpoint" ;;
                *" type "*|*" event "*) names="type" ;;
            esac
            if [ -n "$names" ]; then
                words="$words $(shmbus "${bus[@]}" "$names" ls --format csv 2>/dev/null |
                    tail -n +2 | cut -d, -f1)"
            fi ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _shmbus shmbus
)bash";

// Names of options that are words of their own ("--json"), and of places ("endpoint").
struct Words {
    std::string options;
    std::string places;
};
[[nodiscard]] Words words_of(const CLI::App& app) {
    Words words;
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) words.options += "--" + name + " ";
        if (option->get_positional() && !option->get_name(true).empty())
            words.places += option->get_name(true) + " ";
    }
    return words;
}

void add_rows(const CLI::App& app, const std::string& path, const std::string& inherited,
              std::string& words, std::string& takes) {
    const Words own = words_of(app);
    std::string row;
    const auto commands = app.get_subcommands([](const CLI::App* one) {
        return !one->get_group().empty();
    });
    for (const CLI::App* command : commands) row += command->get_name() + " ";
    words += "_shmbus_words[\"" + path + "\"]=\"" + row + own.options + inherited + "\"\n";
    if (!own.places.empty()) takes += "_shmbus_takes[\"" + path + "\"]=\"" + own.places + "\"\n";
    for (const CLI::App* command : commands)
        add_rows(*command, path + " " + command->get_name(), inherited + own.options, words, takes);
}

}  // namespace

std::string bash_completion(const CLI::App& app) {
    std::string words;
    std::string takes;
    add_rows(app, "shmbus", "", words, takes);
    return "# bash completion of shmbus, printed by `shmbus completion bash`\n"
           "declare -gA _shmbus_words _shmbus_takes\n" +
           words + takes + script;
}

}  // namespace shmbus::cli

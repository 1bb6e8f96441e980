// The house rules that a program can check, each a function from a source file to its violations.
//
// Pure text in, text out: house_test.cc applies them to the tree and to planted violations.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace shmbus::house {

// A file of the tree: its path from the top, with '/', and its lines.
struct Source {
    std::string path;
    std::vector<std::string> lines;
};

using Violations = std::vector<std::string>;

inline Source make_source(std::string path, const std::string& text) {
    Source source{std::move(path), {}};
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) source.lines.push_back(line);
    return source;
}

inline std::string at(const Source& source, std::size_t index, std::string_view what) {
    return source.path + ":" + std::to_string(index + 1) + ": " + std::string(what);
}

inline bool is_code(const Source& source) {
    return source.path.ends_with(".h") || source.path.ends_with(".cc");
}

struct Include {
    std::size_t index;
    bool quoted;
    std::string target;
};

inline std::vector<Include> includes_of(const Source& source) {
    static const std::regex form(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"].*)");
    std::vector<Include> found;
    std::smatch match;
    for (std::size_t i = 0; i < source.lines.size(); ++i)
        if (std::regex_match(source.lines[i], match, form))
            found.push_back({i, match[1] == "\"", match[2]});
    return found;
}

// base -> wire -> lane | directory | journal -> bus | daemon; bus does not see journal.
inline Violations check_room_directions(const Source& source) {
    static const std::map<std::string, std::vector<std::string>> may_see{
        {"base", {"base"}},
        {"wire", {"base", "wire"}},
        {"lane", {"base", "wire", "lane"}},
        {"directory", {"base", "wire", "directory"}},
        {"journal", {"base", "wire", "journal"}},
        {"bus", {"base", "wire", "lane", "directory", "bus"}},
        {"daemon", {"base", "wire", "lane", "directory", "journal", "daemon"}},
    };
    Violations found;
    if (!source.path.starts_with("src/") || !is_code(source)) return found;
    const std::string room = source.path.substr(4, source.path.find('/', 4) - 4);
    const auto allowed = may_see.find(room);
    if (allowed == may_see.end()) return {source.path + ": not in a room"};
    for (const Include& include : includes_of(source)) {
        if (!include.quoted) continue;
        const std::string other = include.target.substr(0, include.target.find('/'));
        if (std::ranges::find(allowed->second, other) == allowed->second.end())
            found.push_back(at(source, include.index, room + " does not see " + include.target));
    }
    return found;
}

// The public door stands on the standard library and itself.
inline Violations check_public_headers(const Source& source) {
    Violations found;
    if (!source.path.starts_with("include/")) return found;
    for (const Include& include : includes_of(source)) {
        const bool own = !include.quoted && include.target.starts_with("shmbus/");
        const bool standard = !include.quoted && include.target.find('/') == std::string::npos &&
                              include.target.find('.') == std::string::npos;
        if (!own && !standard)
            found.push_back(at(source, include.index, "public header sees " + include.target));
    }
    return found;
}

// Each outside package has one door.
inline Violations check_doors(const std::vector<Source>& sources) {
    Violations found;
    std::vector<std::string> queue_doors;
    for (const Source& source : sources)
        for (const Include& include : includes_of(source)) {
            const std::string& target = include.target;
            // What the bus is compared with is measured as what it is.
            const bool boost_door = source.path == "src/base/mapping.cc" ||
                                    source.path == "bench/peers/boost_queue.cc";
            if (target.starts_with("boost/") && !boost_door)
                found.push_back(at(source, include.index, "Boost outside base/mapping.cc"));
            if (target.starts_with("doctest") && !source.path.starts_with("tests/"))
                found.push_back(at(source, include.index, "doctest outside tests"));
            if (target.find("concurrentqueue") != std::string::npos)
                queue_doors.push_back(source.path);
        }
    std::ranges::sort(queue_doors);
    queue_doors.erase(std::unique(queue_doors.begin(), queue_doors.end()), queue_doors.end());
    for (const std::string& door : queue_doors)
        if (queue_doors.size() > 1 || !door.ends_with(".h"))
            found.push_back(door + ": concurrentqueue is included in one header only");
    return found;
}

// Put off is not done; written in two halves so that this file keeps its own rule.
inline Violations check_nothing_put_off(const Source& source) {
    static const std::regex mark("\\b(TO" "DO|FIX" "ME|XX" "X)\\b");
    Violations found;
    for (std::size_t i = 0; i < source.lines.size(); ++i)
        if (std::regex_search(source.lines[i], mark))
            found.push_back(at(source, i, "finish it, or open an issue"));
    return found;
}

// Characters and not bytes: continuation bytes of UTF-8 do not take a column.
inline std::size_t columns(std::string_view line) {
    return static_cast<std::size_t>(std::ranges::count_if(
        line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

inline Violations check_lines(const Source& source) {
    Violations found;
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
        const std::string& line = source.lines[i];
        if (line.find('\t') != std::string::npos) found.push_back(at(source, i, "a raw tab"));
        if (line.ends_with(' ')) found.push_back(at(source, i, "a space at the end"));
        if (is_code(source) && columns(line) > 100)
            found.push_back(at(source, i, "more than 100 columns"));
    }
    return found;
}

inline Violations check_first_line(const Source& source) {
    if (!is_code(source)) return {};
    const bool says = !source.lines.empty() && source.lines[0].starts_with("// ") &&
                      source.lines[0].size() > 20 &&
                      source.lines[0].find("SPDX") == std::string::npos;
    return says ? Violations{} : Violations{source.path + ":1: does not say what the file is for"};
}

inline bool is_shipped_code(const Source& source) {
    return is_code(source) &&
           (source.path.starts_with("src/") || source.path.starts_with("include/") ||
            source.path.starts_with("tools/"));
}

// An order that does something says what: a comment in the line or within four lines above.
inline Violations check_memory_orders(const Source& source) {
    static const std::regex strong(
        R"(memory_order(_|::)(release|acquire|acq_rel|seq_cst|consume))");
    Violations found;
    if (!is_shipped_code(source)) return found;
    for (std::size_t i = 0; i < source.lines.size(); ++i) {
        const std::string& line = source.lines[i];
        const std::size_t comment = line.find("//");
        if (!std::regex_search(line.substr(0, comment), strong)) continue;
        bool said = false;
        for (std::size_t back = 0; back <= 4 && back <= i; ++back)
            said = said || source.lines[i - back].find("//") != std::string::npos;
        if (!said) found.push_back(at(source, i, "a memory order without its edge"));
    }
    return found;
}

// Every operation of a standard atomic names its order. Looks for calls without arguments that
// only an atomic has in this project.
inline Violations check_orders_are_named(const Source& source) {
    static const std::regex bare(
        R"(\.load\(\s*\)|\.(fetch_(add|or|and|sub)|exchange)\(\s*[^,()]*\))");
    Violations found;
    if (!is_shipped_code(source)) return found;
    for (std::size_t i = 0; i < source.lines.size(); ++i)
        if (std::regex_search(source.lines[i].substr(0, source.lines[i].find("//")), bare))
            found.push_back(at(source, i, "an atomic operation that does not name its order"));
    return found;
}

// An edge is named `// NAME:` where it begins, and again in a comment at its other end. Names of
// the system's errors look alike and are none.
inline Violations check_edges_have_two_ends(const std::vector<Source>& sources) {
    static const std::regex begins(R"(//\s*([A-Z][A-Z_]{2,}):)");
    static const std::regex word(R"(\b[A-Z][A-Z_]{2,}\b)");
    static const std::regex system_error("E(NOENT|INVAL|AGAIN|INTR|EXIST|PERM|ACCES|NOSPC|NOSYS)");
    std::map<std::string, std::string> edges;
    std::map<std::string, std::size_t> ends;
    for (const Source& source : sources) {
        if (!is_shipped_code(source)) continue;
        for (std::size_t i = 0; i < source.lines.size(); ++i) {
            const std::size_t at_comment = source.lines[i].find("//");
            if (at_comment == std::string::npos) continue;
            const std::string comment = source.lines[i].substr(at_comment);
            std::smatch match;
            if (std::regex_search(comment, match, begins) &&
                !std::regex_match(match[1].str(), system_error))
                edges.try_emplace(match[1], at(source, i, match[1].str()));
            for (std::sregex_iterator next(comment.begin(), comment.end(), word), none;
                 next != none; ++next)
                ++ends[next->str()];
        }
    }
    Violations found;
    for (const auto& [edge, place] : edges)
        if (ends[edge] < 2) found.push_back(place + ": an edge with one end");
    return found;
}

// Those that tell a package how to be are the package's, not ours.
inline Violations check_no_macros(const Source& source) {
    static const std::regex define(R"(^\s*#\s*define\s+(?!(TOML|SPDLOG|FMT|DOCTEST|_GNU)_))");
    Violations found;
    if (!is_shipped_code(source)) return found;
    for (std::size_t i = 0; i < source.lines.size(); ++i)
        if (std::regex_search(source.lines[i], define))
            found.push_back(at(source, i, "a macro of our own"));
    return found;
}

}  // namespace shmbus::house

// The tree keeps the house rules, and the rules can tell when it does not.
//
// SPDX-License-Identifier: BSL-1.0
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include <doctest/doctest.h>

#include "rules.h"

using namespace shmbus::house;

namespace {

namespace fs = std::filesystem;

[[nodiscard]] fs::path source_root() {
    if (const char* const told = std::getenv("SHMBUS_SOURCE_ROOT")) return told;
    // Run by hand: this file's own place.
    return fs::path(__FILE__).parent_path().parent_path().parent_path();
}

[[nodiscard]] bool is_read(const fs::path& path) {
    static constexpr std::array<std::string_view, 6> kinds{".h", ".cc", ".build",
                                                           ".py", ".sh", ".md"};
    return std::ranges::find(kinds, path.extension().string()) != kinds.end();
}

// Everything under the folders that the rules are about.
[[nodiscard]] const std::vector<Source>& tree() {
    // Read once for all cases; a function-local constant, never changed.
    static const std::vector<Source> sources = [] {
        std::vector<Source> all;
        for (const char* const folder : {"include", "src", "tools", "tests", "bench", "examples"}) {
            if (!fs::exists(source_root() / folder)) continue;
            for (const auto& entry : fs::recursive_directory_iterator(source_root() / folder)) {
                if (!entry.is_regular_file() || !is_read(entry.path())) continue;
                std::ostringstream text;
                text << std::ifstream(entry.path()).rdbuf();
                all.push_back(make_source(
                    entry.path().lexically_relative(source_root()).generic_string(), text.str()));
            }
        }
        return all;
    }();
    return sources;
}

[[nodiscard]] std::string listed(const Violations& violations) {
    std::string text = std::to_string(violations.size()) + " violations";
    for (const std::string& violation : violations) text += "\n    " + violation;
    return text;
}

void check_tree(const std::function<Violations(const Source&)>& rule) {
    REQUIRE(tree().size() > 20);
    Violations all;
    for (const Source& source : tree()) {
        const Violations found = rule(source);
        all.insert(all.end(), found.begin(), found.end());
    }
    CHECK_MESSAGE(all.empty(), listed(all));
}

void check_tree_as_one(const std::function<Violations(const std::vector<Source>&)>& rule) {
    REQUIRE(tree().size() > 20);
    const Violations found = rule(tree());
    CHECK_MESSAGE(found.empty(), listed(found));
}

[[nodiscard]] std::size_t planted(Violations (*rule)(const Source&), const char* path,
                                  const char* text) {
    return rule(make_source(path, text)).size();
}

}  // namespace

TEST_SUITE("house") {

TEST_CASE("rooms include only rooms to their left") {
    check_tree(check_room_directions);
    const auto* const lane = "src/lane/x.h";
    CHECK(planted(check_room_directions, lane, "#include \"base/a.h\"\n") == 0);
    CHECK(planted(check_room_directions, lane, "#include \"directory/a.h\"\n") == 1);
    CHECK(planted(check_room_directions, lane, "#  include \"bus/a.h\"\n") == 1);
    CHECK(planted(check_room_directions, "src/bus/x.cc", "#include \"daemon/a.h\"\n") == 1);
    CHECK(planted(check_room_directions, "src/base/x.cc", "#include \"wire/a.h\"\n") == 1);
    CHECK(planted(check_room_directions, "src/bus/x.cc", "#include \"neighbour.h\"\n") == 1);
    CHECK(planted(check_room_directions, "src/attic/x.cc", "") == 1);
}

TEST_CASE("public headers stand on the standard library and one another") {
    check_tree(check_public_headers);
    const auto* const door = "include/shmbus/x.h";
    CHECK(planted(check_public_headers, door, "#include <span>\n#include <shmbus/y.h>\n") == 0);
    CHECK(planted(check_public_headers, door, "#include \"base/file.h\"\n") == 1);
    CHECK(planted(check_public_headers, door, "#include <sys/types.h>\n") == 1);
    CHECK(planted(check_public_headers, door, "#include <boost/any.hpp>\n") == 1);
}

TEST_CASE("each outside package has one door") {
    check_tree_as_one(check_doors);
    const auto doors = [](const char* path, const char* text) {
        return check_doors({make_source(path, text)}).size();
    };
    CHECK(doors("src/base/mapping.cc", "#include <boost/a.hpp>\n") == 0);
    CHECK(doors("src/base/file.cc", "#include <boost/a.hpp>\n") == 1);
    CHECK(doors("src/bus/a.cc", "#include <doctest/doctest.h>\n") == 1);
    CHECK(doors("src/bus/a.h", "#include <concurrentqueue/concurrentqueue.h>\n") == 0);
    CHECK(doors("src/bus/a.cc", "#include <concurrentqueue/concurrentqueue.h>\n") == 1);
    CHECK(check_doors({make_source("src/bus/a.h", "#include <concurrentqueue/a.h>\n"),
                       make_source("src/bus/b.h", "#include <concurrentqueue/a.h>\n")})
              .size() == 2);
}

TEST_CASE("nothing is put off") {
    check_tree(check_nothing_put_off);
    CHECK(planted(check_nothing_put_off, "src/a/x.cc", "// TO" "DO: later\n") == 1);
    CHECK(planted(check_nothing_put_off, "tools/x.py", "# FIX" "ME\n") == 1);
}

TEST_CASE("lines have no tabs, no trailing spaces and at most 100 columns") {
    check_tree(check_lines);
    CHECK(planted(check_lines, "src/a/x.cc", "\tint a;\n") == 1);
    CHECK(planted(check_lines, "src/a/x.cc", "int a; \n") == 1);
    CHECK(planted(check_lines, "src/a/x.cc", std::string(101, 'x').c_str()) == 1);
    CHECK(planted(check_lines, "src/a/x.cc", std::string(100, 'x').c_str()) == 0);
}

TEST_CASE("the first line says what the file is for") {
    check_tree(check_first_line);
    CHECK(planted(check_first_line, "src/a/x.cc", "#include <a>\n") == 1);
    CHECK(planted(check_first_line, "src/a/x.cc", "// SPDX-License-Identifier: BSL-1.0\n") == 1);
    CHECK(planted(check_first_line, "src/a/x.cc", "") == 1);
}

TEST_CASE("a memory order that does something stands under a comment") {
    check_tree(check_memory_orders);
    const auto* const path = "src/lane/x.cc";
    const char* const bare = "a.store(1, std::memory_order_release);\n";
    CHECK(planted(check_memory_orders, path, bare) == 1);
    CHECK(planted(check_memory_orders, path, "a.load(std::memory_order::acquire);\n") == 1);
    CHECK(planted(check_memory_orders, path,
                  "// PUBLISHED: ours\na.store(1, std::memory_order_release);\n") == 0);
    CHECK(planted(check_memory_orders, path,
                  "// far\n\n\n\n\na.store(1, std::memory_order_release);\n") == 1);
    CHECK(planted(check_memory_orders, path, "a.load(std::memory_order_relaxed);\n") == 0);
}

TEST_CASE("atomic operations name their order") {
    check_tree(check_orders_are_named);
    const auto* const path = "src/lane/x.cc";
    CHECK(planted(check_orders_are_named, path, "use(word.load());\n") == 1);
    CHECK(planted(check_orders_are_named, path, "word.fetch_add(1);\n") == 1);
    CHECK(planted(check_orders_are_named, path, "word.fetch_add(1, order);\n") == 0);
}

TEST_CASE("every edge has two ends") {
    check_tree_as_one(check_edges_have_two_ends);
    const Source one = make_source("src/lane/x.cc", "// PUBLISHED: here\n");
    const Source other = make_source("src/lane/y.cc", "// PUBLISHED: there\n");
    CHECK(check_edges_have_two_ends({one}).size() == 1);
    CHECK(check_edges_have_two_ends({one, other}).empty());
    const Source aside = make_source("src/lane/y.cc", "int a;  // Other end of PUBLISHED.\n");
    CHECK(check_edges_have_two_ends({one, aside}).empty());
    const Source system = make_source("src/lane/y.cc", "// ENOENT: buried.\n");
    CHECK(check_edges_have_two_ends({system}).empty());
}

TEST_CASE("there are no macros of our own") {
    check_tree(check_no_macros);
    CHECK(planted(check_no_macros, "src/a/x.h", "# define A 1\n") == 1);
    CHECK(planted(check_no_macros, "src/a/x.h", "#define TOML_EXCEPTIONS 0\n") == 0);
}

}

// shmbus doctor: what is wrong, for people.
//
// SPDX-License-Identifier: BSL-1.0
#include <memory>
#include <optional>

#include <fmt/core.h>

#include "cli/findings.h"
#include "cli/listing.h"
#include "cli/nouns.h"
#include "cli/trouble.h"

namespace shmbus::cli {

namespace {

using Grade = Finding::Grade;

[[nodiscard]] const char* name_of_grade(Grade grade) noexcept {
    switch (grade) {
        case Grade::good: return "OK";
        case Grade::warning: return "WARN";
        case Grade::failure: return "FAIL";
    }
    return "?";
}

[[nodiscard]] Findings examine(const Common& common, std::optional<OpenBus>& bus) {
    Findings findings;
    const auto location = detail::locate_bus(common.bus);
    look_at_machine(location.directory, findings);
    try {
        bus.emplace(common);
        findings.push_back({Grade::good, "bus", "its directory is " + location.directory, "", {}});
        look_at_bus(common, *bus, findings);
        look_at_journal(*bus, findings);
    } catch (const Trouble& trouble) {
        findings.push_back({Grade::failure, "bus", trouble.what(), "shmbus env; shmbus run", {}});
    } catch (const SetupError& error) {
        const Trouble trouble = trouble_of(error);
        findings.push_back({Grade::failure, "bus", trouble.what(), error.helps(), {}});
    }
    return findings;
}

void print_findings(const Common& common, const Findings& findings) {
    Listing listing("shmbus.doctor/1", {"grade", "what", "says", "helps"});
    for (const Finding& one : findings) {
        const Paint paint = one.grade == Grade::good      ? Paint::plain
                            : one.grade == Grade::warning ? Paint::warning
                                                          : Paint::bad;
        if (common.format != Format::table) {
            listing.add({name_of_grade(one.grade), one.what, one.says, one.helps});
            continue;
        }
        print_line(common.painted(fmt::format("{:<5} {:<11} {}", name_of_grade(one.grade), one.what,
                                              one.says), paint));
        if (!one.helps.empty()) print_line(fmt::format("{:<18}try: {}", "", one.helps));
    }
    if (common.format != Format::table) listing.print(common);
}

void mend(const Findings& findings) {
    bool is_any = false;
    for (const Finding& one : findings) {
        if (!one.mend) continue;
        is_any = true;
        print_line("fixed: " + one.what + ": " + one.mend());
    }
    if (!is_any) print_line("nothing that can be fixed while others work");
}

void doctor(const Common& common, bool fixes) {
    std::optional<OpenBus> bus;
    const Findings findings = examine(common, bus);
    print_findings(common, findings);
    if (fixes) mend(findings);
    flush_output();
    for (const Finding& one : findings)
        if (one.grade == Grade::failure && !one.mend)
            throw Ended{static_cast<int>(Exit::unavailable)};
}

}  // namespace

void add_doctor_command(const Command& app, const Common& common) {
    auto fixes = std::make_shared<bool>(false);
    const Command command = app.add("doctor", "Find what is wrong, and say what helps");
    command.flag("--fix", *fixes, "Mend what is safe while others work");
    command.runs([&common, fixes] { doctor(common, *fixes); });
}

}  // namespace shmbus::cli

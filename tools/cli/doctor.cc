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

// `mended`: what was done about each, as far as something was.
void print_findings(const Common& common, const Findings& findings,
                    const std::vector<std::string>& mended) {
    Listing listing("shmbus.doctor/1", {"grade", "what", "says", "helps", "fixed"});
    for (std::size_t at = 0; at < findings.size(); ++at) {
        const Finding& one = findings[at];
        const Paint paint = one.grade == Grade::good      ? Paint::plain
                            : one.grade == Grade::warning ? Paint::warning
                                                          : Paint::bad;
        if (common.format != Format::table) {
            listing.add({name_of_grade(one.grade), one.what, one.says, one.helps,
                         mended[at].empty() ? Json() : Json(mended[at])});
            continue;
        }
        print_line(common.painted(fmt::format("{:<5} {:<11} {}", name_of_grade(one.grade), one.what,
                                              one.says), paint));
        if (!one.helps.empty()) print_line(fmt::format("{:<18}try: {}", "", one.helps));
    }
    if (common.format != Format::table) listing.print(common);
}

[[nodiscard]] std::vector<std::string> mend(const Findings& findings) {
    std::vector<std::string> mended;
    for (const Finding& one : findings) mended.push_back(one.mend ? one.mend() : "");
    return mended;
}

void tell_of_mending(const Findings& findings, const std::vector<std::string>& mended) {
    bool is_any = false;
    for (std::size_t at = 0; at < findings.size(); ++at) {
        if (mended[at].empty()) continue;
        is_any = true;
        print_line("fixed: " + findings[at].what + ": " + mended[at]);
    }
    if (!is_any) print_line("nothing that can be fixed while others work");
}

void doctor(const Common& common, bool fixes) {
    std::optional<OpenBus> bus;
    const Findings findings = examine(common, bus);
    const bool is_table = common.format == Format::table;
    std::vector<std::string> mended(findings.size());
    // Before the mending, which may fail.
    if (is_table) print_findings(common, findings, mended);
    if (fixes) mended = mend(findings);
    if (!is_table) print_findings(common, findings, mended);
    else if (fixes) tell_of_mending(findings, mended);
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

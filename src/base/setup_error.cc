// How a failed set-up is told: one text of up to four lines.
//
// Here and not further right, because opening and mapping files is where most set-ups fail.
//
// SPDX-License-Identifier: BSL-1.0
#include <system_error>
#include <utility>

#include <shmbus/result.h>

namespace shmbus {

namespace {

[[nodiscard]] std::string tell(const std::string& tried, const std::string& on_what,
                               int system_error, const std::string& helps) {
    std::string text = "shmbus: failed when " + tried + "\n  on: " + on_what;
    if (system_error != 0)
        text += "\n  the system says: " + std::generic_category().message(system_error) +
                " (errno " + std::to_string(system_error) + ")";
    if (!helps.empty()) text += "\n  what helps: " + helps;
    return text;
}

}  // namespace

SetupError::SetupError(std::string tried, std::string on_what, int system_error, std::string helps)
    : std::runtime_error(tell(tried, on_what, system_error, helps)),
      tried_(std::move(tried)),
      on_what_(std::move(on_what)),
      helps_(std::move(helps)),
      system_error_(system_error) {}

}  // namespace shmbus

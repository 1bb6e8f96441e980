// The pages of participants. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/participant_pages.h"

#include <cerrno>

#include "daemon/home.h"
#include "wire/names.h"

namespace shmbus::daemon {

ParticipantPages::ParticipantPages(const Home& home) : home_(home) { make_ahead(); }

base::File ParticipantPages::make_new(const std::string& name) const {
    const int folder = home_.participants().fd();
    base::unlink_at(folder, name);
    base::File page = base::File::create_at(folder, name, home_.shown_mode(), home_.group());
    page.allocate(wire::participant_page_bytes);
    return page;
}

base::File ParticipantPages::make(const std::string& name) {
    const int folder = home_.participants().fd();
    try {
        base::File page = make_new(name);
        if (!has_one_ahead_) make_ahead();
        return page;
    } catch (const SetupError& error) {
        base::unlink_at(folder, name);
        if (error.system_error() != ENOSPC || !has_one_ahead_) throw;
    }
    has_one_ahead_ = false;
    base::File page = base::File::open_at(folder, wire::page_ahead_file, base::Access::read_write);
    base::rename_at(folder, wire::page_ahead_file, name);
    return page;
}

void ParticipantPages::remove(const std::string& name) {
    base::unlink_at(home_.participants().fd(), name);
    if (!has_one_ahead_) make_ahead();
}

// Without one all goes on as long as there is memory.
void ParticipantPages::make_ahead() noexcept {
    try {
        static_cast<void>(make_new(wire::page_ahead_file));
        has_one_ahead_ = true;
    } catch (const std::exception&) {
        has_one_ahead_ = false;
    }
}

}  // namespace shmbus::daemon

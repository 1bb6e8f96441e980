// The pages of participants. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "daemon/participant_pages.h"

#include <cerrno>

#include "daemon/home.h"
#include "wire/names.h"

namespace shmbus::daemon {

ParticipantPages::ParticipantPages(const Home& home) : home_(home) { make_ahead(); }

base::File ParticipantPages::make_new(const base::File& folder, const std::string& name) const {
    base::unlink_at(folder.fd(), name);
    base::File page =
        base::File::create_at(folder.fd(), name, home_.shown_mode(), home_.group());
    page.allocate(wire::participant_page_bytes);
    return page;
}

base::File ParticipantPages::make(const std::string& name) {
    const base::File& folder = home_.participants();
    try {
        base::File page = make_new(folder, name);
        if (!has_one_ahead_) make_ahead();
        return page;
    } catch (const SetupError& error) {
        base::unlink_at(folder.fd(), name);
        if (error.system_error() != ENOSPC || !has_one_ahead_) throw;
    }
    has_one_ahead_ = false;
    const int ahead = home_.directory().fd();
    base::File page = base::File::open_at(ahead, wire::page_ahead_file, base::Access::read_write);
    base::rename_at(ahead, wire::page_ahead_file, folder.fd(), name);
    return page;
}

void ParticipantPages::remove(const std::string& name) {
    base::unlink_at(home_.participants().fd(), name);
    if (!has_one_ahead_) make_ahead();
}

// Without one all goes on as long as there is memory.
void ParticipantPages::make_ahead() noexcept {
    try {
        static_cast<void>(make_new(home_.directory(), wire::page_ahead_file));
        has_one_ahead_ = true;
    } catch (const std::exception&) {
        has_one_ahead_ = false;
    }
}

}  // namespace shmbus::daemon

// Texts and exit statuses of what went wrong. See the header.
//
// SPDX-License-Identifier: BSL-1.0
#include "exit_trouble.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace shmbus::tools {

std::string Trouble::text(const std::string& program) const {
    std::string text = program + ": " + what();
    // Of what others wrote as lines of their own.
    while (text.ends_with('\n')) text.pop_back();
    if (!code_.empty()) text += "  [" + code_ + "]";
    text += '\n';
    if (!likely_.empty()) text += "  likely: " + in_one_line(likely_) + "\n";
    if (!helps_.empty()) text += "  try:    " + in_one_line(helps_) + "\n";
    if (!code_.empty()) text += "  more:   shmbus help " + code_ + "\n";
    return text;
}

std::string Trouble::sentence() const {
    std::string text = what();
    for (const std::string& more : {likely_, helps_})
        if (!more.empty()) text += "; " + more;
    return text;
}

std::string in_one_line(const std::string& text) {
    std::string line;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        at = std::min(text.find_first_not_of(' ', at), end);
        if (at < end) line += (line.empty() ? "" : "; ") + text.substr(at, end - at);
        at = end + 1;
    }
    return line;
}

std::string system_words(int error) { return std::generic_category().message(error); }

Exit exit_of_errno(int error) noexcept {
    switch (error) {
        case EACCES:
        case EPERM: return Exit::permission;
        case EINVAL: return Exit::usage;
        case EPROTO: return Exit::damaged;  // of our own files, as whoever reads them says
        case ENOENT:
        case ECONNREFUSED: return Exit::unavailable;
        case EEXIST:
        case ENOSPC:
        case EDQUOT:
        case EROFS: return Exit::cannot_create;
        case EWOULDBLOCK:
        case EBUSY: return Exit::try_later;
        case EIO: return Exit::io;
        case 0: return Exit::unavailable;
        default: return Exit::system;
    }
}

Trouble trouble_of(const SetupError& error) {
    return trouble_of(error, exit_of_errno(error.system_error()));
}

Trouble trouble_of(const SetupError& error, Exit status) {
    std::string what = error.tried() + ": " + error.on_what();
    if (error.system_error() != 0) what += ": " + system_words(error.system_error());
    return {status, what, "", error.helps()};
}

Exit exit_of_making(const SetupError& error) noexcept {
    // Without a system's answer: what is there belongs to somebody else, or is open to others.
    if (error.system_error() == 0) return Exit::permission;
    const Exit usual = exit_of_errno(error.system_error());
    return usual == Exit::unavailable || usual == Exit::system ? Exit::cannot_create : usual;
}

}  // namespace shmbus::tools

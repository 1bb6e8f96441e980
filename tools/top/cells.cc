// How wide characters are.
//
// SPDX-License-Identifier: BSL-1.0
#include "top/cells.h"

#include <wchar.h>

#include <cwchar>

namespace shmbus::top {

Character character_at(std::string_view text, std::size_t at) noexcept {
    Character found{1, 1};
    if (static_cast<unsigned char>(text[at]) < 0x80U) return found;
    while (at + found.bytes < text.size() &&
           (static_cast<unsigned char>(text[at + found.bytes]) & 0xC0U) == 0x80U)
        ++found.bytes;
    wchar_t character = 0;
    std::mbstate_t state{};
    // Of a locale that does not know it nobody shows it, save tests: bars, one column each.
    if (std::mbrtowc(&character, text.data() + at, found.bytes, &state) == found.bytes &&
        ::wcwidth(character) > 1)
        found.columns = static_cast<std::size_t>(::wcwidth(character));
    return found;
}

}  // namespace shmbus::top

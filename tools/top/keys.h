// What the keys do: from a model and a key to a changed model.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>

#include "top/model.h"

namespace shmbus::top {

// Printable keys are their own character; the others begin behind those.
enum class Key : std::uint16_t {
    enter = '\n',
    tab = '\t',
    clear = 21,  // Ctrl-U
    escape = 27,
    backspace = 127,
    up = 256,
    down,
    left,
    right,
    page_up,
    page_down,
    home,
    end,
    f1,
    f3,
    f4,
    f10,
};
[[nodiscard]] constexpr Key key_of(char c) noexcept {
    return static_cast<Key>(static_cast<unsigned char>(c));
}

// What the program has to do about it.
// see_more: look for what the screen shows and the last look did not have.
enum class Wish : std::uint8_t { nothing, quit, look, see_more, save };

// `size`: of the terminal, by which pages and columns move.
[[nodiscard]] Wish press(Model& model, Key key, Size size);

}  // namespace shmbus::top

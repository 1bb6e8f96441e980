// What keys move: from screen to screen, the choice in one, the columns and the order of a table.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>

#include "top/model.h"

namespace shmbus::top {

// Goes to a screen so that Esc comes back.
void enter(Model& model, Screen screen);
void go_back(Model& model);
// One of the screens beside each other.
void go_to(Model& model, Screen screen);
// Into what is chosen.
void drill(Model& model);

// Moves the choice by `by` rows among those of the screen; where that is a thing and not a number,
// it stays with the thing when the order changes.
void move(Model& model, std::ptrdiff_t by);
// Marks the chosen endpoint or takes its mark away, and goes on to the one that was below it: so
// that several are marked in a row, though each goes to the top.
void mark(Model& model);
void find_next(Model& model);

// The columns of the main table by one to the left or right; elsewhere in and out.
void go_aside(Model& model, bool right, Size size);
// Sorts the main table by a column further on.
void sort_by_neighbour(Model& model, int step);

}  // namespace shmbus::top

// What seams.cpp and compose.cpp share: places of a picture, and which of them may be copied from.
#pragma once
#include <stdint.h>

namespace psal {
namespace PSAL_ISA {

constexpr int kMoves[4][2] = {{-1, 0}, {1, 0}, {0, -1}, {0, 1}};

struct Place {
  int row, column;
  bool operator==(const Place& other) const { return row == other.row && column == other.column; }
  Place operator+(const int (&move)[2]) const { return {row + move[0], column + move[1]}; }
  Place operator-(const int (&move)[2]) const { return {row - move[0], column - move[1]}; }
};

// Args: psal_seam_args or psal_compose_args.
template <class Args>
bool usable(const Args& a, Place at) {
  return at.row >= 0 && at.row < a.source_height && at.column >= 0 && at.column < a.source_width &&
         !a.barred[(int64_t)at.row * a.source_width + at.column];
}

}  // namespace PSAL_ISA
}  // namespace psal

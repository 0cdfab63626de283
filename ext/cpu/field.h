// The field that a schedule improves.
#pragma once
#include "kernels.h"

namespace psal {
namespace PSAL_ISA {

// The field of one image: k matches a query, and the iteration in which each entered its list.
struct Field {
  uint32_t* position;
  float* similarity;
  Born* born;
  int width, k;
  int64_t at(int row, int column) const { return ((int64_t)row * width + column) * k; }
  Neighbours list(int row, int column) const {
    const int64_t i = at(row, column);
    return {position + i, similarity + i, born + i, k};
  }
};

}  // namespace PSAL_ISA
}  // namespace psal

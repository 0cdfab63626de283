// What the per-instruction-set translation units offer to dispatch.cpp.
#pragma once
#include "../patchmatch.h"
#include "../psal.h"
#include "../windows.h"
#include "simd.h"
#include "threads.h"

namespace psal {
namespace PSAL_ISA {

void search(const psal_search_args& args);
template <class T>
void exact(const Problem<T>& problem, uint32_t* field, float* similarity, int threads);

void gather(const psal_window_args& args);
void spread(const psal_window_args& args);
void scatter(const psal_window_args& args);
void log_total(const psal_window_args& args);
void compose(const psal_compose_args& args);
void place_seams(const psal_seam_args& args);

}  // namespace PSAL_ISA
}  // namespace psal

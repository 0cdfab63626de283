// The C interface on the CPU: the kernels are compiled once per instruction set and chosen once per process.
// (One choice per call, not per function: target_clones would keep the patch distance from being inlined.)
#include <exception>
#include <string>

#include "../psal.h"

namespace psal {

#define DECLARE(ISA)                             \
  namespace ISA {                                \
  void search(const psal_search_args&);          \
  void gather(const psal_window_args&);          \
  void spread(const psal_window_args&);          \
  void scatter(const psal_window_args&);         \
  void log_total(const psal_window_args&);       \
  void compose(const psal_compose_args&);        \
  }
DECLARE(baseline)
DECLARE(x86_64_v3)
DECLARE(x86_64_v4)

namespace {

struct Kernels {
  const char* name;
  void (*search)(const psal_search_args&);
  void (*gather)(const psal_window_args&);
  void (*spread)(const psal_window_args&);
  void (*scatter)(const psal_window_args&);
  void (*log_total)(const psal_window_args&);
  void (*compose)(const psal_compose_args&);
};

#define KERNELS(NAME, ISA) {NAME, ISA::search, ISA::gather, ISA::spread, ISA::scatter, ISA::log_total, ISA::compose}

Kernels choose() {
#ifdef PSAL_x86_64_v4
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd"))
    return KERNELS("x86-64-v4", x86_64_v4);
#endif
#ifdef PSAL_x86_64_v3
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return KERNELS("x86-64-v3", x86_64_v3);
#endif
  return KERNELS("baseline", baseline);
}

const Kernels& kernels() {
  static const Kernels chosen = choose();
  return chosen;
}

template <class Args>
const char* run(void (*kernel)(const Args&), const Args* args) {
  thread_local std::string message;
  try {
    kernel(*args);
    return nullptr;
  } catch (const std::exception& error) {  // std::bad_alloc: nothing may unwind through a C interface
    message = error.what();
    return message.c_str();
  }
}

}  // namespace
}  // namespace psal

using namespace psal;

const char* psal_search_cpu(const psal_search_args* args) { return run(kernels().search, args); }
const char* psal_gather_cpu(const psal_window_args* args) { return run(kernels().gather, args); }
const char* psal_spread_cpu(const psal_window_args* args) { return run(kernels().spread, args); }
const char* psal_scatter_cpu(const psal_window_args* args) { return run(kernels().scatter, args); }
const char* psal_log_total_cpu(const psal_window_args* args) { return run(kernels().log_total, args); }
const char* psal_compose_cpu(const psal_compose_args* args) { return run(kernels().compose, args); }
const char* psal_cpu_isa(void) { return kernels().name; }
const char* psal_source_digest(void) { return PSAL_SOURCE_DIGEST; }

#ifndef PSAL_CUDA
static const char* no_cuda = "psal was built without CUDA";
const char* psal_search_cuda(const psal_search_args*) { return no_cuda; }
const char* psal_gather_cuda(const psal_window_args*) { return no_cuda; }
const char* psal_spread_cuda(const psal_window_args*) { return no_cuda; }
const char* psal_scatter_cuda(const psal_window_args*) { return no_cuda; }
const char* psal_log_total_cuda(const psal_window_args*) { return no_cuda; }
const char* psal_cuda_architectures(void) { return ""; }
int64_t psal_search_scratch(const psal_search_args*) { return 0; }
#endif

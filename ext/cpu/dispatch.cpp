// The C interface on the CPU: the kernels are compiled once per instruction set, and the widest that the processor has is chosen.
// (One choice per call, not per function: target_clones would keep the patch distance from being inlined.)
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>
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
  void place_seams(const psal_seam_args&);       \
  }
DECLARE(baseline)
DECLARE(x86_64_v3)
DECLARE(x86_64_v4)

namespace {

struct Kernels {
  const char* name;
  const char* lacking;  // what is said where the processor does not have it
  void (*search)(const psal_search_args&);
  void (*gather)(const psal_window_args&);
  void (*spread)(const psal_window_args&);
  void (*scatter)(const psal_window_args&);
  void (*log_total)(const psal_window_args&);
  void (*compose)(const psal_compose_args&);
  void (*place_seams)(const psal_seam_args&);
};

#define KERNELS(NAME, LACKING, ISA) \
  {NAME, LACKING, ISA::search, ISA::gather, ISA::spread, ISA::scatter, ISA::log_total, ISA::compose, ISA::place_seams}

#if defined(__x86_64__)
// Asked of the processor itself: __builtin_cpu_supports finds nothing in a library that zig's clang has linked.
bool has(bool avx512) {
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return false;
  const unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
  if ((ecx & (fma | osxsave | avx | f16c)) != (fma | osxsave | avx | f16c)) return false;
  unsigned saved, high;  // which registers the operating system saves: without that they may not be used
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  const unsigned ymm = 0x06, zmm = 0xe6;
  if ((saved & (avx512 ? zmm : ymm)) != (avx512 ? zmm : ymm)) return false;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  const unsigned v3 = 1u << 3 | 1u << 5 | 1u << 8;                                  // BMI1, AVX2, BMI2
  const unsigned v4 = v3 | 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;    // AVX-512 F, DQ, CD, BW, VL
  if ((ebx & (avx512 ? v4 : v3)) != (avx512 ? v4 : v3)) return false;
  return __get_cpuid(0x80000001u, &eax, &ebx, &ecx, &edx) && ecx & 1u << 5;         // LZCNT
}
#endif

// What was built, widest first, and whether the processor has it.
const struct Choice {
  Kernels kernels;
  bool (*runs)();
} choices[] = {
#ifdef PSAL_x86_64_v4
    {KERNELS("x86-64-v4", "this processor has no AVX-512 (F, BW, CD, DQ and VL)", x86_64_v4), [] { return has(true); }},
#endif
#ifdef PSAL_x86_64_v3
    {KERNELS("x86-64-v3", "this processor has no AVX2 and FMA", x86_64_v3), [] { return has(false); }},
#endif
    {KERNELS("baseline", "", baseline), [] { return true; }},
};

const Kernels* widest() {
  const Choice* choice = choices;
  while (!choice->runs()) ++choice;
  return &choice->kernels;
}

std::atomic<const Kernels*> chosen{widest()};
const Kernels& kernels() { return *chosen.load(std::memory_order_relaxed); }

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
const char* psal_place_seams_cpu(const psal_seam_args* args) { return run(kernels().place_seams, args); }
const char* psal_cpu_isa(void) { return kernels().name; }
const char* psal_use_cpu_isa(const char* name) {
  for (const Choice& choice : choices) {
    if (strcmp(choice.kernels.name, name)) continue;
    if (!choice.runs()) return choice.kernels.lacking;
    chosen = &choice.kernels;
    return nullptr;
  }
  return "psal was not built for the instruction set";
}

// Twenty searches through the C interface, without Python: the same fields are expected of every instruction set with fused
// multiply-add and of every compiler (tests/test_native_sameness.py), and no race under ThreadSanitizer (.ci/sanitize).
//
//   fields [ISA]     a digest of nnf and similarity for each problem; of the windows' sums too
//   fields --race    all problems at once from eight threads, with one to eight threads each, compared with those alone
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <thread>
#include <vector>

#include "../../ext/psal.h"

namespace {

constexpr int kProblems = 20;

struct Random {  // xorshift64*, so that every platform draws the same numbers
  uint64_t state;
  uint32_t bits() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(state * 0x2545f4914f6cdd1dull >> 32);
  }
  int below(int end) { return (int)(bits() % (uint32_t)end); }
  float value() { return (float)(int32_t)bits() * 0x1p-30f; }
};

void check(const char* message) {
  if (!message) return;
  fprintf(stderr, "%s\n", message);
  exit(1);
}

uint64_t digest(uint64_t hash, const void* data, size_t bytes) {  // FNV-1a
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ ((const uint8_t*)data)[i]) * 0x100000001b3ull;
  return hash;
}
template <class T>
uint64_t digest(uint64_t hash, const std::vector<T>& data) {
  return digest(hash, data.data(), data.size() * sizeof(T));
}

// float32 features of odd sizes and channel counts, with and without masks and scales, by all schedules; small where every key is
// compared, which takes an emulator long. `few`: of few channels. ThreadSanitizer watches each load, and a race needs rows and
// bands, not long sums.
uint64_t solve(int number, int threads, bool few) {
  Random random = {0x9e3779b97f4a7c15ull * (uint64_t)(number + 1)};
  psal_search_args a = {};
  a.place.threads = threads;
  a.dtype = PSAL_FLOAT32;
  a.similarity = number % 3 == 2 ? PSAL_DOT : PSAL_L2;
  a.schedule = number % 4 == 3 ? PSAL_EXACT : number % 4 == 2 ? PSAL_JUMP_FLOOD : PSAL_SCAN;
  a.batch = 1 + number % 2;
  a.channels = number == 0 ? 16 : 1 + random.below(40);
  a.query_height = 20 + random.below(30), a.query_width = 20 + random.below(20);
  a.key_height = 20 + random.below(30), a.key_width = 20 + random.below(30);
  if (few) a.channels = 1 + a.channels / 8;
  if (a.schedule == PSAL_EXACT) a.query_height /= 2, a.query_width /= 2, a.key_width /= 2;
  a.patch_size = 1 + 2 * random.below(5);
  a.k = 1 + random.below(5);
  a.iterations = 3;
  a.seed = random.bits();
  const int64_t queries = (int64_t)a.batch * a.query_height * a.query_width, keys = (int64_t)a.batch * a.key_height * a.key_width;
  std::vector<float> query(queries * a.channels), key(keys * a.channels), scale(keys), best(queries * a.k);
  std::vector<uint8_t> mask(queries);
  std::vector<uint32_t> field(queries * a.k);
  for (float& v : query) v = random.value();
  for (float& v : key) v = random.value();
  for (float& v : scale) v = 1 + fabsf(random.value());
  for (uint8_t& v : mask) v = random.below(8) > 0;
  a.query = query.data(), a.key = key.data(), a.field = field.data(), a.best = best.data();
  if (a.similarity == PSAL_DOT && number % 2) a.key_scale = scale.data();
  if (number % 5 == 4) a.query_mask = mask.data();
  check(psal_search_cpu(&a));
  uint64_t hash = digest(digest(0xcbf29ce484222325ull, field), best);

  psal_window_args w = {};
  w.place = a.place, w.dtype = a.dtype, w.similarity = a.similarity;
  w.batch = a.batch, w.channels = a.channels, w.patch_size = a.patch_size, w.k = a.k;
  w.query_height = a.query_height, w.query_width = a.query_width, w.key_height = a.key_height, w.key_width = a.key_width;
  std::vector<int32_t> nnf(queries * a.k * 2);  // [B, k, 2, H, W]
  const int64_t pixels = (int64_t)a.query_height * a.query_width;
  for (int64_t i = 0; i < queries * a.k; ++i) {
    const int64_t at = ((i / pixels / a.k * a.k + i % a.k) * 2) * pixels + i / a.k % pixels;
    nnf[at] = random.below(a.key_height), nnf[at + pixels] = random.below(a.key_width);
  }
  w.query = a.query, w.key = a.key, w.nnf = nnf.data();
  std::vector<float> gathered(queries * a.k), spread(queries * a.channels);
  w.out = gathered.data();
  check(psal_gather_cpu(&w));
  w.weight = gathered.data(), w.out = spread.data();
  check(psal_spread_cpu(&w));
  return digest(digest(hash, gathered), spread);
}

void race() {
  std::vector<uint64_t> alone;
  for (int i = 0; i < kProblems; ++i) alone.push_back(solve(i, 1, true));
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 8; ++caller)
    callers.emplace_back([&, caller] {
      for (int i = 0; i < kProblems; ++i) {
        const int number = (i + caller * 5) % kProblems, threads = 1 + (i + caller) % 8;
        if (solve(number, threads, true) == alone[number]) continue;
        fprintf(stderr, "problem %d has another field with %d threads beside other calls\n", number, threads);
        exit(1);
      }
    });
  for (auto& caller : callers) caller.join();
  puts("fields: the same with any number of threads");
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && !strcmp(arguments[1], "--race")) {
    race();
    return 0;
  }
  if (count > 1) check(psal_use_cpu_isa(arguments[1]));
  for (int i = 0; i < kProblems; ++i) printf("%016llx\n", (unsigned long long)solve(i, 2, false));
}

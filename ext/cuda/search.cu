// The search on CUDA. In each kernel a group of 8 or 16 lanes serves one query: a row of a patch is one run of numbers in
// memory (channels last), which the group reads side by side in 16-byte loads and sums with shuffles. A thread per query
// would read rows apart from its neighbours' and hold its whole list; a warp per query would leave lanes idle on short rows
// and repeat the bookkeeping 32 times. A block is a tile of queries; images are blockIdx.y.
//   initialise_kernel   one group per query: the first list, from the given field or at random
//   jump_flood_kernel   one group per query: one iteration, from the field of the previous one to the other
//   exact_kernel        one group per query: all keys of some rows
#include "lanes.cuh"

namespace psal {
namespace {

// A field in memory: k matches a query, and the iteration in which each entered its list.
struct Field {
  uint32_t* position;
  Born* born;
};

// The list of one query (see Neighbours), held by its group: entry i is in lane i % kLanes, register i / kLanes.
template <class G, int kSlots>
struct GroupList {
  uint32_t position[kSlots];
  float similarity[kSlots];
  uint32_t born[kSlots];
  float lowest;
  int k;

  static __device__ __forceinline__ int index(int slot) { return slot * G::kLanes + G::lane(); }
  // Entry i, in all lanes. Every register is sent and one result kept: to choose the register first would need its address,
  // and the list would live in local memory.
  template <class V>
  static __device__ __forceinline__ V entry(const V (&values)[kSlots], int i) {
    V value = G::from(values[0], i % G::kLanes);
#pragma unroll
    for (int slot = 1; slot < kSlots; ++slot) {
      const V sent = G::from(values[slot], i % G::kLanes);
      if (i / G::kLanes == slot) value = sent;
    }
    return value;
  }

  __device__ __forceinline__ float worst() const { return lowest; }
  __device__ __forceinline__ uint32_t at(int i) const { return entry(position, i); }
  __device__ __forceinline__ void put(int i, uint32_t candidate) {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot)
      if (index(slot) == i) position[slot] = candidate;
  }
  __device__ __forceinline__ bool contains(uint32_t candidate, int count) const {
    bool found = false;
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) found |= index(slot) < count && position[slot] == candidate;
    return G::ballot(found) != 0;
  }
  __device__ __forceinline__ void insert(uint32_t candidate, float value, int iteration, int count) {
    int place = 0;  // behind the last entry that stays ahead of the candidate
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      const unsigned ahead = G::ballot(index(slot) < count - 1 && !(similarity[slot] < value));
      if (ahead) place = slot * G::kLanes + 32 - __clz(ahead);
    }
    shift(position, candidate, place, count);
    shift(similarity, value, place, count);
    shift(born, (uint32_t)iteration, place, count);
    lowest = entry(similarity, k - 1);
  }
  // Entries [place, count - 1) move up by one, and `value` takes the place.
  template <class V>
  static __device__ __forceinline__ void shift(V (&values)[kSlots], V value, int place, int count) {
#pragma unroll
    for (int slot = kSlots - 1; slot >= 0; --slot) {
      V previous = G::from_previous(values[slot]);
      if (slot > 0) {
        const V carried = G::from(values[slot > 0 ? slot - 1 : 0], G::kLanes - 1);
        if (G::lane() == 0) previous = carried;
      }
      const int i = index(slot);
      if (i > place && i < count) values[slot] = previous;
      if (i == place) values[slot] = value;
    }
  }

  __device__ __forceinline__ void clear(int k_) {
    k = k_;
    lowest = kNoMatch;
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) position[slot] = kNoPosition, similarity[slot] = kNoMatch, born[slot] = 0;
  }
  // `first`: the query's entry 0. The pointers that are NULL are left out.
  __device__ __forceinline__ void read(const uint32_t* from_position, const float* from_best, const Born* from_born,
                                       int64_t first) {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      if (index(slot) >= k) continue;
      position[slot] = from_position[first + index(slot)];
      if (from_best) similarity[slot] = from_best[first + index(slot)];
      if (from_born) born[slot] = from_born[first + index(slot)];
    }
    lowest = entry(similarity, k - 1);
  }
  __device__ __forceinline__ void write(uint32_t* to_position, float* to_best, Born* to_born, int64_t first) const {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      if (index(slot) >= k) continue;
      to_position[first + index(slot)] = position[slot];
      to_best[first + index(slot)] = similarity[slot];
      if (to_born) to_born[first + index(slot)] = (Born)born[slot];
    }
  }
};

// ------------------------------------------------------------------------------------------------------------- kernels

// Blocks that must fit on a multiprocessor: 72 registers a lane, or 96 with the long list, which the compiler fills without
// spilling (with 80 for sm_75). Left alone it spills to fit one more.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kResidentShort = 6;
#else
constexpr int kResidentShort = 7;
#endif
template <int kSlots>
constexpr int kResident = kSlots == 1 ? kResidentShort : 5;

// The group's query; `visit` gets it with an empty list, its first entry in the whole field, and that of its image.
template <class T, class G, int kSlots, class Visit>
__device__ __forceinline__ void each_query(const psal_search_args& args, int first_image, Visit visit) {
  int row, column;
  if (!Tile<G>::place(args.query_height, args.query_width, row, column)) return;
  const int64_t image = first_image + (int64_t)blockIdx.y;
  const Problem<T> problem = problem_of<T>(args, image);
  const int64_t pixel = (int64_t)row * problem.query_width + column;
  if (!problem.searched(pixel)) return;
  GroupList<G, kSlots> list;
  list.clear(problem.k);
  Query<T, GroupLanes<G>, GroupList<G, kSlots>> query(problem, row, column, list);
  const int64_t image_entry = image * problem.query_height * problem.query_width * problem.k;
  visit(query, image_entry + pixel * problem.k, image_entry);
}

template <class T, class G, int kSlots>
__global__ void __launch_bounds__(kThreads, kResident<kSlots>)
initialise_kernel(psal_search_args args, Field to, int first_image) {
  each_query<T, G, kSlots>(args, first_image, [&](auto& query, int64_t entry, int64_t) {
    if (args.has_init) query.list.read(args.field, nullptr, nullptr, entry);
    query.initialise(args.has_init);
    query.list.write(to.position, args.best, to.born, entry);
  });
}

template <class T, class G, int kSlots>
__global__ void __launch_bounds__(kThreads, kResident<kSlots>)
jump_flood_kernel(psal_search_args args, Field from, Field to, int iteration, int first_image) {
  each_query<T, G, kSlots>(args, first_image, [&](auto& query, int64_t entry, int64_t image_entry) {
    query.list.read(from.position, args.best, from.born, entry);
    const int64_t row_entries = (int64_t)query.problem.query_width * query.problem.k;
    const auto position_of = [&](int row) { return from.position + image_entry + row * row_entries; };
    const auto born_of = [&](int row) { return from.born + image_entry + row * row_entries; };
    query.jump_flood(position_of, born_of, iteration);
    query.list.write(to.position, args.best, to.born, entry);
  });
}

template <class T, class G, int kSlots>
__global__ void __launch_bounds__(kThreads, kResident<kSlots>)
exact_kernel(psal_search_args args, int first_row, int last_row, int first_image) {
  each_query<T, G, kSlots>(args, first_image, [&](auto& query, int64_t entry, int64_t) {
    if (first_row > query.problem.radius) query.list.read(args.field, args.best, nullptr, entry);
    query.exhaustive(first_row, last_row);
    query.list.write(args.field, args.best, nullptr, entry);
  });
}

// ----------------------------------------------------------------------------------------------------------- launchers

int64_t entries(const psal_search_args& a) { return (int64_t)a.batch * a.query_height * a.query_width * a.k; }

template <class T, class G, int kSlots>
void jump_flood(const psal_search_args& a) {
  const unsigned blocks = Tile<G>::blocks(a.query_height, a.query_width);
  uint32_t* spare = (uint32_t*)a.scratch;
  Born* born = (Born*)(spare + entries(a));
  const Field fields[2] = {{a.field, born}, {spare, born + entries(a)}};
  // The last iteration writes fields[0], which is the result.
  launch("initialise", a.place, blocks, a.batch, 1, initialise_kernel<T, G, kSlots>, a, fields[a.iterations % 2]);
  for (int iteration = 1; iteration <= a.iterations; ++iteration) {
    const int target = (a.iterations - iteration) % 2;
    launch("jump flood", a.place, blocks, a.batch, 1, jump_flood_kernel<T, G, kSlots>, a, fields[1 - target], fields[target],
           iteration);
  }
}

// Some key rows a launch, so that no launch holds the device for seconds (a display would stop, or kill it).
template <class T, class G, int kSlots>
void exact(const psal_search_args& a) {
  constexpr double kProducts = 5e11;
  const double queries = (double)a.batch * a.query_height * a.query_width;
  const double products_a_row = queries * a.key_width * a.channels * a.patch_size * a.patch_size;
  const int rows = (int)std::clamp(kProducts / products_a_row, 1.0, (double)kMaxSide);
  const int radius = a.patch_size / 2, end = a.key_height - radius;
  for (int row = radius; row < end; row += rows)
    launch("exact", a.place, Tile<G>::blocks(a.query_height, a.query_width), a.batch, 1, exact_kernel<T, G, kSlots>, a, row,
           std::min(row + rows, end));
}

template <class T, class G, int kSlots>
void search_with(const psal_search_args& a) {
  if (a.schedule == PSAL_EXACT) exact<T, G, kSlots>(a);
  else jump_flood<T, G, kSlots>(a);
}

// Wide groups for long rows and for long lists. float64 is for tests: one width will do.
template <class T>
void search(const psal_search_args& a) {
  const bool wide = a.channels % kWide<T> == 0;
  const int loads = a.channels * a.patch_size / (wide ? kWide<T> : 1);
  if constexpr (std::is_same_v<T, double>) return search_with<T, Group<16>, 4>(a);
  else if (a.k > 16) search_with<T, Group<16>, 4>(a);
  else if (a.k > 8 || loads > 48) search_with<T, Group<16>, 1>(a);
  else search_with<T, Group<8>, 1>(a);
}

}  // namespace
}  // namespace psal

// --------------------------------------------------------------------------------------------------------- C interface

using namespace psal;

const char* psal_search_cuda(const psal_search_args* args) {
  if (args->schedule == PSAL_SCAN) return "the scan schedule runs on the CPU only";
  return run_on(args->place, [&] {
    switch (args->dtype) {
      case PSAL_FLOAT32: return search<float>(*args);
      case PSAL_FLOAT16: return search<Half>(*args);
      case PSAL_BFLOAT16: return search<Brain>(*args);
      default: return search<double>(*args);
    }
  });
}

// The other field, and for both the iteration in which each match was born.
int64_t psal_search_scratch_cuda(const psal_search_args* args) {
  if (args->schedule != PSAL_JUMP_FLOOD) return 0;
  return entries(*args) * (int64_t)(sizeof(uint32_t) + 2 * sizeof(Born));
}

const char* psal_architectures_cuda(void) { return PSAL_CUDA_ARCHITECTURES; }

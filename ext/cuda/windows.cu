// The window sums of ../windows.h on CUDA. A tile of outputs per block, images in blockIdx.y; each output has one owner.
//   gather_kernel     a group of 4 or 16 lanes per (query, match), match in blockIdx.z: the lanes share the channels of a
//                     pixel in 16-byte loads and add up their parts by shuffles, once at the end
//   vectors_kernel    spread and scatter: a group of 1, 8 or 32 lanes per target, each lane with the sums of 8 channels in
//                     registers; more channels than the group holds are done in rounds. Few channels (colours) are one lane's
//                     work: neighbouring lanes then read neighbouring targets' matches and weights
//   log_total_kernel  a lane per target: numbers only, no channels
#include "lanes.cuh"

namespace psal {
namespace {

// `Sum` of Windows::gather.
template <class G>
struct GroupSum {
  template <class Term, class T>
  static __device__ __forceinline__ Term products(const T* a, const T* b, int channels, bool dot) {
    return aligned<T>(a, b, channels) ? lane_part<Term, kWide<T>>(a, b, channels, dot) : lane_part<Term, 1>(a, b, channels, dot);
  }
  template <class Term>
  static __device__ __forceinline__ Term share(Term v) { return G::lane() == 0 ? v : 0; }
  template <class Term>
  static __device__ __forceinline__ Term all(Term v) { return G::sum(v); }

 private:
  template <class Term, int kWidth, class T>
  static __device__ __forceinline__ Term lane_part(const T* a, const T* b, int channels, bool dot) {
    Term part = 0;
    for (int c = G::lane() * kWidth; c < channels; c += G::kLanes * kWidth) {
      Term p[kWidth], q[kWidth];
      Pack<T, kWidth>::load(a + c).unpack(p);
      Pack<T, kWidth>::load(b + c).unpack(q);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) part += dot ? p[i] * q[i] : (p[i] - q[i]) * (p[i] - q[i]);
    }
    return part;
  }
};

constexpr int kHeld = 8;  // channels whose sums a lane holds

// `Add` of Windows::spread and scatter: a lane's channels of a round that starts at channel `first`.
template <class T, class G, int kWidth>
struct LaneSum {
  using Term = typename TermOf<T>::type;
  static constexpr int kPacks = kHeld / kWidth;
  Term total[kPacks][kWidth], own[kPacks][kWidth];
  int first, channels;

  // Channel of pack s, or >= channels for none.
  __device__ __forceinline__ int channel(int s) const { return first + (s * G::kLanes + G::lane()) * kWidth; }

  // `centre`: what is subtracted from every vector, or NULL.
  __device__ __forceinline__ LaneSum(const T* centre, int first_, int channels_) : first(first_), channels(channels_) {
#pragma unroll
    for (int s = 0; s < kPacks; ++s) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) total[s][i] = own[s][i] = 0;
      if (centre && channel(s) < channels) Pack<T, kWidth>::load(centre + channel(s)).unpack(own[s]);
    }
  }
  __device__ __forceinline__ void operator()(Term weight, const T* other) {
#pragma unroll
    for (int s = 0; s < kPacks; ++s) {
      if (channel(s) >= channels) break;
      Term number[kWidth];
      Pack<T, kWidth>::load(other + channel(s)).unpack(number);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) total[s][i] += weight * (number[i] - own[s][i]);
    }
  }
  __device__ __forceinline__ void no_match() {}
  __device__ __forceinline__ void write(T* out) const {
#pragma unroll
    for (int s = 0; s < kPacks; ++s)
      if (channel(s) < channels) Pack<T, kWidth>::store(total[s], out + channel(s));
  }
};

// ------------------------------------------------------------------------------------------------------------- kernels

// Blocks that must fit on a multiprocessor: 80 or 96 registers a lane, which all architectures hold without spilling.
template <class T>
constexpr int kResident = sizeof(T) == sizeof(double) ? 5 : 6;

template <class T, class G>
__global__ void __launch_bounds__(kThreads, kResident<T>) gather_kernel(psal_window_args args, int first_image) {
  int row, column;
  if (!Tile<G>::place(args.query_height, args.query_width, row, column)) return;
  const int64_t image = first_image + (int64_t)blockIdx.y;
  const Windows<T> windows = Windows<T>::of(args, image);
  const int neighbour = (int)blockIdx.z;
  const auto total = windows.template gather<GroupSum<G>>(row, column, neighbour);
  if (G::lane() != 0) return;
  auto* out = (typename TermOf<T>::type*)args.out + (image * args.k + neighbour) * windows.queries();
  out[(int64_t)row * args.query_width + column] = total;
}

// One target, kWidth channels a load. `kToKey` chooses which picture the targets are in.
template <int kWidth, bool kToKey, class G, class T>
__device__ __forceinline__ void sum_vectors(const Windows<T>& windows, int row, int column, const T* centre, T* out) {
  for (int first = 0; first < windows.channels; first += G::kLanes * kHeld) {
    LaneSum<T, G, kWidth> sum(centre, first, windows.channels);
    if (kToKey) windows.scatter(row, column, sum);
    else windows.spread(row, column, sum);
    sum.write(out);
  }
}

template <class T, class G, bool kToKey>
__global__ void __launch_bounds__(kThreads, kResident<T>) vectors_kernel(psal_window_args args, bool wide, int first_image) {
  const int height = kToKey ? args.key_height : args.query_height, width = kToKey ? args.key_width : args.query_width;
  int row, column;
  if (!Tile<G>::place(height, width, row, column)) return;
  const int64_t image = first_image + (int64_t)blockIdx.y;
  const Windows<T> windows = Windows<T>::of(args, image);
  const int64_t at = ((int64_t)row * width + column) * args.channels;
  const T* centre = windows.centred ? (kToKey ? windows.key : windows.query) + at : nullptr;
  T* out = (T*)args.out + image * height * width * args.channels + at;
  if (wide) sum_vectors<kWide<T>, kToKey, G>(windows, row, column, centre, out);
  else sum_vectors<1, kToKey, G>(windows, row, column, centre, out);
}

template <class Term>
__global__ void __launch_bounds__(kThreads, kResident<Term>) log_total_kernel(psal_window_args args, int first_image) {
  int row, column;
  if (!Tile<Group<1>>::place(args.query_height, args.query_width, row, column)) return;
  const int64_t image = first_image + (int64_t)blockIdx.y;
  const Windows<Term> windows = Windows<Term>::of(args, image);
  ((Term*)args.out)[image * windows.queries() + (int64_t)row * args.query_width + column] = windows.log_total_of(row, column);
}

// ----------------------------------------------------------------------------------------------------------- launchers

template <class T, class G>
void launch_gather(const psal_window_args& a) {
  launch("gather", a.place, Tile<G>::blocks(a.query_height, a.query_width), a.batch, (unsigned)a.k, gather_kernel<T, G>, a);
}

template <class T>
void gather(const psal_window_args& a) {
  const int loads = a.channels / (a.channels % kWide<T> == 0 ? kWide<T> : 1);
  if constexpr (std::is_same_v<T, double>) return launch_gather<T, Group<4>>(a);
  else if (loads <= 8) launch_gather<T, Group<4>>(a);
  else launch_gather<T, Group<16>>(a);
}

template <class T, class G, bool kToKey>
void launch_vectors(const psal_window_args& a) {
  const bool wide = aligned<T>(a.query, a.key, a.channels) && aligned<T>(a.out, nullptr, 0);
  const unsigned blocks = kToKey ? Tile<G>::blocks(a.key_height, a.key_width) : Tile<G>::blocks(a.query_height, a.query_width);
  launch(kToKey ? "scatter" : "spread", a.place, blocks, a.batch, 1, vectors_kernel<T, G, kToKey>, a, wide);
}

template <class T, bool kToKey>
void vectors(const psal_window_args& a) {
  if constexpr (std::is_same_v<T, double>) return launch_vectors<T, Group<8>, kToKey>(a);  // float64 is for tests
  else if (a.channels <= kHeld) launch_vectors<T, Group<1>, kToKey>(a);
  else if (a.channels <= 8 * kHeld) launch_vectors<T, Group<8>, kToKey>(a);
  else launch_vectors<T, Group<32>, kToKey>(a);
}

template <class Term>
void log_total(const psal_window_args& a) {
  launch("log_total", a.place, Tile<Group<1>>::blocks(a.query_height, a.query_width), a.batch, 1, log_total_kernel<Term>, a);
}

template <class Run>
const char* by_dtype(const psal_window_args& a, Run run) {
  return run_on(a.place, [&] {
    switch (a.dtype) {
      case PSAL_FLOAT32: return run(0.f);
      case PSAL_FLOAT16: return run(Half());
      case PSAL_BFLOAT16: return run(Brain());
      default: return run(0.0);
    }
  });
}

}  // namespace
}  // namespace psal

// --------------------------------------------------------------------------------------------------------- C interface

using namespace psal;

const char* psal_gather_cuda(const psal_window_args* args) {
  return by_dtype(*args, [&](auto t) { gather<decltype(t)>(*args); });
}
const char* psal_spread_cuda(const psal_window_args* args) {
  return by_dtype(*args, [&](auto t) { vectors<decltype(t), false>(*args); });
}
const char* psal_scatter_cuda(const psal_window_args* args) {
  return by_dtype(*args, [&](auto t) { vectors<decltype(t), true>(*args); });
}
const char* psal_log_total_cuda(const psal_window_args* args) {
  return run_on(args->place, [&] { args->dtype == PSAL_FLOAT64 ? log_total<double>(*args) : log_total<float>(*args); });
}

// The C interface of libpsal and of libpsal_cuda, which has the functions whose names say so: raw pointers and sizes, no torch
// and no Python headers, so that one build serves every version of both. psal_cli/native.py mirrors these structs field by field.
//
// Feature maps are channels-last: [batch, height, width, channels], densely packed.
// Each function returns NULL, or a message that lives until the same thread's next call.
#pragma once
#include <stdint.h>

#if defined(_WIN32)
#define PSAL_EXPORT __declspec(dllexport)
#else
#define PSAL_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { PSAL_FLOAT32 = 0, PSAL_FLOAT16 = 1, PSAL_BFLOAT16 = 2, PSAL_FLOAT64 = 3 };
enum { PSAL_UINT8 = 4, PSAL_UINT16 = 5 };  // of pictures only
enum { PSAL_L2 = 0, PSAL_DOT = 1 };
enum { PSAL_SCAN = 0, PSAL_JUMP_FLOOD = 1, PSAL_EXACT = 2 };

// Where a call runs: `threads` on the CPU, `device` and `stream` (a cudaStream_t) on CUDA.
typedef struct {
  int32_t threads;
  int32_t device;
  void* stream;
} psal_place;

// A search of the k best keys of every query. A match is the centre of a patch that lies whole
// inside the key picture; query patches are clipped at the border of the query picture.
typedef struct {
  psal_place place;
  int32_t dtype, similarity, schedule;
  int32_t batch, channels, query_height, query_width, key_height, key_width;
  int32_t patch_size, k, iterations, has_init;
  uint64_t seed;
  const void* query;          // [B, H, W, C]
  const void* key;            // [B, Hk, Wk, C]
  const float* key_scale;     // [B, Hk, Wk], multiplies a dot product; or NULL
  const uint8_t* query_mask;  // [B, H, W], 1 = search; or NULL for all
  const uint8_t* key_valid;   // [B, Hk, Wk], 1 = whole patch may match; or NULL for all inside
  const int32_t* key_rows;    // [B, Hk], valid keys of this and all earlier rows; with key_valid only
  uint32_t* field;            // [B, H, W, k] row << 16 | column, best first: initial field in, result out
  float* best;                // [B, H, W, k] similarity of each match, out
  void* scratch;              // CUDA: psal_search_scratch_cuda() bytes on the device, so that torch owns every allocation
} psal_search_args;

// The window sums behind similarity_at and aggregate and their gradients, see windows.h. Sizes are those of
// psal_search_args; `term` is float32, or float64 with float64 features.
typedef struct {
  psal_place place;
  int32_t dtype, similarity;
  int32_t batch, channels, query_height, query_width, key_height, key_width, patch_size, k;
  const void* query;         // [B, H, W, C] features, or the gradient of an aggregate
  const void* key;           // [B, Hk, Wk, C] features, or values
  const int32_t* nnf;        // [B, k, 2, H, W]; -1 = no match; on the CPU any other number outside the key is an error
  const void* weight;        // [B, k, H, W] term
  const void* log_total;     // [B, H, W] term: weights become exp(weight - log_total of the target); or NULL
  const void* baseline;      // [B, H, W] term, subtracted from each dot product of psal_gather; or NULL
  const int64_t* order;      // psal_scatter: flat (k, y, x) of all matches sorted by key position, [B, k*H*W]
  const int64_t* first;      // psal_scatter: where each key position starts in `order`, [B, Hk*Wk + 1]
  int32_t centred;           // spread and scatter: sum weight * (other - own) instead of weight * other
  void* out;
} psal_window_args;

// A fill of copied pixels whose seams are removed in the gradient domain, see cpu/compose.cpp. On the CPU only.
typedef struct {
  psal_place place;
  int32_t dtype;                       // PSAL_FLOAT32, PSAL_UINT8 or PSAL_UINT16
  int32_t source_height, source_width, channels;  // channels: 1 to 4
  int32_t top, left, height, width;    // the box that is filled, in the source
  int32_t steps;                       // of conjugate gradients, at most
  float fidelity, tolerance;           // weight of the copies' colours; of the residual's norm beside the right side's
  int64_t row_stride, column_stride, channel_stride;  // of pixels, in elements
  const void* pixels;                  // [Hs, Ws, C]
  const uint8_t* barred;               // [Hs, Ws], 1 = may not be copied from
  const uint8_t* unknown;              // [h, w], 1 = to be filled
  const int32_t* origin;               // [n, 2] (row, column) that each of the n unknown pixels is copied from, in raster order
  float* out;                          // [n, C], integer pixels divided by their largest value
} psal_compose_args;

// The places of the seams of such a fill, see cpu/seams.cpp. On the CPU only.
typedef struct {
  psal_place place;
  int32_t source_height, source_width, channels;  // channels: 1 to 4
  int32_t top, left, height, width;    // the box that is filled, in the source
  int32_t radius, sweeps;              // of the patches; of the improvement, at most 127
  float doubt, length;                 // the cost of what no patch pastes, and of a seam from pixel to pixel
  int64_t row_stride, column_stride, channel_stride;  // of pixels, in elements
  const float* pixels;                 // [Hs, Ws, C], white = 1
  const uint8_t* barred;               // [Hs, Ws], 1 = may not be copied from
  const uint8_t* unknown;              // [h, w], 1 = to be filled
  const int32_t* nnf;                  // [2, h, w] (row, column) that the patch around each place matches, row -1 for none
  const float* weight;                 // [h, w], how much that patch has to say
  int32_t* origin;                     // [n, 2], as in psal_compose_args: changed in place
} psal_seam_args;

PSAL_EXPORT const char* psal_place_seams_cpu(const psal_seam_args* args);
PSAL_EXPORT const char* psal_compose_cpu(const psal_compose_args* args);
PSAL_EXPORT const char* psal_search_cpu(const psal_search_args* args);
PSAL_EXPORT const char* psal_search_cuda(const psal_search_args* args);
PSAL_EXPORT int64_t psal_search_scratch_cuda(const psal_search_args* args);  // bytes that psal_search_cuda needs beside the field

// out [B, k, H, W] term: similarity of query and key patches at each match.
PSAL_EXPORT const char* psal_gather_cpu(const psal_window_args* args);
PSAL_EXPORT const char* psal_gather_cuda(const psal_window_args* args);
// out [B, H, W, C] dtype: what the matches of the surrounding queries paste at each query.
PSAL_EXPORT const char* psal_spread_cpu(const psal_window_args* args);
PSAL_EXPORT const char* psal_spread_cuda(const psal_window_args* args);
// out [B, Hk, Wk, C] dtype: the transpose of psal_spread, without atomics.
PSAL_EXPORT const char* psal_scatter_cpu(const psal_window_args* args);
PSAL_EXPORT const char* psal_scatter_cuda(const psal_window_args* args);
// out [B, H, W] term: log of the sum of exp(weight) of all that psal_spread would add up.
PSAL_EXPORT const char* psal_log_total_cpu(const psal_window_args* args);
PSAL_EXPORT const char* psal_log_total_cuda(const psal_window_args* args);

PSAL_EXPORT const char* psal_cpu_isa(void);              // instruction set in use: "baseline", "x86-64-v3", "x86-64-v4"
PSAL_EXPORT const char* psal_use_cpu_isa(const char* name);  // in all later calls; at first it is the widest one
PSAL_EXPORT const char* psal_architectures_cuda(void);   // e.g. "75-real 80-real"
// In both libraries.
PSAL_EXPORT const char* psal_version(void);              // as in pyproject.toml
PSAL_EXPORT const char* psal_source_digest(void);        // SHA-256 of the sources in ext/, see CMakeLists.txt

#ifdef __cplusplus
}
#endif

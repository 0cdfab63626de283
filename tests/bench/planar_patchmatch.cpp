// A rival for the benchmark, no part of psal: PatchMatch as ncherel/psal's CUDA kernels do it (315951b), written anew for
// the CPU from a description of what they do: planar [channels, height, width] features; sums of squared differences over
// channel, row, column, one number at a time, left after a row that passes the worst kept; propagation of the neighbours'
// best match only, from 1, 2, 4 and 8 pixels away; random search around the best match as it was when the sweep began;
// border queries, whose patch leaves the picture, are not searched. Unlike there, a sweep reads the field of the
// sweep before, so that the result does not depend on threads, and k is not fixed to 3.
#include <stddef.h>
#include <stdint.h>

#include <vector>

namespace {

struct Problem {
  const float *query, *key;
  int channels, height, width, key_height, key_width, radius, k;

  bool inside_query(int row, int column) const {
    return row >= radius && row < height - radius && column >= radius && column < width - radius;
  }
  bool valid(int row, int column) const {
    return row >= radius && row < key_height - radius && column >= radius && column < key_width - radius;
  }
};

struct Count {
  int64_t distances = 0, rows = 0;
};

float distance(const Problem& p, int row, int column, int key_row, int key_column, float limit, Count& count) {
  float total = 0;
  ++count.distances;
  for (int c = 0; c < p.channels; ++c)
    for (int y = -p.radius; y <= p.radius; ++y) {
      const float* a = p.query + ((int64_t)c * p.height + row + y) * p.width + column;
      const float* b = p.key + ((int64_t)c * p.key_height + key_row + y) * p.key_width + key_column;
      for (int x = -p.radius; x <= p.radius; ++x) total += (a[x] - b[x]) * (a[x] - b[x]);
      ++count.rows;
      if (total > limit) return total;
    }
  return total;
}

// One query's matches, nearest first.
struct Matches {
  int32_t* position;  // row * key_width + column
  float* cost;
};

void offer(const Problem& p, Matches m, int row, int column, int key_row, int key_column, Count& count) {
  if (!p.valid(key_row, key_column)) return;
  const int32_t candidate = key_row * p.key_width + key_column;
  for (int i = 0; i < p.k; ++i)
    if (m.position[i] == candidate) return;
  const float cost = distance(p, row, column, key_row, key_column, m.cost[p.k - 1], count);
  if (!(cost < m.cost[p.k - 1])) return;
  int i = p.k - 1;
  for (; i > 0 && m.cost[i - 1] > cost; --i) {
    m.cost[i] = m.cost[i - 1];
    m.position[i] = m.position[i - 1];
  }
  m.cost[i] = cost;
  m.position[i] = candidate;
}

struct Random {
  uint64_t state;
  uint32_t next() {  // one step of a 64-bit linear congruence, its high bits mixed
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((state ^ (state >> 22)) >> 29);
  }
  int between(int low, int high) { return low + (int)(next() % (uint32_t)(high - low)); }
};

void random_search(const Problem& p, Matches m, int row, int column, Random& random, Count& count) {
  const int best_row = m.position[0] / p.key_width, best_column = m.position[0] % p.key_width;
  for (int half = p.key_height > p.key_width ? p.key_height : p.key_width; half >= 2; half /= 2) {
    const int key_row = random.between(best_row - half, best_row + half);
    const int key_column = random.between(best_column - half, best_column + half);
    offer(p, m, row, column, key_row, key_column, count);
  }
}

}  // namespace

// position: int32 [height, width, k], -1 on the border; cost: float [height, width, k]; counts: distances evaluated and
// rows of 2 * radius + 1 terms summed for them.
extern "C" void planar_patchmatch(const float* query, const float* key, int channels, int height, int width, int key_height,
                                  int key_width, int radius, int k, int iterations, uint64_t seed, int threads,
                                  int32_t* position, float* cost, int64_t* counts) {
  const Problem p = {query, key, channels, height, width, key_height, key_width, radius, k};
  std::vector<int32_t> previous((size_t)height * width, -1);  // the best match of each query, as the sweep finds it
  int64_t distances = 0, rows = 0;
  for (int iteration = 0; iteration <= iterations; ++iteration) {  // 0 draws the first field
#pragma omp parallel for schedule(dynamic, 8) num_threads(threads) reduction(+ : distances, rows)
    for (int row = 0; row < height; ++row) {
      Count count;
      for (int column = 0; column < width; ++column) {
        const int64_t pixel = (int64_t)row * width + column;
        const Matches m = {position + pixel * k, cost + pixel * k};
        Random random = {(seed + 1) * 0x9e3779b97f4a7c15ull ^ ((uint64_t)iteration << 40) ^ (uint64_t)pixel};
        random.next();
        if (iteration == 0)
          for (int i = 0; i < k; ++i) m.position[i] = -1, m.cost[i] = 1e30f;
        if (!p.inside_query(row, column)) continue;
        if (iteration == 0) {
          while (m.position[k - 1] < 0)
            offer(p, m, row, column, random.between(radius, key_height - radius), random.between(radius, key_width - radius), count);
          continue;
        }
        for (int jump = 1; jump <= 8; jump *= 2)
          for (int side = 0; side < 4; ++side) {
            const int down = side == 1 ? jump : side == 3 ? -jump : 0, right = side == 0 ? jump : side == 2 ? -jump : 0;
            if (!p.inside_query(row + down, column + right)) continue;
            const int32_t match = previous[pixel + (int64_t)down * width + right];
            offer(p, m, row, column, match / key_width - down, match % key_width - right, count);
          }
        random_search(p, m, row, column, random, count);
      }
      distances += count.distances;
      rows += count.rows;
    }
    for (int64_t pixel = 0; pixel < (int64_t)height * width; ++pixel) previous[pixel] = position[pixel * k];
  }
  counts[0] = distances;
  counts[1] = rows;
}

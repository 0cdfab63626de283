// The sums over matches that similarity_at and aggregate are made of, written once for the CPU and for CUDA.
//
// With n(p, i) the i-th match of query p, o an offset of the patch, and W(p, i -> t) the weight of a match seen from
// a target t = p + o (the plain weight, or exp(weight - log_total[t]) when log_total is given):
//   gather     out[p, i] = sum_o <query[p + o], key[n(p, i) + o]>, or minus the squared distance
//   spread     out[t]    = sum_o,i W(t - o, i -> t) * value[n(t - o, i) + o]
//   scatter    out[j]    = sum of W(p, i -> p + o) * query[p + o] over all (p, i, o) with n(p, i) + o = j
//   log_total  out[t]    = log sum_o,i exp(weight[t - o, i])
// spread with radius 0 is attention over k neighbours (equation 5 of the paper), with the patch's radius and log_total
// the spatial aggregation of equation 10. Gradients: of gather in query = spread, in key = scatter; of spread in value =
// scatter, in weight = gather. Each output is written by one owner: no atomics, the same sum in every run.
//
// Terms outside either picture, and matches of -1 or of any other number outside the key, are left out, everywhere alike.
#pragma once
#include "patchmatch.h"

namespace psal {

template <class T> struct TermOf { using type = float; };
template <> struct TermOf<double> { using type = double; };

template <class T>
struct Windows {
  using Term = typename TermOf<T>::type;
  const T* query;
  const T* key;
  const int32_t* nnf;
  const Term* weight;
  const Term* log_total;
  const Term* baseline;
  const int64_t* order;
  const int64_t* first;
  int channels, query_height, query_width, key_height, key_width, radius, k;
  bool dot, centred;

  static HOST_DEVICE Windows of(const psal_window_args& a, int64_t image) {
    const int64_t queries = (int64_t)a.query_height * a.query_width, keys = (int64_t)a.key_height * a.key_width;
    return {image_of<T>(a.query, image, queries * a.channels),
            image_of<T>(a.key, image, keys * a.channels),
            image_of<int32_t>(a.nnf, image, queries * a.k * 2),
            image_of<Term>(a.weight, image, queries * a.k),
            image_of<Term>(a.log_total, image, queries),
            image_of<Term>(a.baseline, image, queries),
            image_of<int64_t>(a.order, image, queries * a.k),
            image_of<int64_t>(a.first, image, keys + 1),
            a.channels, a.query_height, a.query_width, a.key_height, a.key_width, a.patch_size / 2, a.k,
            a.similarity == PSAL_DOT, a.centred != 0};
  }

  HOST_DEVICE int64_t queries() const { return (int64_t)query_height * query_width; }
  HOST_DEVICE Position match(int neighbour, int64_t pixel) const {
    const int32_t* plane = nnf + (int64_t)neighbour * 2 * queries() + pixel;
    return {plane[0], plane[queries()]};
  }
  HOST_DEVICE bool inside_query(int row, int column) const {
    return row >= 0 && row < query_height && column >= 0 && column < query_width;
  }
  // Of (m.row - dr, m.column - dc): unsigned, since a field may hold any number, whose difference an int may not.
  HOST_DEVICE bool inside_key(Position m, int dr, int dc) const {
    return (uint32_t)m.row - (uint32_t)dr < (uint32_t)key_height && (uint32_t)m.column - (uint32_t)dc < (uint32_t)key_width;
  }
  HOST_DEVICE bool is_match(Position m) const { return inside_key(m, 0, 0); }
  HOST_DEVICE Term exponent(int neighbour, int64_t pixel, int64_t target) const {
    const Term w = weight[(int64_t)neighbour * queries() + pixel];
    return log_total ? w - log_total[target] : w;
  }
  HOST_DEVICE Term seen_from(int neighbour, int64_t pixel, int64_t target) const {
    const Term w = exponent(neighbour, pixel, target);
    return log_total ? exp(w) : w;
  }
  // Offsets for which both query p + o and key m + o exist.
  HOST_DEVICE Window overlap(int row, int column, Position m) const {
    const Window a = clip(row, column, query_height, query_width, radius);
    const Window b = clip(m.row, m.column, key_height, key_width, radius);
    return {at_least(a.row_low, b.row_low), at_most(a.row_high, b.row_high), at_least(a.column_low, b.column_low),
            at_most(a.column_high, b.column_high)};
  }

  // `Sum` adds up over the channels, one lane on the CPU and a part of a warp on CUDA: `products` is a lane's part of a
  // dot product (or of a squared distance), `share` a lane's part of a number that all hold, `all` the total of the parts.
  template <class Sum>
  HOST_DEVICE Term gather(int row, int column, int neighbour) const {
    const Position m = match(neighbour, (int64_t)row * query_width + column);
    if (!is_match(m)) return dot || baseline ? 0 : (Term)kNoMatch;
    const Window w = overlap(row, column, m);
    Term total = 0;
    for (int dr = w.row_low; dr < w.row_high; ++dr)
      for (int dc = w.column_low; dc < w.column_high; ++dc) {
        const int64_t at = (int64_t)(row + dr) * query_width + column + dc;
        const T* a = query + at * channels;
        const T* b = key + ((int64_t)(m.row + dr) * key_width + m.column + dc) * channels;
        Term term = Sum::template products<Term>(a, b, channels, dot);
        if (baseline) term = seen_from(neighbour, (int64_t)row * query_width + column, at) * (term - Sum::share(baseline[at]));
        total += term;
      }
    total = Sum::all(total);
    return dot || baseline ? total : -total;
  }

  // kExponents: `add` gets weights that are still to be passed to exp.
  template <bool kExponents = false, class Add>
  HOST_DEVICE void spread(int row, int column, Add& add) const {
    const int64_t target = (int64_t)row * query_width + column;
    const Window w = clip(row, column, query_height, query_width, radius);
    for (int dr = w.row_low; dr < w.row_high; ++dr)
      for (int dc = w.column_low; dc < w.column_high; ++dc) {
        const int64_t from = (int64_t)(row + dr) * query_width + column + dc;
        for (int i = 0; i < k; ++i) {
          const Position m = match(i, from);
          if (!is_match(m)) {
            add.no_match();
            continue;
          }
          if (!inside_key(m, dr, dc)) continue;
          add(kExponents ? exponent(i, from, target) : seen_from(i, from, target),
              key + ((int64_t)(m.row - dr) * key_width + m.column - dc) * channels);
        }
      }
  }

  template <bool kExponents = false, class Add>
  HOST_DEVICE void scatter(int row, int column, Add& add) const {
    const Window w = clip(row, column, key_height, key_width, radius);
    for (int dr = w.row_low; dr < w.row_high; ++dr)
      for (int dc = w.column_low; dc < w.column_high; ++dc) {
        const int64_t position = (int64_t)(row + dr) * key_width + column + dc;
        for (int64_t i = first[position]; i < first[position + 1]; ++i) {
          const int neighbour = (int)(order[i] / queries());
          const uint32_t pixel = (uint32_t)(order[i] % queries()), width = (uint32_t)query_width;
          const int from_row = (int)(pixel / width) - dr, from_column = (int)(pixel % width) - dc;
          if (!inside_query(from_row, from_column)) continue;
          const int64_t from = (int64_t)from_row * query_width + from_column;
          add(kExponents ? exponent(neighbour, pixel, from) : seen_from(neighbour, pixel, from), query + from * channels);
        }
      }
  }

  // Calls visit(weight) for all that `spread` would add up.
  template <class Visit>
  HOST_DEVICE void each_weight(int row, int column, Visit visit) const {
    const Window w = clip(row, column, query_height, query_width, radius);
    for (int dr = w.row_low; dr < w.row_high; ++dr)
      for (int dc = w.column_low; dc < w.column_high; ++dc) {
        const int64_t from = (int64_t)(row + dr) * query_width + column + dc;
        for (int i = 0; i < k; ++i) {
          const Position m = match(i, from);
          if (is_match(m) && inside_key(m, dr, dc)) visit(weight[(int64_t)i * queries() + from]);
        }
      }
  }
  HOST_DEVICE Term log_total_of(int row, int column) const {
    Term highest = (Term)kNoMatch, total = 0;
    each_weight(row, column, [&](Term w_i) {
      if (w_i > highest) {
        total = total * exp(highest - w_i) + 1;
        highest = w_i;
      } else if (w_i > (Term)kNoMatch) {
        total += exp(w_i - highest);
      }
    });
    return highest + log(total);  // no match at all: -inf
  }
};

}  // namespace psal

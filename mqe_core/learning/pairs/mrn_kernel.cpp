// The pairwise MRN distance and its gradient on a CPU; called by mrn_kernel.py, the formula stands in quasimetric.py.
//
// Lanes of a vector are W columns of y, a tile. y is packed as (member, component, tile, coordinate, lane), so that the
// numbers of a tile stay in the cache while rows pass by, and nothing of size rows * columns * dim exists. Each sum is
// made by one thread in one order: the results do not depend on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int W = 16;
#else
constexpr int W = 8;
#endif
constexpr int R = 4;  // rows that share one load of a tile's numbers

typedef float Floats __attribute__((vector_size(4 * W)));
typedef int32_t Ints __attribute__((vector_size(4 * W)));
typedef uint8_t Bytes __attribute__((vector_size(W)));

template <class Vector>
Vector load(const void* from) {
    Vector value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class Vector>
void store(void* to, Vector value) {
    std::memcpy(to, &value, sizeof value);
}

Floats square_root(Floats value) {
    for (int lane = 0; lane < W; ++lane) value[lane] = std::sqrt(value[lane]);
    return value;
}

float sum(Floats value) {
    float total = 0.0f;
    for (int lane = 0; lane < W; ++lane) total += value[lane];
    return total;
}

struct Problem {
    int64_t members, rows, columns, components, half;
    float smoothing, scale;

    int64_t chunk() const { return 2 * half; }
    int64_t dim() const { return components * chunk(); }
    int64_t tiles() const { return (columns + W - 1) / W; }
    int64_t width(int64_t tile) const { return std::min<int64_t>(W, columns - tile * W); }
    // Of the numbers of one tile and component, W each.
    int64_t packed(int64_t member, int64_t k, int64_t tile) const {
        return ((member * components + k) * tiles() + tile) * chunk() * W;
    }
    // Of the winners of one tile and `count` rows from `row` on, W bytes each.
    int64_t winners(int64_t member, int64_t k, int64_t row, int64_t tile, int64_t count) const {
        return (((member * components + k) * rows + row) * tiles() + tile * count) * W;
    }
};

// Calls `some(first row, N)` for blocks of R rows, then for single ones.
template <class Function>
void in_blocks(int64_t rows, Function some) {
    int64_t b = 0;
    for (; b + R <= rows; b += R) some(b, std::integral_constant<int, R>{});
    for (; b < rows; ++b) some(b, std::integral_constant<int, 1>{});
}

std::vector<float> pack(const float* y, const Problem& p, int threads) {
    std::vector<float> tiles(p.members * p.tiles() * p.dim() * W);  // lanes past the last column stay 0
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t e = 0; e < p.members; ++e)
        for (int64_t k = 0; k < p.components; ++k)
            for (int64_t c = 0; c < p.columns; ++c) {
                const float* from = y + (e * p.columns + c) * p.dim() + k * p.chunk();
                float* to = tiles.data() + p.packed(e, k, c / W) + c % W;
                for (int64_t i = 0; i < p.chunk(); ++i) to[i * W] = from[i];
            }
    return tiles;
}

// For each of n latents NaN where a coordinate of its first halves is not finite, else 0: a comparison drops NaN.
std::vector<float> marks(const float* latents, int64_t n, const Problem& p) {
    constexpr uint32_t exponent = 0x7f800000;
    std::vector<float> marks(n);
    for (int64_t row = 0; row < n; ++row) {
        uint32_t broken = 0;
        for (int64_t k = 0; k < p.components; ++k) {
            const float* first = latents + row * p.dim() + k * p.chunk();
            for (int64_t i = 0; i < p.half; ++i) broken |= (load<uint32_t>(first + i) & exponent) == exponent;
        }
        if (broken) marks[row] = std::nanf("");
    }
    return marks;
}

// max(0, x - y) over a chunk's first half, for N rows; with `winner` also which coordinate it was, from 1 (0: none).
template <int N>
void positive_max(const float* x, const float* tile, const Problem& p, Floats* best, uint8_t* winner) {
    Floats largest[N] = {};
    Ints won[N] = {};
    for (int64_t i = 0; i < p.half; ++i) {
        const Floats y = load<Floats>(tile + i * W);
        const Ints number = Ints{} + int32_t(i + 1);
        for (int r = 0; r < N; ++r) {
            const Floats z = x[r * p.dim() + i] - y;
            const Ints larger = z > largest[r];
            largest[r] = larger ? z : largest[r];
            if (winner) won[r] = larger ? number : won[r];
        }
    }
    for (int r = 0; r < N; ++r) {
        best[r] = largest[r];
        if (winner) store(winner + r * W, __builtin_convertvector(won[r], Bytes));
    }
}

// The sum of squares of x - y over a chunk's second half, for N rows.
template <int N>
void squares(const float* x, const float* tile, const Problem& p, Floats* result) {
    Floats total[N] = {};
    for (int64_t i = p.half; i < p.chunk(); ++i) {
        const Floats y = load<Floats>(tile + i * W);
        for (int r = 0; r < N; ++r) {
            const Floats z = x[r * p.dim() + i] - y;
            total[r] += z * z;
        }
    }
    for (int r = 0; r < N; ++r) result[r] = total[r];
}

// Adds the gradient of N rows and one tile to `grad_x`, (N, chunk) sums by lane, and to `grad_tile`.
template <int N>
void add_gradient(const float* x, const float* tile, const Problem& p, const Floats* grad, const uint8_t* winner,
                  Floats* grad_x, float* grad_tile) {
    Ints won[N];
    for (int r = 0; r < N; ++r) won[r] = __builtin_convertvector(load<Bytes>(winner + r * W), Ints);
    for (int64_t i = 0; i < p.half; ++i) {
        const Ints number = Ints{} + int32_t(i + 1);
        Floats column = load<Floats>(grad_tile + i * W);
        for (int r = 0; r < N; ++r) {
            const Ints won_here = won[r] == number;
            Floats& sums = grad_x[r * p.chunk() + i];
            sums = won_here ? sums + grad[r] : sums;
            column = won_here ? column - grad[r] : column;
        }
        store(grad_tile + i * W, column);
    }
    Floats weight[N];
    squares<N>(x, tile, p, weight);
    for (int r = 0; r < N; ++r) {
        const Floats norm = square_root(weight[r] + p.smoothing);
        weight[r] = norm > 0.0f ? grad[r] / norm : Floats{};
    }
    for (int64_t i = p.half; i < p.chunk(); ++i) {
        const Floats y = load<Floats>(tile + i * W);
        Floats column = load<Floats>(grad_tile + i * W);
        for (int r = 0; r < N; ++r) {
            const Floats z = x[r * p.dim() + i] - y;
            grad_x[r * p.chunk() + i] += weight[r] * z;
            column -= weight[r] * z;
        }
        store(grad_tile + i * W, column);
    }
}

}  // namespace

extern "C" {

int mrn_lanes() { return W; }

// x (E, B, D), y (E, C, D) -> distance (E, B, C): the sum over the components, times scale. `winner` is null, or takes
// (E, K, B, tiles * W) bytes for mrn_backward.
void mrn_forward(const float* x, const float* y, int64_t members, int64_t rows, int64_t columns, int64_t components,
                 int64_t half, float smoothing, float scale, float* distance, uint8_t* winner, int threads) {
    const Problem p{members, rows, columns, components, half, smoothing, scale};
    const std::vector<float> tiles = pack(y, p, threads);
    const std::vector<float> row_marks = marks(x, members * rows, p), column_marks = marks(y, members * columns, p);
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t e = 0; e < members; ++e)
        for (int64_t t = 0; t < p.tiles(); ++t) {
            Floats mark = {};
            std::memcpy(&mark, column_marks.data() + e * columns + t * W, p.width(t) * sizeof(float));
            in_blocks(rows, [&](int64_t b, auto count) {
                constexpr int N = decltype(count)::value;
                Floats total[N] = {};
                for (int64_t k = 0; k < components; ++k) {
                    const float* from = x + (e * rows + b) * p.dim() + k * p.chunk();
                    const float* tile = tiles.data() + p.packed(e, k, t);
                    Floats asymmetric[N], symmetric[N];
                    if (winner)
                        positive_max<N>(from, tile, p, asymmetric, winner + p.winners(e, k, b, t, N));
                    else
                        positive_max<N>(from, tile, p, asymmetric, nullptr);
                    squares<N>(from, tile, p, symmetric);
                    for (int r = 0; r < N; ++r) total[r] += asymmetric[r] + square_root(symmetric[r] + smoothing);
                }
                for (int r = 0; r < N; ++r) {
                    const Floats scaled = total[r] * scale + row_marks[e * rows + b + r] + mark;
                    std::memcpy(distance + (e * rows + b + r) * columns + t * W, &scaled, p.width(t) * sizeof(float));
                }
            });
        }
}

// grad (E, B, C) -> grad_x (E, B, D) and grad_y (E, C, D); `winner` is what mrn_forward wrote.
void mrn_backward(const float* x, const float* y, const float* grad, const uint8_t* winner, int64_t members,
                  int64_t rows, int64_t columns, int64_t components, int64_t half, float smoothing, float scale,
                  float* grad_x, float* grad_y, int threads) {
    const Problem p{members, rows, columns, components, half, smoothing, scale};
    const int64_t chunk = p.chunk(), dim = p.dim();
    const std::vector<float> tiles = pack(y, p, threads);
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t e = 0; e < members; ++e)
        for (int64_t k = 0; k < components; ++k) {
            std::vector<float> grad_tiles(p.tiles() * chunk * W, 0.0f);
            std::vector<Floats> sums(R * chunk);
            in_blocks(rows, [&](int64_t b, auto count) {
                constexpr int N = decltype(count)::value;
                std::fill(sums.begin(), sums.end(), Floats{});
                for (int64_t t = 0; t < p.tiles(); ++t) {
                    Floats shares[N] = {};  // lanes past the last column have no gradient
                    for (int r = 0; r < N; ++r) {
                        std::memcpy(&shares[r], grad + (e * rows + b + r) * columns + t * W,
                                    p.width(t) * sizeof(float));
                        shares[r] *= scale;
                    }
                    add_gradient<N>(x + (e * rows + b) * dim + k * chunk, tiles.data() + p.packed(e, k, t), p, shares,
                                    winner + p.winners(e, k, b, t, N), sums.data(), grad_tiles.data() + t * chunk * W);
                }
                for (int r = 0; r < N; ++r)
                    for (int64_t i = 0; i < chunk; ++i)
                        grad_x[(e * rows + b + r) * dim + k * chunk + i] = sum(sums[r * chunk + i]);
            });
            for (int64_t c = 0; c < columns; ++c)
                for (int64_t i = 0; i < chunk; ++i)
                    grad_y[(e * columns + c) * dim + k * chunk + i] = grad_tiles[(c / W * chunk + i) * W + c % W];
        }
}
}

/* state_primal.c - ridge from n, s and G: the factor of A = G' + lambda I moves with each example, the weights with it.
 *
 * A = L D L^T lies in panels of four columns: tiles of four rows and four columns from the diagonal down, each column
 * by column; rows are filled up to whole tiles (L 0, D 1). A + a u u^T by Gill, Golub, Murray and Saunders (1974, method
 * C1): with L p = u, for each column d' = d + a p^2, b = a p / d', a' = a d / d', and below it w -= p l, l += b w. Then
 * a A^-1 u with the new A, the gain, is L^-T b with the new L: forward and back once, and no solve for each class. */
#include "state.h"

#include <string.h>

#define TILE 16u  /* numbers of a tile */
#define WIDE 16u  /* panels that go to the right of them together: what they change is read and written once for all */

static uint32_t tiles_of(uint32_t dim)
{
    return (dim + 3u) / 4u;
}

static void lay_out(em_state *self, em_walk *walk)
{
    size_t tiles = tiles_of(self->options.dim);
    em_ridge_lay_out(self, walk);
    self->factor = em_walk_take(walk, em_times(tiles, tiles + 1u) / 2u, TILE * sizeof(double));
    self->along = em_walk_take(walk, 4u * tiles, sizeof(double));
    self->step = em_walk_take(walk, 4u * tiles, sizeof(double));
}

static int room(const em_state *self, uint32_t count)
{
    (void)self;
    (void)count;
    return EM_OK;
}

static int few(const em_state *self, uint32_t count)
{
    return count == 1 || count <= self->options.dim / 64u;
}

/* The tile on the diagonal of a panel; those below follow. */
static double *panel(const em_state *self, uint32_t j)
{
    size_t tiles = tiles_of(self->options.dim), k = j;
    return self->factor + TILE * (k * tiles - k * (k - 1u) / 2u);
}

/* The lower triangle of A. The examples are taken from r, the mean on the grid, because then all that is large is
 * exact: sum (z - r)(z - r)^T = G - s r^T - r (s - N r)^T, and what is left of the mean is below the grid. */
static void fill(em_state *self)
{
    const double *moment = em_statistics_tiles(self->statistics);
    double *r = self->step, *left = self->along, *to = self->factor, n = self->total;
    uint32_t dim = self->options.dim, tiles = tiles_of(dim);
    for (uint32_t i = 0; i < 4 * tiles; i++) {
        double q = i < dim ? self->whole[i] / n * EM_Q20 : 0.0;
        r[i] = (double)(int32_t)(q < 0.0 ? q - 0.5 : q + 0.5) * (1.0 / EM_Q20);
        left[i] = i < dim ? self->whole[i] - n * r[i] : 0.0;
    }
    for (uint32_t j = 0; j < 4 * tiles; j += 4)
        for (uint32_t i = j; i < 4 * tiles; i += 4, to += TILE) {
            size_t above = i / 8u;
            const double *from = moment + 32u * (above * (above + 1u) + j / 4u) + i % 8u * 4u;
            for (uint32_t k = 0; k < TILE; k++) {
                uint32_t row = i + k % 4u, column = j + k / 4u;
                double sum = row < dim ? self->whole[row] : 0.0;
                to[k] = from[k % 4u * 4u + k / 4u] - sum * r[column] - r[row] * left[column];
                to[k] -= left[row] * left[column] / n;
                if (row == column)
                    to[k] = row < dim ? to[k] + self->lambda : 1.0;
            }
        }
}

/* Panel j less what panels `from` to `end` - 1 left of it have to do with it. */
static void reduce(em_state *self, uint32_t j, uint32_t from, uint32_t end)
{
    const double *left[WIDE];
    double by[WIDE * TILE];
    uint32_t depth = end - from;
    for (uint32_t k = 0; k < depth; k++) {
        const double *diagonal = panel(self, from + k);
        left[k] = diagonal + TILE * (j - from - k);
        for (uint32_t i = 0; i < TILE; i++)
            by[TILE * k + i] = left[k][i] * diagonal[i / 4u * 5u];
    }
    self->kernels->ldl->panel(panel(self, j), tiles_of(self->options.dim) - j, left, by, depth);
}

/* A panel that is reduced to L and D. No d is below lambda, but for rounding. */
static void finish(em_state *self, uint32_t j)
{
    uint32_t rows = 4u * (tiles_of(self->options.dim) - j);
    double *diagonal = panel(self, j);
    for (uint32_t c = 0; c < 4; c++) {
        double d = diagonal[5u * c];
        if (4u * j + c < self->options.dim && !(d > self->lambda))
            diagonal[5u * c] = d = self->lambda;
        for (uint32_t i = c + 1u; i < rows; i++) {
            double *tile = diagonal + TILE * (i / 4u) + i % 4u;
            double l = tile[4u * c] / d;
            for (uint32_t k = c + 1u; k < 4 && (i >= 4 || k <= i); k++)
                tile[4u * k] -= l * (i < 4 && k == i ? tile[4u * c] : diagonal[4u * c + k] * d);
            tile[4u * c] = l;
        }
    }
}

static void factorise(em_state *self)
{
    uint32_t tiles = tiles_of(self->options.dim);
    for (uint32_t from = 0; from < tiles; from += WIDE)
        for (uint32_t j = from; j < tiles; j++) {
            uint32_t end = j < from + WIDE ? j : from + WIDE;
            if (end > from)
                reduce(self, j, from, end);
            if (j < from + WIDE)
                finish(self, j);
        }
}

/* L L^T without the diagonal: L x = w, in place. */
static void forward(em_state *self, double *w)
{
    static const double nothing[4] = {0};
    uint32_t tiles = tiles_of(self->options.dim);
    for (uint32_t j = 0; j < tiles; j++, w += 4) {
        double *diagonal = panel(self, j);
        for (uint32_t c = 0; c < 4; c++)
            for (uint32_t r = c + 1u; r < 4; r++)
                w[r] -= diagonal[4u * c + r] * w[c];
        self->kernels->ldl->change(diagonal + TILE, tiles - j - 1u, w, nothing, w + 4);
    }
}

static void backward(em_state *self, double *b)
{
    double below[4];
    for (uint32_t j = tiles_of(self->options.dim); j-- > 0;) {
        const double *diagonal = panel(self, j);
        double *x = b + 4u * j;
        self->kernels->ldl->dot(diagonal + TILE, tiles_of(self->options.dim) - j - 1u, x + 4, below);
        for (uint32_t c = 4; c-- > 0;) {
            x[c] -= below[c];
            for (uint32_t r = c + 1u; r < 4; r++)
                x[c] -= diagonal[4u * c + r] * x[r];
        }
    }
}

static void fit_class(em_state *self, uint32_t of_class)
{
    uint32_t dim = self->options.dim;
    const double *sum = em_statistics_sum(self->statistics, of_class);
    double count = em_statistics_count(self->statistics, of_class), *w = self->along;
    memset(w, 0, 4u * tiles_of(dim) * sizeof *w);
    for (uint32_t i = 0; i < dim; i++)
        w[i] = sum[i] - count / self->total * self->whole[i];
    forward(self, w);
    for (uint32_t i = 0; i < dim; i++)
        w[i] /= panel(self, i / 4u)[i % 4u * 5u];
    backward(self, w);
    memcpy(self->weights + (size_t)of_class * dim, w, dim * sizeof *w);
}

/* What is left of A without examples. */
static void begin(em_state *self)
{
    uint32_t dim = self->options.dim, tiles = tiles_of(dim);
    memset(self->factor, 0, (size_t)tiles * (tiles + 1u) / 2u * TILE * sizeof *self->factor);
    for (uint32_t i = 0; i < 4 * tiles; i++)
        panel(self, i / 4u)[i % 4u * 5u] = i < dim ? self->lambda : 1.0;
}

static void refit(em_state *self)
{
    uint32_t dim = self->options.dim, classes = self->options.classes;
    self->lambda = em_ridge_lambda(self, (self->total + 1.0) * dim);
    self->changes = 0;
    memset(self->weights, 0, (size_t)classes * dim * sizeof *self->weights);
    if (self->total == 0) {
        begin(self);
    } else {
        fill(self);
        factorise(self);
        for (uint32_t c = 0; c < classes; c++)
            if (em_statistics_count(self->statistics, c) > 0)
                fit_class(self, c);
        /* A removal of what was never there leaves an A that no examples have. */
        if (!em_finite(self->weights, (size_t)classes * dim))
            memset(self->weights, 0, (size_t)classes * dim * sizeof *self->weights);
    }
    em_ridge_quicken(self);
}

/* One tile on the diagonal, as the kernel does those below it; *a goes on to the next. Are all d above `least`? */
static int change_diagonal(double *diagonal, double *w, double *b, double *a, double least)
{
    for (uint32_t c = 0; c < 4; c++) {
        double d = diagonal[5u * c], p = w[c], now = d + *a * p * p;
        if (!(now > least))
            return 0;
        b[c] = *a * p / now;
        *a *= d / now;
        diagonal[5u * c] = now;
        for (uint32_t r = c + 1u; r < 4; r++) {
            w[r] -= p * diagonal[4u * c + r];
            diagonal[4u * c + r] += b[c] * w[r];
        }
    }
    return 1;
}

/* A += a u u^T, u in self->along (which is spoiled); the gain into self->step. 0 where digits were lost. */
static int change(em_state *self, double a)
{
    uint32_t tiles = tiles_of(self->options.dim);
    double least = self->lambda < 1.0 ? 0.999 * self->lambda : 0.999;
    for (uint32_t j = 0; j < tiles; j++) {
        double *diagonal = panel(self, j), *w = self->along + 4u * j, *b = self->step + 4u * j;
        if (!change_diagonal(diagonal, w, b, &a, least))
            return 0;
        self->kernels->ldl->change(diagonal + TILE, tiles - j - 1u, w, b, w + 4);
    }
    backward(self, self->step);
    return 1;
}

/* A fit from time to time keeps rounding from adding up; as seldom as this it costs less than the changes. */
static int is_due(em_state *self)
{
    return self->changes++ >= 16u + self->options.dim;
}

/* One more (sign 1) or one less (-1). */
static void learn(em_state *self, uint32_t of_class, const int32_t *q20, int sign)
{
    uint32_t dim = self->options.dim;
    double n = self->total, *u = self->along;
    memset(u + dim, 0, (4u * tiles_of(dim) - dim) * sizeof *u);
    self->kernels->state->widen(q20, n > 0.0 ? 1.0 / n : 0.0, self->whole, u, dim);
    em_ridge_errors(self, of_class, q20);
    em_ridge_count(self, of_class, q20, sign);
    if (self->total == 0 || is_due(self) || !change(self, n / (sign > 0 ? n + 1.0 : 1.0 - n)))
        refit(self);
    else
        em_ridge_move(self, 1.0, self->step);
}

static void put(em_state *self, uint32_t of_class, const int32_t *q20)
{
    em_ridge_count(self, of_class, q20, 1);
}

static void add(em_state *self, uint32_t of_class, const int32_t *q20)
{
    learn(self, of_class, q20, 1);
}

static int take_back(em_state *self, uint32_t of_class, const int32_t *q20)
{
    learn(self, of_class, q20, -1);
    return EM_OK;
}

const struct em_state_kind_of em_state_primal = {lay_out, room, few, put, add, take_back, refit, em_ridge_row};

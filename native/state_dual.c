/* state_dual.c - ridge from the examples it holds: the Cholesky factor L of K + lambda I grows by a row with each.
 *
 * K = Z Z^T with z taken from an origin r on the grid, near the mean: its numbers are exact, and a common mean that is
 * large against lambda costs no digits. The free bias borders it: M = [[K + lambda I, 1], [1^T, 0]],
 * M [alpha; b] = [y; 0], W = alpha^T Z, whatever r is, since the alphas of a class add up to 0.
 * With u = (K + lambda I)^-1 1:
 *   an example x more, kappa = Z x: v = (K + lambda I)^-1 kappa, h = M^-1 [kappa; 1] = [v - h_b u; h_b],
 *     h_b = (1^T v - 1) / 1^T u; what is left is s = x x + lambda - kappa^T h - h_b, never below lambda;
 *     W += e (x - Z^T h)^T / s, e its error
 *   example i less: column i of M^-1 is g = c - u u_i / 1^T u, c = (K + lambda I)^-1 e_i; alpha_i = the sums of g over
 *     the examples of each class; W -= alpha_i (Z^T g)^T / g_i. */
#include "state.h"

#include <string.h>

#define UNIT (1.0 / EM_Q20)
#define SQRT(x) __builtin_sqrt(x)

static void lay_out(em_state *self, em_walk *walk)
{
    size_t room = self->options.examples, dim = self->options.dim;
    em_ridge_lay_out(self, walk);
    self->held = em_walk_take(walk, em_times(room, dim), sizeof(int32_t));
    self->slots = em_walk_take(walk, room, sizeof(uint32_t));
    self->classes = em_walk_take(walk, room, sizeof(uint32_t));
    self->factor = em_walk_take(walk, em_times(room, room + 1u) / 2u, sizeof(double));
    self->origin = em_walk_take(walk, dim, sizeof(int32_t));
    self->off = em_walk_take(walk, dim, sizeof(int32_t));
    self->ones = em_walk_take(walk, room, sizeof(double));
    self->along = em_walk_take(walk, room, sizeof(double));
    self->turns = em_walk_take(walk, em_times(2, room), sizeof(double));
    self->step = em_walk_take(walk, dim, sizeof(double));
}

static int room(const em_state *self, uint32_t count)
{
    return count > self->options.examples - self->total ? EM_ERR_FULL : EM_OK;
}

static int few(const em_state *self, uint32_t count)
{
    return count == 1 || count <= self->total / 8u;
}

/* Row i of L: i numbers, then 1 / its diagonal. */
static double *row_of(const em_state *self, uint32_t i)
{
    return self->factor + (size_t)i * (i + 1u) / 2u;
}

static const int32_t *example(const em_state *self, uint32_t position)
{
    return self->held + (size_t)self->slots[position] * self->options.dim;
}

/* Four rows from `position` on, and how many there are: the first n examples, then two others. The last is there again
 * for those that are missing. */
static uint32_t four(const em_state *self, uint32_t position, uint32_t n, const int32_t *const *others, uint32_t end,
                     const int32_t **rows)
{
    uint32_t now = end - position < 4 ? end - position : 4;
    for (uint32_t r = 0; r < 4; r++) {
        uint32_t i = position + (r < now ? r : now - 1u);
        rows[r] = i < n ? example(self, i) : others[i - n];
    }
    return now;
}

/* out[i] = (z_i - r) (x - r) of the first n examples, exact; returns the square of x - r, which is left in self->off.
 * Room for n + 2. */
static double products(em_state *self, uint32_t n, const int32_t *q20, double *out)
{
    uint32_t dim = self->options.dim;
    const int32_t *rows[4], *others[2] = {self->origin, self->off};
    double sums[4], common;
    for (uint32_t i = 0; i < dim; i++)
        self->off[i] = q20[i] - self->origin[i];
    for (uint32_t i = 0; i < n + 2u; i += 4) {
        uint32_t now = four(self, i, n, others, n + 2u, rows);
        self->kernels->state->rows_dot(rows, self->off, dim, sums);
        memcpy(out + i, sums, now * sizeof *sums);
    }
    common = out[n];
    for (uint32_t i = 0; i < n; i++)
        out[i] = (out[i] - common) * (UNIT * UNIT);
    return out[n + 1u] * (UNIT * UNIT);
}

/* out = sum of factor * a_i z_i, and x. */
static void mix(const em_state *self, uint32_t n, double factor, const double *a, const int32_t *x, double *out)
{
    const int32_t *rows[4], *others[1] = {x};
    uint32_t end = n + (x != NULL);
    memset(out, 0, self->options.dim * sizeof *out);
    for (uint32_t i = (end + 3u) / 4u * 4u; i > 0;) { /* backwards: the last examples are in the cache still */
        double some[4] = {0};
        uint32_t now = four(self, i -= 4, n, others, end, rows);
        for (uint32_t r = 0; r < now; r++)
            some[r] = i + r < n ? factor * a[i + r] * UNIT : UNIT;
        self->kernels->state->rows_mix(some, rows, out, self->options.dim);
    }
}

/* L x = b in place, n numbers of which those before `from` are 0. */
static void forward(const em_state *self, uint32_t from, uint32_t n, double *b)
{
    for (uint32_t i = from; i < n; i++) {
        const double *row = row_of(self, i);
        b[i] = (b[i] - self->kernels->dot64(row + from, b + from, i - from)) * row[i];
    }
}

static void backward(const em_state *self, uint32_t n, double *b)
{
    for (uint32_t i = n; i-- > 0;) {
        const double *row = row_of(self, i);
        b[i] *= row[i];
        self->kernels->axpy64(-b[i], row, b, i);
    }
}

static double sum_of(const double *a, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += a[i];
    return sum;
}

/* Row n of L, from the products with those before in it already, and the square. Returns the square of its diagonal. */
static double append(em_state *self, uint32_t n, double square)
{
    double *row = row_of(self, n), pivot;
    forward(self, 0, n, row);
    pivot = square + self->lambda - self->kernels->dot64(row, row, n);
    row[n] = 1.0 / SQRT(pivot > self->lambda ? pivot : self->lambda); /* no pivot is below lambda, but for rounding */
    return pivot;
}

static void keep(em_state *self, uint32_t of_class, const int32_t *q20)
{
    uint32_t position = self->total;
    memcpy(self->held + (size_t)self->slots[position] * self->options.dim, q20, self->options.dim * sizeof *q20);
    self->classes[position] = of_class;
    em_ridge_count(self, of_class, q20, 1);
}

/* The mean, to the grid. */
static void find_origin(em_state *self)
{
    for (uint32_t i = 0; i < self->options.dim; i++) {
        double q = self->total > 0 ? self->whole[i] / self->total * EM_Q20 : 0.0;
        self->origin[i] = (int32_t)(q < 0.0 ? q - 0.5 : q + 0.5);
    }
}

/* alpha = (K + lambda I)^-1 y - what makes them add up to 0, and with them a class's weights. */
static void fit_class(em_state *self, uint32_t of_class, double all)
{
    double *row = self->weights + (size_t)of_class * self->options.dim;
    for (uint32_t i = 0; i < self->total; i++)
        self->along[i] = self->classes[i] == of_class ? 1.0 : 0.0;
    forward(self, 0, self->total, self->along);
    backward(self, self->total, self->along);
    self->kernels->axpy64(-sum_of(self->along, self->total) / all, self->ones, self->along, self->total);
    mix(self, self->total, 1.0, self->along, NULL, row);
}

static void refit(em_state *self)
{
    uint32_t n = self->total, dim = self->options.dim;
    double all, size = self->options.examples + 1.0;
    self->lambda = em_ridge_lambda(self, size * size);
    for (uint32_t i = 0; n == 0 && i < self->options.examples; i++)
        self->slots[i] = i;
    find_origin(self);
    for (uint32_t i = 0; i < n; i++) {
        double square = products(self, i, example(self, i), self->turns);
        memcpy(row_of(self, i), self->turns, i * sizeof *self->turns);
        append(self, i, square);
        self->ones[i] = 1.0;
    }
    forward(self, 0, n, self->ones);
    backward(self, n, self->ones);
    all = sum_of(self->ones, n);
    memset(self->weights, 0, (size_t)self->options.classes * dim * sizeof *self->weights);
    for (uint32_t c = 0; c < self->options.classes; c++)
        if (em_statistics_count(self->statistics, c) > 0)
            fit_class(self, c, all);
    self->changes = 0;
    em_ridge_quicken(self);
}

/* A fit from time to time keeps rounding from adding up; as seldom as this it costs less than the changes. */
static int is_due(em_state *self)
{
    return self->changes++ >= 64u + self->total / 2u;
}

static void add(em_state *self, uint32_t of_class, const int32_t *q20)
{
    uint32_t n = self->total;
    double *v = self->along, *kappa = self->turns, square, pivot, bias, rest, last;
    if (n == 0 || is_due(self)) {
        keep(self, of_class, q20);
        refit(self);
        return;
    }
    em_ridge_errors(self, of_class, q20);
    square = products(self, n, q20, kappa);
    memcpy(row_of(self, n), kappa, n * sizeof *kappa);
    pivot = append(self, n, square);
    memcpy(v, row_of(self, n), n * sizeof *v);
    backward(self, n, v);
    bias = (sum_of(v, n) - 1.0) / sum_of(self->ones, n);
    last = (1.0 - self->kernels->dot64(kappa, self->ones, n)) / pivot;
    for (uint32_t i = 0; i < n; i++) {
        double one = self->ones[i];
        self->ones[i] -= last * v[i];
        v[i] -= bias * one;
    }
    self->ones[n] = last;
    rest = square + self->lambda - self->kernels->dot64(kappa, v, n) - bias;
    mix(self, n, -1.0, v, q20, self->step);
    keep(self, of_class, q20);
    if (rest > 0.999 * self->lambda && pivot > 0.999 * self->lambda)
        em_ridge_move(self, 1.0 / rest, self->step);
    else
        refit(self);
}

/* L without row and column i: what the column had goes to the rows below by rotations. */
static void drop_row(em_state *self, uint32_t i)
{
    double *cosines = self->turns, *sines = cosines + self->options.examples;
    for (uint32_t r = i + 1u; r < self->total; r++) {
        const double *row = row_of(self, r);
        double *to = row_of(self, r - 1u), left = row[i], diagonal = 1.0 / row[r], length;
        memmove(to, row, i * sizeof *to);
        for (uint32_t k = i + 1u; k < r; k++) {
            double here = row[k];
            to[k - 1u] = cosines[k] * here + sines[k] * left;
            left = cosines[k] * left - sines[k] * here;
        }
        length = SQRT(diagonal * diagonal + left * left);
        cosines[r] = diagonal / length;
        sines[r] = left / length;
        to[r - 1u] = 1.0 / length;
    }
}

/* Position i is gone, its slot free. */
static void drop(em_state *self, uint32_t i)
{
    uint32_t slot = self->slots[i], of_class = self->classes[i], behind = self->total - 1u - i;
    em_ridge_count(self, of_class, self->held + (size_t)slot * self->options.dim, -1);
    memmove(self->slots + i, self->slots + i + 1u, behind * sizeof *self->slots);
    memmove(self->classes + i, self->classes + i + 1u, behind * sizeof *self->classes);
    memmove(self->ones + i, self->ones + i + 1u, behind * sizeof *self->ones);
    self->slots[self->total] = slot;
}

static uint32_t find(const em_state *self, uint32_t of_class, const int32_t *q20)
{
    uint32_t i = 0;
    while (i < self->total && (self->classes[i] != of_class ||
                               memcmp(example(self, i), q20, self->options.dim * sizeof *q20) != 0))
        i++;
    return i;
}

/* The weights without example i, in self->errors and self->step; and u without it. Returns the factor of the move. */
static double leave(em_state *self, uint32_t i)
{
    uint32_t n = self->total;
    double *c = self->along, share = self->ones[i] / sum_of(self->ones, n), of_u;
    memset(c, 0, n * sizeof *c);
    c[i] = 1.0;
    forward(self, i, n, c);
    backward(self, n, c);
    of_u = self->ones[i] / c[i];
    memset(self->errors, 0, self->options.classes * sizeof *self->errors);
    for (uint32_t k = 0; k < n; k++) {
        double one = self->ones[k];
        self->ones[k] -= of_u * c[k];
        c[k] -= share * one;
        self->errors[self->classes[k]] += c[k];
    }
    mix(self, n, 1.0, c, NULL, self->step);
    return -1.0 / c[i];
}

static int take_back(em_state *self, uint32_t of_class, const int32_t *q20)
{
    uint32_t i = find(self, of_class, q20);
    double factor;
    if (i == self->total)
        return EM_ERR_NOT_FOUND;
    if (self->total <= 2 || is_due(self)) {
        drop(self, i);
        refit(self);
        return EM_OK;
    }
    factor = leave(self, i);
    drop_row(self, i);
    drop(self, i);
    if (factor < 0.0 && -factor * 0.0 == 0.0)
        em_ridge_move(self, factor, self->step);
    else
        refit(self);
    return EM_OK;
}

const struct em_state_kind_of em_state_dual = {lay_out, room, few, keep, add, take_back, refit, em_ridge_row};

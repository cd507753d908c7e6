/* state_ridge.c - what both kinds of ridge state share. With z' = z - m and y' = y - mean(y), the weights
 * W = Y'^T Z' A^-1, A = Z'^T Z' + lambda I, are moved by one example z of target y (m, mean(y), W as they were before):
 *     added:   A += a u u^T, u = z - m, a = N / (N + 1);   W += (y - mean(y) - W u) k^T, k = a A^-1 u with the new A
 *     removed: A -= a u u^T, a = N / (N - 1);              W -= (y - mean(y) - W u) k^T
 * because Y'^T Z' changes by a (y - mean(y)) u^T. `balance` multiplies a class's targets, and so its weights, by a
 * number that changes with its count: it comes in where weights go out. */
#include "state.h"

#include <float.h>
#include <string.h>

void em_ridge_lay_out(em_state *self, em_walk *walk)
{
    uint32_t dim = self->options.dim, classes = self->options.classes;
    self->weights = em_walk_take(walk, em_times(classes, dim), sizeof(double));
    self->biases = em_walk_take(walk, classes, sizeof(double));
    self->errors = em_walk_take(walk, classes, sizeof(double));
    self->whole = em_walk_take(walk, dim, sizeof(double));
}

void em_ridge_clear(em_state *self)
{
    memset(self->whole, 0, self->options.dim * sizeof *self->whole);
}

double em_ridge_lambda(const em_state *self, double size)
{
    double smallest = 16.0 * DBL_EPSILON * size;
    return self->options.lambda > smallest ? self->options.lambda : smallest;
}

void em_ridge_count(em_state *self, uint32_t of_class, const int32_t *q20, int sign)
{
    uint32_t dim = self->options.dim;
    const double *z = em_statistics_change(self->statistics, of_class, q20, 1, sign > 0);
    self->total = sign > 0 ? self->total + 1u : self->total - 1u;
    self->kernels->axpy64(sign, z, self->whole, dim);
    if (em_statistics_count(self->statistics, of_class) == 0) { /* as they are but for rounding */
        memset(self->weights + (size_t)of_class * dim, 0, dim * sizeof *self->weights);
        memset(self->quick + (size_t)of_class * dim, 0, dim * sizeof *self->quick);
    }
}

void em_ridge_errors(em_state *self, uint32_t of_class, const int32_t *q20)
{
    uint32_t dim = self->options.dim;
    self->kernels->state->widen(q20, 0.0, self->whole, self->row, dim);
    for (uint32_t c = 0; c < self->options.classes; c++) {
        self->errors[c] = (c == of_class ? 1.0 : 0.0) - self->biases[c];
        if (em_statistics_count(self->statistics, c) > 0)
            self->errors[c] -= self->kernels->dot64(self->weights + (size_t)c * dim, self->row, dim);
    }
}

/* The one number in a class's targets that is not zero. */
static double target(const em_state *self, uint32_t count)
{
    return self->options.balance ? 1.0 / count : 1.0;
}

void em_ridge_move(em_state *self, double factor, const double *step)
{
    uint32_t dim = self->options.dim;
    for (uint32_t c = 0; c < self->options.classes; c++) {
        uint32_t count = em_statistics_count(self->statistics, c);
        size_t at = (size_t)c * dim;
        double along;
        self->biases[c] = 0.0;
        self->bias[c] = -EM_INFINITY;
        if (count == 0)
            continue;
        along = self->kernels->state->move(factor * self->errors[c], step, self->weights + at, target(self, count),
                                           self->quick + at, self->whole, dim);
        self->biases[c] = (count - along) / self->total;
        self->bias[c] = (float)(target(self, count) * self->biases[c]);
    }
}

void em_ridge_quicken(em_state *self)
{
    memset(self->errors, 0, self->options.classes * sizeof *self->errors);
    em_ridge_move(self, 0.0, self->whole);
}

double em_ridge_row(const em_state *self, uint32_t of_class, double *row)
{
    uint32_t dim = self->options.dim, count = em_statistics_count(self->statistics, of_class);
    for (uint32_t i = 0; i < dim; i++)
        row[i] = target(self, count) * self->weights[(size_t)of_class * dim + i];
    return target(self, count) * self->biases[of_class];
}

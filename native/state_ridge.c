/* state_ridge.c - what both kinds of ridge state share. With z' = z - m and y' = y - mean(y), the weights W = Y'^T Z' A^-1,
 * A = Z'^T Z' + lambda I, are moved by one example z of target y (with m, mean(y) and W as they were before):
 *     added:   A += a u u^T, u = z - m, a = N / (N + 1);   W += (y - mean(y) - W u) k^T, k = a A^-1 u with the new A
 *     removed: A -= a u u^T, a = N / (N - 1);              W -= (y - mean(y) - W u) k^T
 * because Y'^T Z' changes by a (y - mean(y)) u^T. `balance` multiplies a class's targets, and so its weights, by a number
 * that changes with its count: it comes in where weights go out. */
#include "state.h"

#include <float.h>
#include <string.h>

void em_ridge_lay_out(em_state *self, em_walk *walk)
{
    uint32_t dim = self->options.dim, classes = self->options.classes;
    self->weights = em_walk_take(walk, em_times(classes, dim), sizeof(double));
    self->whole = em_walk_take(walk, dim, sizeof(double));
    self->mean = em_walk_take(walk, dim, sizeof(double));
    self->errors = em_walk_take(walk, classes, sizeof(double));
}

double em_ridge_lambda(const em_state *self, double size)
{
    double smallest = 16.0 * DBL_EPSILON * size;
    return self->options.lambda > smallest ? self->options.lambda : smallest;
}

void em_ridge_clear(em_state *self)
{
    memset(self->whole, 0, self->options.dim * sizeof *self->whole);
    memset(self->mean, 0, self->options.dim * sizeof *self->mean);
}

void em_ridge_more(em_state *self, const double *sum, double sign)
{
    double per = self->total > 0 ? 1.0 / self->total : 0.0;
    for (uint32_t i = 0; i < self->options.dim; i++) {
        self->whole[i] += sign * sum[i];
        self->mean[i] = self->whole[i] * per;
    }
}

void em_ridge_count(em_state *self, uint32_t of_class, const int32_t *q20, int sign)
{
    uint32_t dim = self->options.dim;
    if (sign > 0)
        em_statistics_add(self->statistics, of_class, q20, 1);
    else
        em_statistics_remove(self->statistics, of_class, q20, 1);
    self->total = sign > 0 ? self->total + 1u : self->total - 1u;
    for (uint32_t i = 0; i < dim; i++)
        self->row[i] = q20[i] * (1.0 / EM_Q20);
    em_ridge_more(self, self->row, sign);
    if (em_statistics_count(self->statistics, of_class) == 0) /* as they are but for rounding */
        memset(self->weights + (size_t)of_class * dim, 0, dim * sizeof *self->weights);
}

void em_ridge_errors(em_state *self, uint32_t of_class, const double *off)
{
    uint32_t dim = self->options.dim;
    for (uint32_t c = 0; c < self->options.classes; c++) {
        uint32_t count = em_statistics_count(self->statistics, c);
        double share = self->total > 0 ? (double)count / self->total : 0.0;
        self->errors[c] = (c == of_class ? 1.0 : 0.0) - share;
        if (count > 0)
            self->errors[c] -= self->kernels->dot64(self->weights + (size_t)c * dim, off, dim);
    }
}

void em_ridge_move(em_state *self, double factor, const double *step)
{
    uint32_t dim = self->options.dim;
    for (uint32_t c = 0; c < self->options.classes; c++)
        if (em_statistics_count(self->statistics, c) > 0)
            self->kernels->axpy64(factor * self->errors[c], step, self->weights + (size_t)c * dim, dim);
    em_ridge_quicken(self);
}

/* The one number in a class's targets that is not zero. */
static double target(const em_state *self, uint32_t count)
{
    return self->options.balance ? 1.0 / count : 1.0;
}

static double bias(const em_state *self, uint32_t of_class, uint32_t count)
{
    uint32_t dim = self->options.dim;
    double along = self->kernels->dot64(self->weights + (size_t)of_class * dim, self->mean, dim);
    return target(self, count) * ((double)count / self->total - along);
}

void em_ridge_quicken(em_state *self)
{
    uint32_t dim = self->options.dim;
    for (uint32_t c = 0; c < self->options.classes; c++) {
        uint32_t count = em_statistics_count(self->statistics, c);
        const double *row = self->weights + (size_t)c * dim;
        float *quick = self->quick + (size_t)c * dim;
        double scale = count > 0 ? target(self, count) : 0.0;
        self->bias[c] = count > 0 ? (float)bias(self, c, count) : -EM_INFINITY;
        for (uint32_t i = 0; i < dim; i++)
            quick[i] = (float)(scale * row[i]);
    }
}

double em_ridge_row(const em_state *self, uint32_t of_class, double *row)
{
    uint32_t dim = self->options.dim, count = em_statistics_count(self->statistics, of_class);
    for (uint32_t i = 0; i < dim; i++)
        row[i] = target(self, count) * self->weights[(size_t)of_class * dim + i];
    return bias(self, of_class, count);
}

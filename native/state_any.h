/* state_any.h - kernels of the states in plain C: rows of Q20, and weights that move. */
#ifndef EDGEMETA_STATE_ANY_H
#define EDGEMETA_STATE_ANY_H

#include "internal.h"

static inline void any_measure(const int32_t *q20, size_t n, uint32_t *largest, uint64_t *squares)
{
    uint32_t most = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t size = q20[i] < 0 ? 0u - (uint32_t)q20[i] : (uint32_t)q20[i];
        most = size > most ? size : most;
        sum += (uint64_t)size * size;
    }
    *largest = most;
    *squares = sum;
}

static inline void any_widen(const int32_t *q20, double factor, const double *less, double *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = q20[i] * (1.0 / EM_Q20) - factor * less[i];
}

static inline void any_rows_dot(const int32_t *const *rows, const int32_t *x, size_t n, double *out)
{
    for (size_t r = 0; r < 4; r++) {
        int64_t sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (int64_t)rows[r][i] * x[i];
        out[r] = (double)sum;
    }
}

static inline void any_rows_mix(const double *a, const int32_t *const *rows, double *y, size_t n)
{
    const int32_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    for (size_t i = 0; i < n; i++)
        y[i] += (a[0] * r0[i] + a[1] * r1[i]) + (a[2] * r2[i] + a[3] * r3[i]);
}

static inline double any_move(double factor, const double *step, double *w, double scale, float *quick,
                              const double *along, size_t n)
{
    double part[4] = {0}, rest = 0.0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; k++) {
            double now = w[i + k] + factor * step[i + k];
            w[i + k] = now;
            quick[i + k] = (float)(scale * now);
            part[k] += now * along[i + k];
        }
    for (; i < n; i++) {
        w[i] += factor * step[i];
        quick[i] = (float)(scale * w[i]);
        rest += w[i] * along[i];
    }
    return ((part[0] + part[2]) + (part[1] + part[3])) + rest;
}

static const struct em_state_kernels state_any = {any_measure, any_widen, any_rows_dot, any_rows_mix, any_move};

#endif

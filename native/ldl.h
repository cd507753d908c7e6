/* ldl.h - kernels for L D L^T in panels of four columns, in plain C with loops that a compiler can make vectors of. */
#ifndef EDGEMETA_LDL_H
#define EDGEMETA_LDL_H

#include "internal.h"

static inline void any_ldl_change(double *tiles, size_t count, const double *p, const double *b, double *w)
{
    for (size_t k = 0; k < count; k++)
        for (size_t c = 0; c < 4; c++) {
            double *l = tiles + 16 * k + 4 * c;
            for (size_t r = 0; r < 4; r++) {
                w[4 * k + r] -= p[c] * l[r];
                l[r] += b[c] * w[4 * k + r];
            }
        }
}

static inline void any_ldl_dot(const double *tiles, size_t count, const double *x, double *out)
{
    double sums[16] = {0};
    for (size_t k = 0; k < count; k++)
        for (size_t c = 0; c < 4; c++)
            for (size_t r = 0; r < 4; r++)
                sums[4 * c + r] += tiles[16 * k + 4 * c + r] * x[4 * k + r];
    for (size_t c = 0; c < 4; c++)
        out[c] = (sums[4 * c] + sums[4 * c + 1]) + (sums[4 * c + 2] + sums[4 * c + 3]);
}

static inline void any_ldl_panel(double *tiles, size_t count, const double *const *a, const double *b, size_t depth)
{
    for (size_t t = 0; t < count; t++) {
        double sums[16] = {0};
        for (size_t k = 0; k < depth; k++)
            for (size_t i = 0; i < 4; i++)
                for (size_t c = 0; c < 4; c++)
                    for (size_t r = 0; r < 4; r++)
                        sums[4 * c + r] += a[k][16 * t + 4 * i + r] * b[16 * k + 4 * i + c];
        for (size_t i = 0; i < 16; i++)
            tiles[16 * t + i] -= sums[i];
    }
}

static const struct em_ldl_kernels ldl_any = {any_ldl_change, any_ldl_dot, any_ldl_panel};

#endif

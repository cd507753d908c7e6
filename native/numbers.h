/* numbers.h - the kernels in plain C, for any machine, and for what an instruction set has nothing better for. Sums go in
 * eight parts, so that a compiler may use what vectors there are. Included by the kernels_*.c. */
#ifndef EDGEMETA_NUMBERS_H
#define EDGEMETA_NUMBERS_H

#include "internal.h"

#include <string.h>

/* IEEE binary16 to binary32, exactly. */
static inline float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 1023u;
    uint32_t bits;
    float value;
    if (exponent == 31u) {
        bits = sign | 0x7F800000u | (fraction << 13);
    } else if (exponent != 0u) {
        bits = sign | ((exponent + 112u) << 23) | (fraction << 13);
    } else {
        value = (float)fraction * (1.0f / 16777216.0f); /* 2^-24: subnormal, or zero */
        return sign ? -value : value;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define LANES 8

static inline float any_dot(const float *a, const float *b, size_t n)
{
    float part[LANES] = {0}, rest = 0.0f;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            part[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        rest += a[i] * b[i];
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7])) + rest;
}

static inline void any_dot4(const float *rows, size_t stride, const float *z, size_t n, float *out)
{
    for (size_t r = 0; r < 4; r++)
        out[r] = any_dot(rows + r * stride, z, n);
}

static inline double any_dot64(const double *a, const double *b, size_t n)
{
    double part[LANES] = {0}, rest = 0.0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            part[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        rest += a[i] * b[i];
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7])) + rest;
}

static inline void any_axpy64(double a, const double *x, double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static inline void any_product64(double sign, const double *a, size_t stride_a, size_t rows, const double *b,
                                 size_t stride_b, size_t columns, size_t n, double *out, size_t stride)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            out[r * stride + c] += sign * any_dot64(a + r * stride_a, b + c * stride_b, n);
}

static inline void any_minus64(const double *x, const double *y, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] - y[i];
}

static inline void any_mix64(const double *a, size_t stride_a, size_t outputs, const double *x, size_t stride_x,
                             size_t count, double *y, size_t stride_y, size_t n)
{
    for (size_t r = 0; r < count; r++)
        for (size_t k = 0; k < outputs; k++)
            any_axpy64(a[k * stride_a + r], x + r * stride_x, y + k * stride_y, n);
}

static inline float any_dot_f16(const uint16_t *a, const float *b, size_t n)
{
    float part[LANES] = {0}, rest = 0.0f;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            part[k] += half_to_float(a[i + k]) * b[i + k];
    for (; i < n; i++)
        rest += half_to_float(a[i]) * b[i];
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7])) + rest;
}

static inline float any_dot_i8(const int8_t *a, const float *b, size_t n)
{
    float part[LANES] = {0}, rest = 0.0f;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            part[k] += (float)a[i + k] * b[i + k];
    for (; i < n; i++)
        rest += (float)a[i] * b[i];
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7])) + rest;
}

static inline void any_tiles(double *sums, const double *a, const double *b, size_t count, double sign)
{
    for (size_t k = 0; k < count; k++)
        for (size_t r = 0; r < 8; r++)
            for (size_t c = 0; c < 4; c++)
                sums[32 * k + 4 * r + c] += sign * a[r] * b[4 * k + c];
}

#endif

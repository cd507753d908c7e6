/* image_portable.h - resampling an image along its rows and its columns, in plain C. Included by kernels_portable.c. */
#ifndef EDGEMETA_IMAGE_PORTABLE_H
#define EDGEMETA_IMAGE_PORTABLE_H

#include "internal.h"

/* The weight of tap t. */
static inline uint32_t portable_weight(const int16_t *weights, uint32_t t)
{
    const int16_t *group = weights + 2 * (size_t)(t & ~3u);
    uint32_t high = (uint32_t)group[4 + (t & 2u)] >> 8 * (t & 1u) & 255u;
    return (high << 16) + (uint32_t)group[t & 3u];
}

/* Sums are below 2^31 (the weights of an output are 2^22 and a rounding of each), but may round to more than 255. */
static inline uint8_t portable_byte(uint32_t sum)
{
    uint32_t value = (sum + (1u << 21)) >> 22;
    return (uint8_t)(value < 255u ? value : 255u);
}

/* Two rows at once (which may be the same one), because taking a weight apart costs as much as a pixel. */
static inline void portable_rgb_rows(const uint8_t *const lines[2], uint32_t to, const uint32_t *starts, uint32_t taps,
                                     const int16_t *weights, uint8_t *const out[2])
{
    for (size_t i = 0; i < to; i++, weights += EM_WEIGHTS(taps)) {
        const uint8_t *a = lines[0] + 3 * (size_t)starts[i], *b = lines[1] + 3 * (size_t)starts[i];
        uint32_t a0 = 0, a1 = 0, a2 = 0, b0 = 0, b1 = 0, b2 = 0;
        for (uint32_t t = 0; t < taps; t++, a += 3, b += 3) {
            uint32_t weight = portable_weight(weights, t);
            a0 += weight * a[0];
            a1 += weight * a[1];
            a2 += weight * a[2];
            b0 += weight * b[0];
            b1 += weight * b[1];
            b2 += weight * b[2];
        }
        uint8_t *to_a = out[0] + 3 * i, *to_b = out[1] + 3 * i;
        to_a[0] = portable_byte(a0);
        to_a[1] = portable_byte(a1);
        to_a[2] = portable_byte(a2);
        to_b[0] = portable_byte(b0);
        to_b[1] = portable_byte(b1);
        to_b[2] = portable_byte(b2);
    }
}

static inline void portable_grey_rows(const uint8_t *const lines[2], uint32_t to, const uint32_t *starts, uint32_t taps,
                                      const int16_t *weights, uint8_t *const out[2])
{
    for (size_t i = 0; i < to; i++, weights += EM_WEIGHTS(taps)) {
        const uint8_t *a = lines[0] + starts[i], *b = lines[1] + starts[i];
        uint32_t sum_a = 0, sum_b = 0;
        for (uint32_t t = 0; t < taps; t++) {
            uint32_t weight = portable_weight(weights, t);
            sum_a += weight * a[t];
            sum_b += weight * b[t];
        }
        out[0][i] = portable_byte(sum_a);
        out[1][i] = portable_byte(sum_b);
    }
}

static void along_row_portable(const uint8_t *const *lines, uint32_t rows, uint32_t channels, uint32_t to,
                               const uint32_t *starts, uint32_t taps, const int16_t *weights, uint8_t *const *out)
{
    for (uint32_t r = 0; r < rows; r += 2) {
        uint32_t next = r + 1 < rows ? r + 1 : r;
        const uint8_t *const from[2] = {lines[r], lines[next]};
        uint8_t *const into[2] = {out[r], out[next]};
        if (channels == 3)
            portable_rgb_rows(from, to, starts, taps, weights, into);
        else
            portable_grey_rows(from, to, starts, taps, weights, into);
    }
}

/* In pieces whose sums stay close; a compiler makes vectors of the inner loop. */
static void along_column_portable(const uint8_t *const *lines, uint32_t taps, const int16_t *weights, size_t n,
                                  uint8_t *out)
{
    uint32_t sums[64];
    for (size_t from = 0; from < n; from += 64) {
        size_t count = n - from < 64 ? n - from : 64;
        for (size_t j = 0; j < count; j++)
            sums[j] = 0;
        for (uint32_t t = 0; t < taps; t++) {
            const uint8_t *line = lines[t] + from;
            uint32_t weight = portable_weight(weights, t);
            for (size_t j = 0; j < count; j++)
                sums[j] += weight * line[j];
        }
        for (size_t j = 0; j < count; j++)
            out[from + j] = portable_byte(sums[j]);
    }
}

#endif

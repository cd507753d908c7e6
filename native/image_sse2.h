/* image_sse2.h - resampling an image along its rows and its columns with SSE2. Included by kernels_sse2.c.
 *
 * pmaddwd multiplies 16-bit numbers and adds the products in pairs: pixels of two taps lie beside each other, once for
 * the low and once for the high parts of the weights. Neither sum overflows: the weights of an output are about 2^22
 * together. */
#ifndef EDGEMETA_IMAGE_SSE2_H
#define EDGEMETA_IMAGE_SSE2_H

#include "internal.h"

#include <emmintrin.h>
#include <string.h>

/* An output's sums of the low and of the high parts. */
typedef struct sse2_sums {
    __m128i low, high;
} sse2_sums;

static inline __m128i sse2_load4(const void *at)
{
    int32_t four;
    memcpy(&four, at, sizeof four);
    return _mm_cvtsi32_si128(four);
}

static inline void sse2_store4(uint8_t *at, __m128i x)
{
    int32_t four = _mm_cvtsi128_si32(x);
    memcpy(at, &four, sizeof four);
}

static inline __m128i sse2_load8(const void *at)
{
    return _mm_loadl_epi64((const __m128i *)at);
}

static inline __m128i sse2_load16(const void *at)
{
    return _mm_loadu_si128((const __m128i *)at);
}

/* The low parts of taps t and t + 1, t even; the high parts are four numbers on. */
static inline const int16_t *sse2_weights(const int16_t *weights, uint32_t t)
{
    return weights + 2 * (size_t)(t & ~3u) + (t & 2u);
}

static inline __m128i sse2_low(const int16_t *two)
{
    return _mm_shuffle_epi32(sse2_load4(two), 0);
}

static inline __m128i sse2_high(const int16_t *two)
{
    return _mm_shuffle_epi32(_mm_unpacklo_epi8(sse2_load4(two + 4), _mm_setzero_si128()), 0);
}

static inline void sse2_add(sse2_sums *sums, __m128i pixels, __m128i low, __m128i high)
{
    sums->low = _mm_add_epi32(sums->low, _mm_madd_epi16(pixels, low));
    sums->high = _mm_add_epi32(sums->high, _mm_madd_epi16(pixels, high));
}

/* The whole sum. */
static inline __m128i sse2_sum(sse2_sums sums)
{
    return _mm_add_epi32(sums.low, _mm_slli_epi32(sums.high, 16));
}

static inline __m128i sse2_rounded(__m128i sum)
{
    return _mm_srli_epi32(_mm_add_epi32(sum, _mm_set1_epi32(1 << 21)), 22);
}

/* Sixteen whole sums to bytes; what is above 255 becomes 255. */
static inline __m128i sse2_bytes(__m128i a, __m128i b, __m128i c, __m128i d)
{
    return _mm_packus_epi16(_mm_packs_epi32(sse2_rounded(a), sse2_rounded(b)),
                            _mm_packs_epi32(sse2_rounded(c), sse2_rounded(d)));
}

/* Two RGB pixels as R0 R1 G0 G1 B0 B1 and two that do not matter. */
static inline __m128i sse2_pair(const uint8_t *at)
{
    return _mm_unpacklo_epi8(_mm_unpacklo_epi8(sse2_load8(at), sse2_load8(at + 3)), _mm_setzero_si128());
}

/* The taps of an output, without the last of an odd number where its weight is 0, as for most windows of a line. */
static inline uint32_t sse2_taps(const int16_t *weights, uint32_t taps)
{
    const int16_t *at = weights + 2 * (size_t)((taps - 1) & ~3u) + ((taps - 1) & 2u);
    return taps % 2 == 1 && taps > 1 && at[0] == 0 && at[4] == 0 ? taps - 1 : taps;
}

static inline void sse2_rgb_rows(const uint8_t *const *lines, uint32_t to, const uint32_t *starts, uint32_t taps,
                                 const int16_t *weights, uint8_t *const *out)
{
    const uint8_t *a = lines[0], *b = lines[1], *c = lines[2], *d = lines[3];
    const __m128i zero = _mm_setzero_si128();
    for (uint32_t i = 0; i < to; i++, weights += EM_WEIGHTS(taps)) {
        sse2_sums s[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
        size_t at = 3 * (size_t)starts[i];
        for (uint32_t t = 0, used = sse2_taps(weights, taps); t < used; t += 2, at += 6) {
            const int16_t *two = sse2_weights(weights, t);
            __m128i low = sse2_low(two), high = sse2_high(two);
            sse2_add(&s[0], sse2_pair(a + at), low, high);
            sse2_add(&s[1], sse2_pair(b + at), low, high);
            sse2_add(&s[2], sse2_pair(c + at), low, high);
            sse2_add(&s[3], sse2_pair(d + at), low, high);
        }
        __m128i four = sse2_bytes(sse2_sum(s[0]), sse2_sum(s[1]), sse2_sum(s[2]), sse2_sum(s[3]));
        /* Four bytes each: the next pixel overwrites the fourth. */
        sse2_store4(out[0] + 3 * (size_t)i, four);
        sse2_store4(out[1] + 3 * (size_t)i, _mm_srli_si128(four, 4));
        sse2_store4(out[2] + 3 * (size_t)i, _mm_srli_si128(four, 8));
        sse2_store4(out[3] + 3 * (size_t)i, _mm_srli_si128(four, 12));
    }
}

/* Four taps of two rows: eight 16-bit numbers. */
static inline __m128i sse2_fours(const uint8_t *a, const uint8_t *b)
{
    return _mm_unpacklo_epi8(_mm_unpacklo_epi32(sse2_load4(a), sse2_load4(b)), _mm_setzero_si128());
}

static inline void sse2_grey_rows(const uint8_t *const *lines, uint32_t to, const uint32_t *starts, uint32_t taps,
                                  const int16_t *weights, uint8_t *const *out)
{
    const __m128i zero = _mm_setzero_si128();
    for (uint32_t i = 0; i < to; i++) {
        sse2_sums s[2] = {{zero, zero}, {zero, zero}};
        for (size_t at = starts[i], end = at + taps; at < end; at += 4, weights += 8) {
            __m128i eight = sse2_load16(weights);
            __m128i low = _mm_unpacklo_epi64(eight, eight);
            __m128i high = _mm_shuffle_epi32(_mm_unpackhi_epi8(eight, zero), _MM_SHUFFLE(2, 0, 2, 0));
            sse2_add(&s[0], sse2_fours(lines[0] + at, lines[1] + at), low, high);
            sse2_add(&s[1], sse2_fours(lines[2] + at, lines[3] + at), low, high);
        }
        __m128 p = _mm_castsi128_ps(sse2_sum(s[0])), q = _mm_castsi128_ps(sse2_sum(s[1]));
        __m128i sum = _mm_add_epi32(_mm_castps_si128(_mm_shuffle_ps(p, q, _MM_SHUFFLE(2, 0, 2, 0))),
                                    _mm_castps_si128(_mm_shuffle_ps(p, q, _MM_SHUFFLE(3, 1, 3, 1))));
        uint32_t four = (uint32_t)_mm_cvtsi128_si32(sse2_bytes(sum, zero, zero, zero));
        for (uint32_t r = 0; r < 4; r++)
            out[r][i] = (uint8_t)(four >> (8 * r));
    }
}

static void along_row_sse2(const uint8_t *const *lines, uint32_t rows, uint32_t channels, uint32_t to,
                           const uint32_t *starts, uint32_t taps, const int16_t *weights, uint8_t *const *out)
{
    const uint8_t *from[4];
    uint8_t *into[4];
    for (uint32_t r = 0; r < 4; r++) { /* always four: the last one stands for those that are missing */
        from[r] = lines[r < rows ? r : rows - 1];
        into[r] = out[r < rows ? r : rows - 1];
    }
    if (channels == 3)
        sse2_rgb_rows(from, to, starts, taps, weights, into);
    else
        sse2_grey_rows(from, to, starts, taps, weights, into);
}

/* Sixteen bytes from the lines, all from byte j on. */
static inline __m128i sse2_column16(const uint8_t *const *lines, uint32_t taps, const int16_t *weights, size_t j)
{
    const __m128i zero = _mm_setzero_si128();
    sse2_sums s[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    for (uint32_t t = 0; t < taps; t += 2) {
        const int16_t *two = sse2_weights(weights, t);
        __m128i low = sse2_low(two), high = sse2_high(two);
        __m128i x = sse2_load16(lines[t] + j), y = sse2_load16(lines[t + 1] + j);
        __m128i first = _mm_unpacklo_epi8(x, y), second = _mm_unpackhi_epi8(x, y);
        sse2_add(&s[0], _mm_unpacklo_epi8(first, zero), low, high);
        sse2_add(&s[1], _mm_unpackhi_epi8(first, zero), low, high);
        sse2_add(&s[2], _mm_unpacklo_epi8(second, zero), low, high);
        sse2_add(&s[3], _mm_unpackhi_epi8(second, zero), low, high);
    }
    return sse2_bytes(sse2_sum(s[0]), sse2_sum(s[1]), sse2_sum(s[2]), sse2_sum(s[3]));
}

static void along_column_sse2(const uint8_t *const *lines, uint32_t taps, const int16_t *weights, size_t n,
                              uint8_t *out)
{
    size_t j = 0;
    for (; j + 16 <= n; j += 16)
        _mm_storeu_si128((__m128i *)(void *)(out + j), sse2_column16(lines, taps, weights, j));
    if (j < n) {
        __m128i last = sse2_column16(lines, taps, weights, j);
        memcpy(out + j, &last, n - j);
    }
}

#endif

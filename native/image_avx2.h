/* image_avx2.h - resampling an image along its rows and its columns with AVX2. Included by kernels_avx2.c.
 *
 * As image_sse2.h: pixels of two taps beside each other, for vpmaddwd with the low parts of the weights. The high parts
 * are bytes and so go by vpmaddubsw, in 16 bits. A register holds the pairs of two rows, one a half; packed, of four.
 */
#ifndef EDGEMETA_IMAGE_AVX2_H
#define EDGEMETA_IMAGE_AVX2_H

#include "internal.h"

#include <immintrin.h>
#include <string.h>

#if defined(__GNUC__)
#define EM_INLINE static inline __attribute__((always_inline))
#else
#define EM_INLINE static inline
#endif

static inline __m256i avx2_load32(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

/* Sixteen bytes of each of two rows. */
static inline __m256i avx2_load_rows(const uint8_t *a, const uint8_t *b)
{
    __m256i half = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)a));
    return _mm256_inserti128_si256(half, _mm_loadu_si128((const __m128i *)(const void *)b), 1);
}

static inline __m256i avx2_everywhere(const int16_t *two)
{
    int32_t pair;
    memcpy(&pair, two, sizeof pair);
    return _mm256_set1_epi32(pair);
}

/* Sums, their low parts in two registers, which began at 2^21, to bytes' values, at most a little above 255. What is
 * below 2^16 in a low part does not change how the whole is rounded. */
static inline __m256i avx2_bytes(__m256i low, __m256i next, __m256i high)
{
    __m256i both = _mm256_packs_epi32(_mm256_srai_epi32(low, 16), _mm256_srai_epi32(next, 16));
    return _mm256_srli_epi16(_mm256_add_epi16(both, high), 6);
}

/* The pixels of one load, sixteen bytes, and what each two rows of four have summed up. */
typedef struct avx2_rows {
    __m256i x, y;
    __m256i low_x, low_y; /* 32 bits, of rows a and b, c and d */
    __m256i high;         /* 16 bits, of rows a and c, b and d */
} avx2_rows;

/* Two of the loaded pixels, as R0 R1 G0 G1 B0 B1 0 0 with 16 bits each. */
static inline void avx2_pair(avx2_rows *rows, __m256i order, const int16_t *two)
{
    __m256i low = avx2_everywhere(two), high = avx2_everywhere(two + 4);
    __m256i x = _mm256_shuffle_epi8(rows->x, order), y = _mm256_shuffle_epi8(rows->y, order);
    rows->low_x = _mm256_add_epi32(rows->low_x, _mm256_madd_epi16(x, low));
    rows->low_y = _mm256_add_epi32(rows->low_y, _mm256_madd_epi16(y, low));
    rows->high = _mm256_add_epi16(rows->high, _mm256_maddubs_epi16(_mm256_packus_epi16(x, y), high));
}

/* Whether a group of weights has one that is not 0. The widest window of a line is one pixel wider than most of them,
 * so it pays to ask before a pair is summed for its last. */
static inline int avx2_is_some(const int16_t *group)
{
    uint64_t parts[2];
    memcpy(parts, group, sizeof parts);
    return (parts[0] | parts[1]) != 0;
}

/* Where two pixels of `size` bytes, of which the first is byte `at`, or one, go. */
EM_INLINE __m256i avx2_two_pixels(int at, int size)
{
    char a = (char)at, b = (char)(at + size);
    char a1 = (char)(a + 1), a2 = (char)(a + 2), b1 = (char)(b + 1), b2 = (char)(b + 2);
    return _mm256_broadcastsi128_si256(
        _mm_setr_epi8(a, -1, b, -1, a1, -1, b1, -1, a2, -1, b2, -1, -1, -1, -1, -1));
}

EM_INLINE __m256i avx2_one_pixel(char at)
{
    char at1 = (char)(at + 1), at2 = (char)(at + 2);
    return _mm256_broadcastsi128_si256(
        _mm_setr_epi8(at, -1, -1, -1, at1, -1, -1, -1, at2, -1, -1, -1, -1, -1, -1, -1));
}

/* One output of four rows, 16 bits a number: rows a and c, b and d. Pixels of `size` bytes, 3 or 4; what the fourth
 * ones have in common stays in *all. A load has five pixels of 3 bytes: the fifth is taken with the fourth where it
 * is the last. */
EM_INLINE __m256i avx2_colour(const uint8_t *const *lines, int size, size_t at, uint32_t taps, const int16_t *group,
                              const __m256i orders[3], __m256i *all)
{
    const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(1 << 21);
    avx2_rows rows = {zero, zero, half, half, zero};
    for (uint32_t left = taps; left > 0; at += 4 * (size_t)size, group += 8) {
        if (size == 4 && left == 1 && !avx2_is_some(group))
            break;
        rows.x = avx2_load_rows(lines[0] + at, lines[1] + at);
        rows.y = avx2_load_rows(lines[2] + at, lines[3] + at);
        if (size == 4)
            *all = _mm256_and_si256(*all, _mm256_and_si256(rows.x, rows.y));
        avx2_pair(&rows, orders[0], group);
        if (left > 2)
            avx2_pair(&rows, orders[1], group + 2);
        if (size == 3 && left == 5) {
            if (avx2_is_some(group + 8))
                avx2_pair(&rows, orders[2], group + 8);
            break;
        }
        left = left < 4 ? 0 : left - 4;
    }
    return avx2_bytes(rows.low_x, rows.low_y, rows.high);
}

/* Two outputs at a time, and the last one twice where their number is odd. A store has two bytes more, which the next
 * one overwrites. Returns 0 if pixels have 4 bytes and the fourth is not always 255. */
EM_INLINE int avx2_colour_rows(const uint8_t *const *lines, int size, uint32_t to, const uint32_t *starts,
                               uint32_t taps, const int16_t *weights, uint8_t *const *out)
{
    const __m256i orders[3] = {avx2_two_pixels(0, size), avx2_two_pixels(2 * size, size), avx2_one_pixel(12)};
    const __m256i close = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 2, 8, 9, 10, -1, -1, 4, 5, 6, 12, 13, 14, -1, -1));
    const __m256i opaque = _mm256_set1_epi32(-16777216); /* 0xFF000000 */
    const uint8_t *const from[4] = {lines[0], lines[1], lines[2], lines[3]};
    uint8_t *a = out[0], *b = out[1], *c = out[2], *d = out[3];
    __m256i all = opaque;
    for (size_t i = 0; i < to; i += 2, weights += 2 * EM_WEIGHTS(taps)) {
        size_t next = i + 1 < to ? 1 : 0;
        __m256i one = avx2_colour(from, size, (size_t)size * starts[i], taps, weights, orders, &all);
        __m256i two = avx2_colour(from, size, (size_t)size * starts[i + next], taps, weights + next * EM_WEIGHTS(taps),
                                  orders, &all);
        __m256i both = _mm256_shuffle_epi8(_mm256_packus_epi16(one, two), close);
        __m128 low = _mm_castsi128_ps(_mm256_castsi256_si128(both));
        __m128 high = _mm_castsi128_ps(_mm256_extracti128_si256(both, 1));
        _mm_storel_pi((__m64 *)(void *)(a + 3 * i), low);
        _mm_storeh_pi((__m64 *)(void *)(c + 3 * i), low);
        _mm_storel_pi((__m64 *)(void *)(b + 3 * i), high);
        _mm_storeh_pi((__m64 *)(void *)(d + 3 * i), high);
    }
    return _mm256_testc_si256(all, opaque);
}

/* The same for the numbers of taps of usual reductions, which a compiler unrolls. */
EM_INLINE int avx2_colour_rows_of(const uint8_t *const *lines, int size, uint32_t to, const uint32_t *starts,
                                  uint32_t taps, const int16_t *weights, uint8_t *const *out)
{
    switch (taps) {
    case 4:
        return avx2_colour_rows(lines, size, to, starts, 4, weights, out);
    case 5:
        return avx2_colour_rows(lines, size, to, starts, 5, weights, out);
    case 6:
        return avx2_colour_rows(lines, size, to, starts, 6, weights, out);
    case 9:
        return avx2_colour_rows(lines, size, to, starts, 9, weights, out);
    default:
        return avx2_colour_rows(lines, size, to, starts, taps, weights, out);
    }
}

/* Four taps of four rows to 16 bits. */
static inline __m256i avx2_fours(const uint8_t *const *lines, size_t at)
{
    int32_t a, b, c, d;
    memcpy(&a, lines[0] + at, sizeof a);
    memcpy(&b, lines[1] + at, sizeof b);
    memcpy(&c, lines[2] + at, sizeof c);
    memcpy(&d, lines[3] + at, sizeof d);
    return _mm256_cvtepu8_epi16(_mm_setr_epi32(a, b, c, d));
}

static inline void avx2_grey_rows(const uint8_t *const *lines, uint32_t to, const uint32_t *starts, uint32_t taps,
                                  const int16_t *weights, uint8_t *const *out)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i first_half = _mm256_setr_epi32(1 << 21, 0, 1 << 21, 0, 1 << 21, 0, 1 << 21, 0);
    for (uint32_t i = 0; i < to; i++) {
        __m256i low = first_half;
        for (size_t at = starts[i], end = at + taps; at < end; at += 4, weights += 8) {
            __m256i eight = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)weights));
            __m256i pixels = avx2_fours(lines, at), high = _mm256_unpackhi_epi8(eight, zero);
            low = _mm256_add_epi32(low, _mm256_madd_epi16(pixels, _mm256_unpacklo_epi64(eight, eight)));
            high = _mm256_shuffle_epi32(high, _MM_SHUFFLE(2, 0, 2, 0));
            low = _mm256_add_epi32(low, _mm256_slli_epi32(_mm256_madd_epi16(pixels, high), 16));
        }
        /* The two sums of a row lie beside each other. */
        __m256i sum = _mm256_srli_epi32(_mm256_hadd_epi32(low, low), 22); /* rows 0 1 0 1, 2 3 2 3; none above 256 */
        __m128i four = _mm_unpacklo_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        four = _mm_packs_epi32(four, four);
        uint32_t bytes = (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(four, four));
        for (uint32_t r = 0; r < 4; r++)
            out[r][i] = (uint8_t)(bytes >> (8 * r));
    }
}

/* Always four rows: the last one stands for those that are missing. */
static inline void avx2_four_rows(const uint8_t *const *lines, uint8_t *const *out, uint32_t rows, const uint8_t **from,
                                  uint8_t **into)
{
    for (uint32_t r = 0; r < 4; r++) {
        from[r] = lines[r < rows ? r : rows - 1];
        into[r] = out[r < rows ? r : rows - 1];
    }
}

static void along_row_avx2(const uint8_t *const *lines, uint32_t rows, uint32_t channels, uint32_t to,
                           const uint32_t *starts, uint32_t taps, const int16_t *weights, uint8_t *const *out)
{
    const uint8_t *from[4];
    uint8_t *into[4];
    avx2_four_rows(lines, out, rows, from, into);
    if (channels == 3)
        avx2_colour_rows_of(from, 3, to, starts, taps, weights, into);
    else
        avx2_grey_rows(from, to, starts, taps, weights, into);
}

static int along_opaque_avx2(const uint8_t *const *lines, uint32_t rows, uint32_t to, const uint32_t *starts,
                             uint32_t taps, const int16_t *weights, uint8_t *const *out)
{
    const uint8_t *from[4];
    uint8_t *into[4];
    avx2_four_rows(lines, out, rows, from, into);
    return avx2_colour_rows_of(from, 4, to, starts, taps, weights, into);
}

/* Thirty-two bytes from the lines, all from byte j on. Unpacking and packing stay within halves, so the order holds. */
static inline __m256i avx2_column32(const uint8_t *const *lines, uint32_t taps, const int16_t *weights, size_t j)
{
    const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(1 << 21);
    __m256i low[4] = {half, half, half, half}, high[2] = {zero, zero};
    for (uint32_t t = 0; t < taps; t += 2) {
        const int16_t *two = weights + 2 * (size_t)(t & ~3u) + (t & 2u);
        __m256i x = avx2_load32(lines[t] + j), y = avx2_load32(lines[t + 1] + j);
        __m256i first = _mm256_unpacklo_epi8(x, y), second = _mm256_unpackhi_epi8(x, y);
        __m256i weight = avx2_everywhere(two), bytes = avx2_everywhere(two + 4);
        high[0] = _mm256_add_epi16(high[0], _mm256_maddubs_epi16(first, bytes));
        high[1] = _mm256_add_epi16(high[1], _mm256_maddubs_epi16(second, bytes));
        low[0] = _mm256_add_epi32(low[0], _mm256_madd_epi16(_mm256_unpacklo_epi8(first, zero), weight));
        low[1] = _mm256_add_epi32(low[1], _mm256_madd_epi16(_mm256_unpackhi_epi8(first, zero), weight));
        low[2] = _mm256_add_epi32(low[2], _mm256_madd_epi16(_mm256_unpacklo_epi8(second, zero), weight));
        low[3] = _mm256_add_epi32(low[3], _mm256_madd_epi16(_mm256_unpackhi_epi8(second, zero), weight));
    }
    return _mm256_packus_epi16(avx2_bytes(low[0], low[1], high[0]), avx2_bytes(low[2], low[3], high[1]));
}

static void along_column_avx2(const uint8_t *const *lines, uint32_t taps, const int16_t *weights, size_t n,
                              uint8_t *out)
{
    size_t j = 0;
    for (; j + 32 <= n; j += 32)
        _mm256_storeu_si256((__m256i *)(void *)(out + j), avx2_column32(lines, taps, weights, j));
    if (j < n) {
        __m256i last = avx2_column32(lines, taps, weights, j);
        memcpy(out + j, &last, n - j);
    }
}

#endif

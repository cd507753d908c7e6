/* image_avx2_grey.h - sixteen grey lines of an image along the row with AVX2. Included by kernels_avx2.c.
 *
 * A line has few pixels that one output needs, but all lines need the same ones with the same weights: so a register
 * holds what sixteen lines have at one place. To get there, the pixels of two columns are transposed as 16-bit units, a
 * pair a line, which is what the multiplications want: vpmaddubsw takes such pairs for the high parts of the weights,
 * and vpmaddwd, spread to 16 bits, for the low ones. Lane 0 of a register has the lines 0 to 7, lane 1 lines 8 to 15.
 * (With three channels it does not pay: in image_avx2.h a register is filled by red, green and blue already.)
 */
#ifndef EDGEMETA_IMAGE_AVX2_GREY_H
#define EDGEMETA_IMAGE_AVX2_GREY_H

#include "image_avx2.h"

#define TILE 256 /* pixels of a line that are held at a time, so that all stays in the first cache */

/* Two columns: pairs of bytes; the same in 16 bits, lines 0 to 3 and 8 to 11, 4 to 7 and 12 to 15. */
typedef struct avx2_columns {
    __m256i bytes, first, second;
} avx2_columns;

/* Eight registers of eight 16-bit units a lane, rows to columns. */
EM_INLINE void avx2_transpose(__m256i v[8])
{
    __m256i a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_epi16(v[i], v[i + 4]);
        a[2 * i + 1] = _mm256_unpackhi_epi16(v[i], v[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm256_unpacklo_epi16(a[i], a[i + 4]);
        b[2 * i + 1] = _mm256_unpackhi_epi16(a[i], a[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        v[2 * i] = _mm256_unpacklo_epi16(b[i], b[i + 4]);
        v[2 * i + 1] = _mm256_unpackhi_epi16(b[i], b[i + 4]);
    }
}

/* `count` pixels of each line from `at` on, and up to fifteen more. */
static inline void avx2_columns_of(const uint8_t *const *lines, size_t at, size_t count, avx2_columns *to)
{
    const __m256i zero = _mm256_setzero_si256();
    for (size_t x = 0; x < count; x += 16, to += 8) {
        __m256i v[8];
        for (int r = 0; r < 8; r++)
            v[r] = avx2_load_rows(lines[r] + at + x, lines[r + 8] + at + x);
        avx2_transpose(v);
        for (int i = 0; i < 8; i++) {
            to[i].bytes = v[i];
            to[i].first = _mm256_unpacklo_epi8(v[i], zero);
            to[i].second = _mm256_unpackhi_epi8(v[i], zero);
        }
    }
}

/* One output of each line, from the columns that its weights are for: sixteen numbers of 16 bits. */
EM_INLINE __m256i avx2_sum_columns(const avx2_columns *from, const int16_t *weights, uint32_t pairs)
{
    __m256i first = _mm256_set1_epi32(1 << 21), second = first, high = _mm256_setzero_si256();
    for (uint32_t p = 0; p < pairs; p++) {
        const int16_t *two = weights + 8 * (size_t)(p / 2) + 2 * (p % 2);
        __m256i weight = avx2_everywhere(two);
        first = _mm256_add_epi32(first, _mm256_madd_epi16(from[p].first, weight));
        second = _mm256_add_epi32(second, _mm256_madd_epi16(from[p].second, weight));
        high = _mm256_add_epi16(high, _mm256_maddubs_epi16(from[p].bytes, avx2_everywhere(two + 4)));
    }
    return avx2_bytes(first, second, high);
}

/* Sixteen outputs of each line to bytes `at` to at + 15 of their rows, as far as there are `to`. */
static inline void avx2_store_rows(const __m256i *sums, uint8_t *const *out, size_t at, size_t to)
{
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
    __m256i v[8];
    for (int i = 0; i < 8; i++)
        v[i] = _mm256_shuffle_epi8(_mm256_packus_epi16(sums[2 * i], sums[2 * i + 1]), order);
    avx2_transpose(v);
    for (int r = 0; r < 8; r++) {
        __m128i low = _mm256_castsi256_si128(v[r]), high = _mm256_extracti128_si256(v[r], 1);
        if (to - at >= 16) {
            _mm_storeu_si128((__m128i *)(void *)(out[r] + at), low);
            _mm_storeu_si128((__m128i *)(void *)(out[r + 8] + at), high);
        } else {
            memcpy(out[r] + at, &low, to - at);
            memcpy(out[r + 8] + at, &high, to - at);
        }
    }
}

/* Outputs i to end - 1, whose pixels are there from column `base` on. */
EM_INLINE void avx2_grey_tile(const avx2_columns *columns, uint32_t base, uint32_t i, uint32_t end, uint32_t to,
                              const uint32_t *starts, uint32_t taps, const int16_t *weights, uint32_t pairs,
                              uint8_t *const *out)
{
    size_t size = EM_WEIGHTS(taps);
    __m256i sums[16];
    memset(sums, 0, sizeof sums);
    for (; i < end; i += 16) {
        uint32_t count = end - i < 16 ? end - i : 16;
        for (uint32_t k = 0; k < count; k++)
            sums[k] = avx2_sum_columns(columns + (starts[i + k] - base) / 2, weights + (i + k) * size, pairs);
        avx2_store_rows(sums, out, i, to);
    }
}

/* Behind the last output after i whose pixels are within a tile that begins with those of i. */
static inline uint32_t avx2_tile_end(uint32_t i, uint32_t to, const uint32_t *starts, uint32_t taps)
{
    uint32_t past = starts[i] + TILE - taps, end = i + 1;
    while (end + 16 <= to && starts[end + 15] <= past)
        end += 16;
    while (end < to && starts[end] <= past)
        end++;
    return end;
}

static void along_grey_avx2(const uint8_t *const *lines, uint32_t to, const uint32_t *starts, uint32_t taps,
                            const int16_t *weights, uint8_t *const *out)
{
    avx2_columns columns[TILE / 2];
    uint32_t pairs = (taps + 1) / 2, end;
    for (uint32_t i = 0; i < to; i = end) {
        uint32_t base = starts[i];
        end = avx2_tile_end(i, to, starts, taps);
        avx2_columns_of(lines, base, starts[end - 1] + taps - base, columns);
        switch (pairs) { /* those of usual reductions, which a compiler unrolls */
        case 3:
            avx2_grey_tile(columns, base, i, end, to, starts, taps, weights, 3, out);
            break;
        case 5:
            avx2_grey_tile(columns, base, i, end, to, starts, taps, weights, 5, out);
            break;
        default:
            avx2_grey_tile(columns, base, i, end, to, starts, taps, weights, pairs, out);
        }
    }
}

#endif

/* image_neon.h - resampling an image along its rows and its columns with NEON, 32 and 64 bits. Included by neon.h.
 *
 * The low parts of the weights go into 32-bit sums; products with the high parts and their sums stay in 16 bits. */
#ifndef EDGEMETA_IMAGE_NEON_H
#define EDGEMETA_IMAGE_NEON_H

#include "internal.h"

#include <arm_neon.h>
#include <string.h>

static inline uint32x4_t neon_sum_of(int32x4_t low, uint16x4_t high)
{
    return vaddq_u32(vreinterpretq_u32_s32(low), vshlq_n_u32(vmovl_u16(high), 16));
}

/* Both parts to a byte's value; the narrowing that follows limits it to 255. */
static inline uint16x4_t neon_rounded(int32x4_t low, uint16x4_t high)
{
    return vmovn_u32(vshrq_n_u32(vaddq_u32(neon_sum_of(low, high), vdupq_n_u32(1u << 21)), 22));
}

/* A row's sums of one output: red, green, blue and one that does not matter. */
typedef struct neon_sums {
    int32x4_t low;
    uint16x4_t high;
} neon_sums;

/* Two taps: lanes `lane` and `lane` + 1 of the low parts, 0 and 1 of the high ones. */
#define NEON_TWO_TAPS(sums, at, low_parts, lane, high_parts)                                                           \
    do {                                                                                                               \
        uint16x8_t pixels = vmovl_u8(vld1_u8(at)); /* R0 G0 B0 R1 G1 B1 */                                             \
        uint16x4_t one = vget_low_u16(pixels), two = vget_low_u16(vextq_u16(pixels, pixels, 3));                       \
        (sums).low = vmlal_lane_s16((sums).low, vreinterpret_s16_u16(one), low_parts, lane);                           \
        (sums).high = vmla_lane_u16((sums).high, one, high_parts, 0);                                                  \
        (sums).low = vmlal_lane_s16((sums).low, vreinterpret_s16_u16(two), low_parts, lane + 1);                       \
        (sums).high = vmla_lane_u16((sums).high, two, high_parts, 1);                                                  \
    } while (0)

/* The high parts of a group as 16 bits: A B A B C D C D. */
static inline uint16x8_t neon_high(int16x8_t group)
{
    return vmovl_u8(vreinterpret_u8_s16(vget_high_s16(group)));
}

static inline void neon_store4(uint8_t *at, uint32x2_t bytes)
{
    uint32_t four = vget_lane_u32(bytes, 0);
    memcpy(at, &four, sizeof four);
}

/* The taps of an output, without the last of an odd number where its weight is 0, as for most windows of a line. */
static inline uint32_t neon_taps(const int16_t *weights, uint32_t taps)
{
    const int16_t *at = weights + 2 * (size_t)((taps - 1) & ~3u) + ((taps - 1) & 2u);
    return taps % 2 == 1 && taps > 1 && at[0] == 0 && at[4] == 0 ? taps - 1 : taps;
}

/* Two rows at once, so that weights are loaded once for both. */
static inline void neon_rgb_rows(const uint8_t *a, const uint8_t *b, uint32_t to, const uint32_t *starts, uint32_t taps,
                                 const int16_t *weights, uint8_t *out_a, uint8_t *out_b)
{
    for (uint32_t i = 0; i < to; i++, weights += EM_WEIGHTS(taps), out_a += 3, out_b += 3) {
        neon_sums s = {vdupq_n_s32(0), vdup_n_u16(0)}, t = s;
        size_t at = 3 * (size_t)starts[i];
        const int16_t *from = weights;
        for (uint32_t left = neon_taps(weights, taps); left > 0; at += 12, from += 8) {
            int16x8_t group = vld1q_s16(from);
            int16x4_t low = vget_low_s16(group);
            uint16x8_t high = neon_high(group);
            NEON_TWO_TAPS(s, a + at, low, 0, vget_low_u16(high));
            NEON_TWO_TAPS(t, b + at, low, 0, vget_low_u16(high));
            if (left > 2) {
                NEON_TWO_TAPS(s, a + at + 6, low, 2, vget_high_u16(high));
                NEON_TWO_TAPS(t, b + at + 6, low, 2, vget_high_u16(high));
            }
            left -= left < 4 ? left : 4;
        }
        uint16x8_t both = vcombine_u16(neon_rounded(s.low, s.high), neon_rounded(t.low, t.high));
        uint32x2_t bytes = vreinterpret_u32_u8(vqmovn_u16(both));
        /* Four bytes each: the next pixel overwrites the fourth. */
        neon_store4(out_a, bytes);
        neon_store4(out_b, vrev64_u32(bytes));
    }
}

/* Four taps, of which 16-bit lanes matter. */
static inline uint16x4_t neon_four(const uint8_t *at)
{
    uint32_t four;
    memcpy(&four, at, sizeof four);
    return vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))));
}

static inline void neon_grey_row(const uint8_t *line, uint32_t to, const uint32_t *starts, uint32_t taps,
                                 const int16_t *weights, uint8_t *out)
{
    for (uint32_t i = 0; i < to; i++) {
        int32x4_t low = vdupq_n_s32(0);
        uint16x4_t high = vdup_n_u16(0);
        for (size_t at = starts[i], end = at + taps; at < end; at += 4, weights += 8) {
            int16x8_t group = vld1q_s16(weights);
            uint32x4_t pairs = vreinterpretq_u32_u16(neon_high(group));
            uint32x2_t twice = vuzp_u32(vget_low_u32(pairs), vget_high_u32(pairs)).val[0];
            uint16x4_t pixels = neon_four(line + at);
            low = vmlal_s16(low, vreinterpret_s16_u16(pixels), vget_low_s16(group));
            high = vmla_u16(high, pixels, vreinterpret_u16_u32(twice)); /* A B C D */
        }
        uint32x4_t sum = neon_sum_of(low, high);
        uint32x2_t half = vadd_u32(vget_low_u32(sum), vget_high_u32(sum));
        uint32_t value = (vget_lane_u32(vpadd_u32(half, half), 0) + (1u << 21)) >> 22;
        out[i] = (uint8_t)(value < 255u ? value : 255u);
    }
}

static void along_row_neon(const uint8_t *const *lines, uint32_t rows, uint32_t channels, uint32_t to,
                           const uint32_t *starts, uint32_t taps, const int16_t *weights, uint8_t *const *out)
{
    for (uint32_t r = 0; r < rows; r++)
        if (channels == 1) {
            neon_grey_row(lines[r], to, starts, taps, weights, out[r]);
        } else {
            uint32_t next = r + 1 < rows ? r + 1 : r; /* an odd row goes with itself */
            neon_rgb_rows(lines[r], lines[next], to, starts, taps, weights, out[r], out[next]);
            r = next;
        }
}

/* Sixteen bytes from the lines, all from byte j on. */
static inline uint8x16_t neon_column16(const uint8_t *const *lines, uint32_t taps, const int16_t *weights, size_t j)
{
    int32x4_t low0 = vdupq_n_s32(0), low1 = low0, low2 = low0, low3 = low0;
    uint16x8_t high0 = vdupq_n_u16(0), high1 = high0;
    for (uint32_t t = 0; t < taps; t++) {
        const int16_t *group = weights + 2 * (size_t)(t & ~3u);
        int16_t low = group[t & 3u];
        uint8x8_t high = vdup_n_u8((uint8_t)((uint16_t)group[4 + (t & 2u)] >> 8 * (t & 1u)));
        uint8x16_t pixels = vld1q_u8(lines[t] + j);
        int16x8_t first = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(pixels)));
        int16x8_t second = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(pixels)));
        low0 = vmlal_n_s16(low0, vget_low_s16(first), low);
        low1 = vmlal_n_s16(low1, vget_high_s16(first), low);
        low2 = vmlal_n_s16(low2, vget_low_s16(second), low);
        low3 = vmlal_n_s16(low3, vget_high_s16(second), low);
        high0 = vmlal_u8(high0, vget_low_u8(pixels), high);
        high1 = vmlal_u8(high1, vget_high_u8(pixels), high);
    }
    uint16x4_t a = neon_rounded(low0, vget_low_u16(high0)), b = neon_rounded(low1, vget_high_u16(high0));
    uint16x4_t c = neon_rounded(low2, vget_low_u16(high1)), d = neon_rounded(low3, vget_high_u16(high1));
    return vcombine_u8(vqmovn_u16(vcombine_u16(a, b)), vqmovn_u16(vcombine_u16(c, d)));
}

static void along_column_neon(const uint8_t *const *lines, uint32_t taps, const int16_t *weights, size_t n,
                              uint8_t *out)
{
    size_t j = 0;
    for (; j + 16 <= n; j += 16)
        vst1q_u8(out + j, neon_column16(lines, taps, weights, j));
    if (j < n) {
        uint8_t last[16];
        vst1q_u8(last, neon_column16(lines, taps, weights, j));
        memcpy(out + j, last, n - j);
    }
}

#endif

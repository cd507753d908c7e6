/* image_avx2_pixels.h - pixels of every format to RGB with AVX2. Included by kernels_avx2.c. */
#ifndef EDGEMETA_IMAGE_AVX2_PIXELS_H
#define EDGEMETA_IMAGE_AVX2_PIXELS_H

#include "image_avx2.h"
#include "image_pixels.h"

static inline void avx2_store16(uint8_t *at, __m128i x)
{
    _mm_storeu_si128((__m128i *)(void *)at, x);
}

static inline __m128i avx2_load16(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

static inline __m256i avx2_both(__m128i order)
{
    return _mm256_broadcastsi128_si256(order);
}

/* ---- alpha ---- */

/* (c * a + 255 * (255 - a) + 127) / 255 of 16-bit numbers: c less 255, and 65152 is 255 * 255 + 127. The quotient by
 * 255 of x below 65535 is (x + 1) * 257 / 65536, rounded down. */
static inline __m256i avx2_over_white(__m256i colour, __m256i alpha)
{
    __m256i less = _mm256_sub_epi16(colour, _mm256_set1_epi16(255));
    __m256i sum = _mm256_add_epi16(_mm256_mullo_epi16(less, alpha), _mm256_set1_epi16(65153 - 65536));
    return _mm256_mulhi_epu16(sum, _mm256_set1_epi16(257));
}

static inline __m256i avx2_pixels_over_white(__m256i pixels)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i first = avx2_both(_mm_setr_epi8(3, -1, 3, -1, 3, -1, 3, -1, 7, -1, 7, -1, 7, -1, 7, -1));
    const __m256i second = avx2_both(_mm_setr_epi8(11, -1, 11, -1, 11, -1, 11, -1, 15, -1, 15, -1, 15, -1, 15, -1));
    __m256i low = avx2_over_white(_mm256_unpacklo_epi8(pixels, zero), _mm256_shuffle_epi8(pixels, first));
    __m256i high = avx2_over_white(_mm256_unpackhi_epi8(pixels, zero), _mm256_shuffle_epi8(pixels, second));
    return _mm256_packus_epi16(low, high);
}

/* Most cameras give an alpha of 255 everywhere, which changes nothing. Stores pass the pixels by eight bytes. */
static void avx2_from_rgba(const uint8_t *from, size_t count, uint8_t *to)
{
    const __m256i opaque = _mm256_set1_epi32(-16777216); /* 0xFF000000 */
    const __m256i order = avx2_both(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m256i close = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
    size_t x = 0;
    for (; x + 11 <= count; x += 8) {
        __m256i pixels = avx2_load32(from + 4 * x);
        if (!_mm256_testc_si256(pixels, opaque))
            pixels = avx2_pixels_over_white(pixels);
        pixels = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(pixels, order), close);
        _mm256_storeu_si256((__m256i *)(void *)(to + 3 * x), pixels);
    }
    any_from_rgba(from + 4 * x, count - x, to + 3 * x);
}

/* ---- planes to pixels ---- */

/* Sixteen pixels a lane: bytes 0 to 15, 16 to 31 and 32 to 47 of them. Of three registers that are shuffled so that
 * each byte is where it shall be in one of the three, the right one is taken for each. */
static inline void avx2_interleave(__m256i red, __m256i green, __m256i blue, __m256i out[3])
{
    const __m256i r = avx2_both(_mm_setr_epi8(0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15, 10, 5));
    const __m256i g = avx2_both(_mm_setr_epi8(5, 0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15, 10));
    const __m256i b = avx2_both(_mm_setr_epi8(10, 5, 0, 11, 6, 1, 12, 7, 2, 13, 8, 3, 14, 9, 4, 15));
    const __m256i zeroth = avx2_both(_mm_setr_epi8(-1, 0, 0, -1, 0, 0, -1, 0, 0, -1, 0, 0, -1, 0, 0, -1));
    const __m256i first = avx2_both(_mm_setr_epi8(0, -1, 0, 0, -1, 0, 0, -1, 0, 0, -1, 0, 0, -1, 0, 0));
    const __m256i second = avx2_both(_mm_setr_epi8(0, 0, -1, 0, 0, -1, 0, 0, -1, 0, 0, -1, 0, 0, -1, 0));
    red = _mm256_shuffle_epi8(red, r);
    green = _mm256_shuffle_epi8(green, g);
    blue = _mm256_shuffle_epi8(blue, b);
    out[0] = _mm256_blendv_epi8(_mm256_blendv_epi8(blue, green, first), red, zeroth);
    out[1] = _mm256_blendv_epi8(_mm256_blendv_epi8(blue, green, zeroth), red, second);
    out[2] = _mm256_blendv_epi8(_mm256_blendv_epi8(blue, green, second), red, first);
}

static inline void avx2_store_pixels(const __m256i x[3], uint8_t *to)
{
    for (int i = 0; i < 3; i++) {
        avx2_store16(to + 16 * i, _mm256_castsi256_si128(x[i]));
        avx2_store16(to + 48 + 16 * i, _mm256_extracti128_si256(x[i], 1));
    }
}

/* ---- YUV ---- */

/* (42 Y + part) / 256 + Y + whole, rounded down, limited to a byte. y: pixels 0 to 7 and 8 to 15 of each lane, 42 Y
 * as well; a number of part and whole is for two pixels. */
static inline __m256i avx2_yuv_colour(const __m256i y[2], const __m256i y42[2], __m256i part, __m256i whole)
{
    __m256i first = _mm256_srai_epi16(_mm256_add_epi16(y42[0], _mm256_unpacklo_epi16(part, part)), 8);
    __m256i second = _mm256_srai_epi16(_mm256_add_epi16(y42[1], _mm256_unpackhi_epi16(part, part)), 8);
    first = _mm256_add_epi16(first, _mm256_add_epi16(y[0], _mm256_unpacklo_epi16(whole, whole)));
    second = _mm256_add_epi16(second, _mm256_add_epi16(y[1], _mm256_unpackhi_epi16(whole, whole)));
    return _mm256_packus_epi16(first, second);
}

/* Thirty-two pixels: BT.601 as edgemeta.h has it, in 16 bits. Multiples of 256 are taken out of the quotient: 298 =
 * 256 + 42, 409 = 256 + 153, -208 = -256 + 48, 516 = 512 + 4; 42 (Y - 16) + 128 = 42 Y - 544. uv: U V U V. */
static inline void avx2_yuv32(const __m256i y[2], __m256i uv, uint8_t *to)
{
    const __m256i middle = _mm256_set1_epi16(128), rest = _mm256_set1_epi16(-544), black = _mm256_set1_epi16(-16);
    __m256i d = _mm256_sub_epi16(_mm256_and_si256(uv, _mm256_set1_epi16(255)), middle);
    __m256i e = _mm256_sub_epi16(_mm256_srli_epi16(uv, 8), middle);
    __m256i y42[2] = {_mm256_mullo_epi16(y[0], _mm256_set1_epi16(42)), _mm256_mullo_epi16(y[1], _mm256_set1_epi16(42))};
    __m256i part, red, green, blue, out[3];
    part = _mm256_add_epi16(_mm256_mullo_epi16(e, _mm256_set1_epi16(153)), rest);
    red = avx2_yuv_colour(y, y42, part, _mm256_add_epi16(black, e));
    part = _mm256_sub_epi16(_mm256_mullo_epi16(e, _mm256_set1_epi16(48)),
                            _mm256_mullo_epi16(d, _mm256_set1_epi16(100)));
    green = avx2_yuv_colour(y, y42, _mm256_add_epi16(part, rest), _mm256_sub_epi16(black, e));
    part = _mm256_add_epi16(_mm256_slli_epi16(d, 2), rest);
    blue = avx2_yuv_colour(y, y42, part, _mm256_add_epi16(black, _mm256_add_epi16(d, d)));
    avx2_interleave(red, green, blue, out);
    avx2_store_pixels(out, to);
}

static void avx2_from_nv12(const uint8_t *luma, const uint8_t *chroma, size_t count, uint8_t *to)
{
    const __m256i zero = _mm256_setzero_si256();
    size_t x = 0;
    for (; x + 32 <= count; x += 32) {
        __m256i bytes = avx2_load32(luma + x);
        __m256i y[2] = {_mm256_unpacklo_epi8(bytes, zero), _mm256_unpackhi_epi8(bytes, zero)};
        avx2_yuv32(y, avx2_load32(chroma + x), to + 3 * x);
    }
    any_from_nv12(luma + x, chroma + x, count - x, to + 3 * x);
}

static void avx2_from_yuyv(const uint8_t *from, size_t count, uint8_t *to)
{
    const __m256i byte = _mm256_set1_epi16(255);
    size_t x = 0;
    for (; x + 32 <= count; x += 32) {
        const uint8_t *at = from + 2 * x; /* lane 0 is to have the first sixteen pixels */
        __m256i first = avx2_load_rows(at, at + 32), second = avx2_load_rows(at + 16, at + 48);
        __m256i y[2] = {_mm256_and_si256(first, byte), _mm256_and_si256(second, byte)};
        __m256i uv = _mm256_packus_epi16(_mm256_srli_epi16(first, 8), _mm256_srli_epi16(second, 8));
        avx2_yuv32(y, uv, to + 3 * x);
    }
    any_from_yuyv(from + 2 * x, count - x, to + 3 * x);
}

/* ---- grey and BGR ---- */

static void avx2_from_grey(const uint8_t *from, size_t count, uint8_t *to)
{
    const __m128i first = _mm_setr_epi8(0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5);
    const __m128i second = _mm_setr_epi8(5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10);
    const __m128i third = _mm_setr_epi8(10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15);
    size_t x = 0;
    for (; x + 16 <= count; x += 16) {
        __m128i grey = avx2_load16(from + x);
        avx2_store16(to + 3 * x, _mm_shuffle_epi8(grey, first));
        avx2_store16(to + 3 * x + 16, _mm_shuffle_epi8(grey, second));
        avx2_store16(to + 3 * x + 32, _mm_shuffle_epi8(grey, third));
    }
    any_from_grey(from + x, count - x, to + 3 * x);
}

/* Five pixels a store, and a sixteenth byte that the next one overwrites. */
static void avx2_from_bgr(const uint8_t *from, size_t count, uint8_t *to)
{
    const __m128i order = _mm_setr_epi8(2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, 14, 13, 12, 15);
    size_t x = 0;
    for (; x + 6 <= count; x += 5)
        avx2_store16(to + 3 * x, _mm_shuffle_epi8(avx2_load16(from + 3 * x), order));
    any_from_bgr(from + 3 * x, count - x, to + 3 * x);
}

#endif

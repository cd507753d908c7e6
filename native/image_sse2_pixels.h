/* image_sse2_pixels.h - pixels of every format to RGB with SSE2. Included by kernels_sse2.c. As image_avx2_pixels.h;
 * without shuffles of bytes, pixels are made of four bytes and stored one by one, the next over the fourth of the one
 * before. */
#ifndef EDGEMETA_IMAGE_SSE2_PIXELS_H
#define EDGEMETA_IMAGE_SSE2_PIXELS_H

#include "image_pixels.h"
#include "image_sse2.h"

static inline void sse2_store_pixels(__m128i four, uint8_t *to)
{
    sse2_store4(to, four);
    sse2_store4(to + 3, _mm_srli_si128(four, 4));
    sse2_store4(to + 6, _mm_srli_si128(four, 8));
    sse2_store4(to + 9, _mm_srli_si128(four, 12));
}

/* Two pixels of 16 bits a colour: (c * a + 255 * (255 - a) + 127) / 255, see avx2_over_white(). */
static inline __m128i sse2_over_white(__m128i pixels)
{
    __m128i alpha = _mm_shufflehi_epi16(_mm_shufflelo_epi16(pixels, 0xFF), 0xFF);
    __m128i less = _mm_sub_epi16(pixels, _mm_set1_epi16(255));
    __m128i sum = _mm_add_epi16(_mm_mullo_epi16(less, alpha), _mm_set1_epi16(65153 - 65536));
    return _mm_mulhi_epu16(sum, _mm_set1_epi16(257));
}

static void sse2_from_rgba(const uint8_t *from, size_t count, uint8_t *to)
{
    const __m128i zero = _mm_setzero_si128();
    size_t x = 0;
    for (; x + 5 <= count; x += 4) {
        __m128i four = sse2_load16(from + 4 * x);
        __m128i low = sse2_over_white(_mm_unpacklo_epi8(four, zero));
        __m128i high = sse2_over_white(_mm_unpackhi_epi8(four, zero));
        sse2_store_pixels(_mm_packus_epi16(low, high), to + 3 * x);
    }
    any_from_rgba(from + 4 * x, count - x, to + 3 * x);
}

/* (42 Y + part) / 256 + Y + whole, rounded down, limited to a byte. y: pixels 0 to 7 and 8 to 15; a number of part
 * and whole is for two pixels. */
static inline __m128i sse2_yuv_colour(const __m128i y[2], __m128i part, __m128i whole)
{
    const __m128i by = _mm_set1_epi16(42);
    __m128i first = _mm_add_epi16(_mm_mullo_epi16(y[0], by), _mm_unpacklo_epi16(part, part));
    __m128i second = _mm_add_epi16(_mm_mullo_epi16(y[1], by), _mm_unpackhi_epi16(part, part));
    first = _mm_add_epi16(_mm_srai_epi16(first, 8), _mm_add_epi16(y[0], _mm_unpacklo_epi16(whole, whole)));
    second = _mm_add_epi16(_mm_srai_epi16(second, 8), _mm_add_epi16(y[1], _mm_unpackhi_epi16(whole, whole)));
    return _mm_packus_epi16(first, second);
}

/* Sixteen pixels, see avx2_yuv32(). uv: U V U V, 8 bits each. */
static inline void sse2_yuv16(const __m128i y[2], __m128i uv, uint8_t *to)
{
    const __m128i middle = _mm_set1_epi16(128), rest = _mm_set1_epi16(-544), black = _mm_set1_epi16(-16);
    __m128i d = _mm_sub_epi16(_mm_and_si128(uv, _mm_set1_epi16(255)), middle);
    __m128i e = _mm_sub_epi16(_mm_srli_epi16(uv, 8), middle);
    __m128i part, red, green, blue;
    part = _mm_add_epi16(_mm_mullo_epi16(e, _mm_set1_epi16(153)), rest);
    red = sse2_yuv_colour(y, part, _mm_add_epi16(black, e));
    part = _mm_sub_epi16(_mm_mullo_epi16(e, _mm_set1_epi16(48)), _mm_mullo_epi16(d, _mm_set1_epi16(100)));
    green = sse2_yuv_colour(y, _mm_add_epi16(part, rest), _mm_sub_epi16(black, e));
    part = _mm_add_epi16(_mm_slli_epi16(d, 2), rest);
    blue = sse2_yuv_colour(y, part, _mm_add_epi16(black, _mm_add_epi16(d, d)));
    __m128i rg = _mm_unpacklo_epi8(red, green), bb = _mm_unpacklo_epi8(blue, blue);
    sse2_store_pixels(_mm_unpacklo_epi16(rg, bb), to);
    sse2_store_pixels(_mm_unpackhi_epi16(rg, bb), to + 12);
    rg = _mm_unpackhi_epi8(red, green);
    bb = _mm_unpackhi_epi8(blue, blue);
    sse2_store_pixels(_mm_unpacklo_epi16(rg, bb), to + 24);
    sse2_store_pixels(_mm_unpackhi_epi16(rg, bb), to + 36);
}

static void sse2_from_nv12(const uint8_t *luma, const uint8_t *chroma, size_t count, uint8_t *to)
{
    const __m128i zero = _mm_setzero_si128();
    size_t x = 0;
    for (; x + 17 <= count; x += 16) {
        __m128i bytes = sse2_load16(luma + x);
        __m128i y[2] = {_mm_unpacklo_epi8(bytes, zero), _mm_unpackhi_epi8(bytes, zero)};
        sse2_yuv16(y, sse2_load16(chroma + x), to + 3 * x);
    }
    any_from_nv12(luma + x, chroma + x, count - x, to + 3 * x);
}

static void sse2_from_yuyv(const uint8_t *from, size_t count, uint8_t *to)
{
    const __m128i byte = _mm_set1_epi16(255);
    size_t x = 0;
    for (; x + 17 <= count; x += 16) {
        __m128i first = sse2_load16(from + 2 * x), second = sse2_load16(from + 2 * x + 16);
        __m128i y[2] = {_mm_and_si128(first, byte), _mm_and_si128(second, byte)};
        __m128i uv = _mm_packus_epi16(_mm_srli_epi16(first, 8), _mm_srli_epi16(second, 8));
        sse2_yuv16(y, uv, to + 3 * x);
    }
    any_from_yuyv(from + 2 * x, count - x, to + 3 * x);
}

static const struct em_pixel_kernels pixels_sse2 = {
    sse2_from_rgba, sse2_from_nv12, sse2_from_yuyv, any_from_grey, any_from_bgr, NULL, NULL,
};

#endif

/* image_pixels.h - pixels of every format to RGB, one by one, in plain C: for kernels without anything better, and for
 * the last few pixels of those that have. */
#ifndef EDGEMETA_IMAGE_PIXELS_H
#define EDGEMETA_IMAGE_PIXELS_H

#include "internal.h"

static inline void any_from_rgba(const uint8_t *from, size_t count, uint8_t *to)
{
    for (size_t x = 0; x < count; x++, from += 4, to += 3) {
        uint32_t alpha = from[3], white = 255u * (255u - alpha) + 127u;
        to[0] = (uint8_t)((from[0] * alpha + white) / 255u);
        to[1] = (uint8_t)((from[1] * alpha + white) / 255u);
        to[2] = (uint8_t)((from[2] * alpha + white) / 255u);
    }
}

static inline uint8_t any_limited(int32_t x)
{
    int32_t byte = (x < 0 ? 0 : x) >> 8;
    return (uint8_t)(byte > 255 ? 255 : byte);
}

/* Two pixels that share U and V: BT.601 as edgemeta.h has it. */
static inline void any_pair(int32_t y0, int32_t y1, int32_t u, int32_t v, uint8_t *to)
{
    int32_t d = u - 128, e = v - 128;
    int32_t red = 409 * e + 128, green = -100 * d - 208 * e + 128, blue = 516 * d + 128;
    int32_t c0 = 298 * (y0 - 16), c1 = 298 * (y1 - 16);
    to[0] = any_limited(c0 + red);
    to[1] = any_limited(c0 + green);
    to[2] = any_limited(c0 + blue);
    to[3] = any_limited(c1 + red);
    to[4] = any_limited(c1 + green);
    to[5] = any_limited(c1 + blue);
}

static inline void any_from_nv12(const uint8_t *luma, const uint8_t *chroma, size_t count, uint8_t *to)
{
    for (size_t i = 0; i < count; i += 2)
        any_pair(luma[i], luma[i + 1], chroma[i], chroma[i + 1], to + 3 * i);
}

static inline void any_from_yuyv(const uint8_t *from, size_t count, uint8_t *to)
{
    for (size_t i = 0; i < count; i += 2, from += 4)
        any_pair(from[0], from[2], from[1], from[3], to + 3 * i);
}

static inline void any_from_grey(const uint8_t *from, size_t count, uint8_t *to)
{
    for (size_t i = 0; i < count; i++, to += 3)
        to[0] = to[1] = to[2] = from[i];
}

static inline void any_from_bgr(const uint8_t *from, size_t count, uint8_t *to)
{
    for (size_t i = 0; i < count; i++, from += 3, to += 3) {
        to[0] = from[2];
        to[1] = from[1];
        to[2] = from[0];
    }
}

#endif

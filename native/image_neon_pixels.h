/* image_neon_pixels.h - pixels of every format to RGB with NEON, 32 and 64 bits. Included by neon.h. */
#ifndef EDGEMETA_IMAGE_NEON_PIXELS_H
#define EDGEMETA_IMAGE_NEON_PIXELS_H

#include "image_pixels.h"

#include <arm_neon.h>

/* (c * a + white) / 255 of eight colours, white = 255 * (255 - a) + 127: of x below 65535 the quotient is (x + 1 + x
 * / 256) / 256, rounded down. */
static inline uint8x8_t neon_over_white(uint8x8_t colour, uint8x8_t alpha, uint16x8_t white)
{
    uint16x8_t x = vmlal_u8(white, colour, alpha);
    return vaddhn_u16(x, vsraq_n_u16(vdupq_n_u16(1), x, 8));
}

static void neon_from_rgba(const uint8_t *from, size_t count, uint8_t *to)
{
    size_t x = 0;
    for (; x + 8 <= count; x += 8) {
        uint8x8x4_t rgba = vld4_u8(from + 4 * x);
        uint16x8_t white = vsubq_u16(vdupq_n_u16(65152), vmull_u8(rgba.val[3], vdup_n_u8(255)));
        uint8x8x3_t rgb;
        rgb.val[0] = neon_over_white(rgba.val[0], rgba.val[3], white);
        rgb.val[1] = neon_over_white(rgba.val[1], rgba.val[3], white);
        rgb.val[2] = neon_over_white(rgba.val[2], rgba.val[3], white);
        vst3_u8(to + 3 * x, rgb);
    }
    any_from_rgba(from + 4 * x, count - x, to + 3 * x);
}

/* (42 Y + part) / 256 + Y + whole, rounded down, limited to a byte. */
static inline uint8x8_t neon_colour(uint8x8_t y, int16x8_t part, int16x8_t whole)
{
    int16x8_t y42 = vreinterpretq_s16_u16(vmull_u8(y, vdup_n_u8(42)));
    int16x8_t sum = vreinterpretq_s16_u16(vaddw_u8(vreinterpretq_u16_s16(whole), y));
    return vqmovun_s16(vsraq_n_s16(sum, vaddq_s16(y42, part), 8));
}

/* Sixteen pixels, of which the even and the odd ones: BT.601 as edgemeta.h has it, in 16 bits. Multiples of 256 are
 * taken out of the quotient: 298 = 256 + 42, 409 = 256 + 153, -208 = -256 + 48, 516 = 512 + 4; 42 (Y - 16) + 128 = 42
 * Y - 544. */
static inline void neon_yuv16(uint8x8_t even, uint8x8_t odd, uint8x8_t u, uint8x8_t v, uint8_t *to)
{
    int16x8_t d = vreinterpretq_s16_u16(vsubl_u8(u, vdup_n_u8(128)));
    int16x8_t e = vreinterpretq_s16_u16(vsubl_u8(v, vdup_n_u8(128)));
    int16x8_t rest = vdupq_n_s16(-544), black = vdupq_n_s16(-16);
    int16x8_t parts[3], wholes[3];
    uint8x16x3_t rgb;
    parts[0] = vmlaq_n_s16(rest, e, 153);
    parts[1] = vmlaq_n_s16(vmlaq_n_s16(rest, e, 48), d, -100);
    parts[2] = vmlaq_n_s16(rest, d, 4);
    wholes[0] = vaddq_s16(black, e);
    wholes[1] = vsubq_s16(black, e);
    wholes[2] = vaddq_s16(black, vaddq_s16(d, d));
    for (int c = 0; c < 3; c++) {
        uint8x8x2_t both = vzip_u8(neon_colour(even, parts[c], wholes[c]), neon_colour(odd, parts[c], wholes[c]));
        rgb.val[c] = vcombine_u8(both.val[0], both.val[1]);
    }
    vst3q_u8(to, rgb);
}

static void neon_from_nv12(const uint8_t *luma, const uint8_t *chroma, size_t count, uint8_t *to)
{
    size_t x = 0;
    for (; x + 16 <= count; x += 16) {
        uint8x8x2_t y = vld2_u8(luma + x), uv = vld2_u8(chroma + x);
        neon_yuv16(y.val[0], y.val[1], uv.val[0], uv.val[1], to + 3 * x);
    }
    any_from_nv12(luma + x, chroma + x, count - x, to + 3 * x);
}

static void neon_from_yuyv(const uint8_t *from, size_t count, uint8_t *to)
{
    size_t x = 0;
    for (; x + 16 <= count; x += 16) {
        uint8x8x4_t yuyv = vld4_u8(from + 2 * x);
        neon_yuv16(yuyv.val[0], yuyv.val[2], yuyv.val[1], yuyv.val[3], to + 3 * x);
    }
    any_from_yuyv(from + 2 * x, count - x, to + 3 * x);
}

static void neon_from_grey(const uint8_t *from, size_t count, uint8_t *to)
{
    size_t x = 0;
    for (; x + 16 <= count; x += 16) {
        uint8x16x3_t rgb;
        rgb.val[0] = rgb.val[1] = rgb.val[2] = vld1q_u8(from + x);
        vst3q_u8(to + 3 * x, rgb);
    }
    any_from_grey(from + x, count - x, to + 3 * x);
}

static void neon_from_bgr(const uint8_t *from, size_t count, uint8_t *to)
{
    size_t x = 0;
    for (; x + 16 <= count; x += 16) {
        uint8x16x3_t bgr = vld3q_u8(from + 3 * x);
        uint8x16_t blue = bgr.val[0];
        bgr.val[0] = bgr.val[2];
        bgr.val[2] = blue;
        vst3q_u8(to + 3 * x, bgr);
    }
    any_from_bgr(from + 3 * x, count - x, to + 3 * x);
}

static const struct em_pixel_kernels pixels_neon = {
    neon_from_rgba, neon_from_nv12, neon_from_yuyv, neon_from_grey, neon_from_bgr, NULL, NULL,
};

#endif

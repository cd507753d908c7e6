/* neon.h - what the two NEON files share. Float64 only on 64-bit ARM; 32-bit NEON has none, and takes plain C. */
#ifndef EDGEMETA_NEON_H
#define EDGEMETA_NEON_H

#include <arm_neon.h>

#include "image_neon.h"
#include "image_neon_pixels.h"
#include "numbers.h"

#if defined(__aarch64__)
#define STEP_F32(s, a, b) vfmaq_f32(s, a, b)
static inline float neon_sum(float32x4_t x)
{
    return vaddvq_f32(x);
}
#else
#define STEP_F32(s, a, b) vmlaq_f32(s, a, b)
static inline float neon_sum(float32x4_t x)
{
    float32x2_t half = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(vpadd_f32(half, half), 0);
}
#endif

static inline float neon_dot(const float *a, const float *b, size_t n)
{
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        s0 = STEP_F32(s0, vld1q_f32(a + i), vld1q_f32(b + i));
        s1 = STEP_F32(s1, vld1q_f32(a + i + 4), vld1q_f32(b + i + 4));
        s2 = STEP_F32(s2, vld1q_f32(a + i + 8), vld1q_f32(b + i + 8));
        s3 = STEP_F32(s3, vld1q_f32(a + i + 12), vld1q_f32(b + i + 12));
    }
    float sum = neon_sum(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3)));
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static inline void neon_dot4(const float *rows, size_t stride, const float *z, size_t n, float *out)
{
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t x = vld1q_f32(z + i);
        s0 = STEP_F32(s0, vld1q_f32(rows + i), x);
        s1 = STEP_F32(s1, vld1q_f32(rows + stride + i), x);
        s2 = STEP_F32(s2, vld1q_f32(rows + 2 * stride + i), x);
        s3 = STEP_F32(s3, vld1q_f32(rows + 3 * stride + i), x);
    }
    out[0] = neon_sum(s0);
    out[1] = neon_sum(s1);
    out[2] = neon_sum(s2);
    out[3] = neon_sum(s3);
    for (; i < n; i++)
        for (size_t r = 0; r < 4; r++)
            out[r] += rows[r * stride + i] * z[i];
}

static inline float neon_dot_i8(const int8_t *a, const float *b, size_t n)
{
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        int16x8_t wide = vmovl_s8(vld1_s8(a + i));
        s0 = STEP_F32(s0, vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), vld1q_f32(b + i));
        s1 = STEP_F32(s1, vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide))), vld1q_f32(b + i + 4));
    }
    float sum = neon_sum(vaddq_f32(s0, s1));
    for (; i < n; i++)
        sum += (float)a[i] * b[i];
    return sum;
}

#if defined(__aarch64__)

static inline float neon_dot_f16(const uint16_t *a, const float *b, size_t n)
{
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        float16x8_t halves = vreinterpretq_f16_u16(vld1q_u16(a + i));
        s0 = vfmaq_f32(s0, vcvt_f32_f16(vget_low_f16(halves)), vld1q_f32(b + i));
        s1 = vfmaq_f32(s1, vcvt_f32_f16(vget_high_f16(halves)), vld1q_f32(b + i + 4));
    }
    float sum = neon_sum(vaddq_f32(s0, s1));
    for (; i < n; i++)
        sum += half_to_float(a[i]) * b[i];
    return sum;
}

static inline double neon_dot64(const double *a, const double *b, size_t n)
{
    float64x2_t s0 = vdupq_n_f64(0), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        s0 = vfmaq_f64(s0, vld1q_f64(a + i), vld1q_f64(b + i));
        s1 = vfmaq_f64(s1, vld1q_f64(a + i + 2), vld1q_f64(b + i + 2));
        s2 = vfmaq_f64(s2, vld1q_f64(a + i + 4), vld1q_f64(b + i + 4));
        s3 = vfmaq_f64(s3, vld1q_f64(a + i + 6), vld1q_f64(b + i + 6));
    }
    double sum = vaddvq_f64(vaddq_f64(vaddq_f64(s0, s1), vaddq_f64(s2, s3)));
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static inline void neon_axpy64(double a, const double *x, double *y, size_t n)
{
    size_t i = 0;
    for (; i + 2 <= n; i += 2)
        vst1q_f64(y + i, vfmaq_n_f64(vld1q_f64(y + i), vld1q_f64(x + i), a));
    for (; i < n; i++)
        y[i] += a * x[i];
}

/* Four rows times four columns; a and b repeat the last where there are fewer. */
static inline void neon_tile(double sign, const double *const *a, size_t rows, const double *const *b, size_t columns,
                             size_t n, double *out, size_t stride)
{
    float64x2_t s[4][4];
    size_t i = 0;
    for (size_t k = 0; k < 16; k++)
        s[k / 4][k % 4] = vdupq_n_f64(0);
    for (; i + 2 <= n; i += 2) {
        float64x2_t x[4];
        for (size_t c = 0; c < 4; c++)
            x[c] = vld1q_f64(b[c] + i);
        for (size_t r = 0; r < 4; r++) {
            float64x2_t row = vld1q_f64(a[r] + i);
            for (size_t c = 0; c < 4; c++)
                s[r][c] = vfmaq_f64(s[r][c], row, x[c]);
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            out[r * stride + c] += sign * (vaddvq_f64(s[r][c]) + (i < n ? a[r][i] * b[c][i] : 0.0));
}

static inline void neon_product64(double sign, const double *a, size_t stride_a, size_t rows, const double *b,
                                  size_t stride_b, size_t columns, size_t n, double *out, size_t stride)
{
    for (size_t c = 0; c < columns; c += 4)
        for (size_t r = 0; r < rows; r += 4) {
            size_t across = columns - c < 4 ? columns - c : 4, down = rows - r < 4 ? rows - r : 4;
            const double *left[4], *right[4];
            for (size_t k = 0; k < 4; k++) {
                left[k] = a + (r + (k < down ? k : down - 1)) * stride_a;
                right[k] = b + (c + (k < across ? k : across - 1)) * stride_b;
            }
            neon_tile(sign, left, down, right, across, n, out + r * stride + c, stride);
        }
}

static inline void neon_minus64(const double *x, const double *y, size_t n, double *out)
{
    size_t i = 0;
    for (; i + 2 <= n; i += 2)
        vst1q_f64(out + i, vsubq_f64(vld1q_f64(x + i), vld1q_f64(y + i)));
    for (; i < n; i++)
        out[i] = x[i] - y[i];
}

static inline void neon_mix_four(const double *a, const double *x, size_t stride, double *y, size_t n)
{
    const double *x0 = x, *x1 = x + stride, *x2 = x + 2 * stride, *x3 = x + 3 * stride;
    size_t i = 0;
    for (; i + 2 <= n; i += 2) {
        float64x2_t p = vfmaq_n_f64(vld1q_f64(y + i), vld1q_f64(x0 + i), a[0]);
        p = vfmaq_n_f64(p, vld1q_f64(x1 + i), a[1]);
        p = vfmaq_n_f64(p, vld1q_f64(x2 + i), a[2]);
        vst1q_f64(y + i, vfmaq_n_f64(p, vld1q_f64(x3 + i), a[3]));
    }
    for (; i < n; i++)
        y[i] += a[0] * x0[i] + a[1] * x1[i] + a[2] * x2[i] + a[3] * x3[i];
}

static inline void neon_mix64(const double *a, size_t stride_a, size_t outputs, const double *x, size_t stride_x,
                              size_t count, double *y, size_t stride_y, size_t n)
{
    size_t r = 0;
    for (; r + 4 <= count; r += 4)
        for (size_t k = 0; k < outputs; k++)
            neon_mix_four(a + k * stride_a + r, x + r * stride_x, stride_x, y + k * stride_y, n);
    for (; r < count; r++)
        for (size_t k = 0; k < outputs; k++)
            neon_axpy64(a[k * stride_a + r], x + r * stride_x, y + k * stride_y, n);
}

static inline void neon_tiles(double *sums, const double *a, const double *b, size_t count, double sign)
{
    for (size_t k = 0; k < count; k++) {
        float64x2_t low = vmulq_n_f64(vld1q_f64(b + 4 * k), sign), high = vmulq_n_f64(vld1q_f64(b + 4 * k + 2), sign);
        for (size_t r = 0; r < 8; r++) {
            double *at = sums + 32 * k + 4 * r;
            vst1q_f64(at, vfmaq_n_f64(vld1q_f64(at), low, a[r]));
            vst1q_f64(at + 2, vfmaq_n_f64(vld1q_f64(at + 2), high, a[r]));
        }
    }
}

#else
#define neon_dot_f16 any_dot_f16
#define neon_dot64 any_dot64
#define neon_axpy64 any_axpy64
#define neon_product64 any_product64
#define neon_minus64 any_minus64
#define neon_mix64 any_mix64
#define neon_tiles any_tiles
#endif

#endif

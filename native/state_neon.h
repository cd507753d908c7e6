/* state_neon.h - state_any.h for ARM with NEON: products of whole numbers on all of it, float64 on 64 bits. */
#ifndef EDGEMETA_STATE_NEON_H
#define EDGEMETA_STATE_NEON_H

#include <arm_neon.h>

#include "state_any.h"

static inline void neon_rows_dot(const int32_t *const *rows, const int32_t *x, size_t n, double *out)
{
    int64x2_t s[4];
    size_t i = 0;
    for (size_t r = 0; r < 4; r++)
        s[r] = vdupq_n_s64(0);
    for (; i + 4 <= n; i += 4) {
        int32x4_t four = vld1q_s32(x + i);
        for (size_t r = 0; r < 4; r++) {
            int32x4_t row = vld1q_s32(rows[r] + i);
            s[r] = vmlal_s32(s[r], vget_low_s32(row), vget_low_s32(four));
            s[r] = vmlal_s32(s[r], vget_high_s32(row), vget_high_s32(four));
        }
    }
    for (size_t r = 0; r < 4; r++) {
        int64_t sum = vgetq_lane_s64(s[r], 0) + vgetq_lane_s64(s[r], 1);
        for (size_t k = i; k < n; k++)
            sum += (int64_t)rows[r][k] * x[k];
        out[r] = (double)sum;
    }
}

#if defined(__aarch64__)

static inline void neon_rows_mix(const double *a, const int32_t *const *rows, double *y, size_t n)
{
    size_t i = 0;
    for (; i + 2 <= n; i += 2) {
        float64x2_t sum = vld1q_f64(y + i);
        for (size_t r = 0; r < 4; r++)
            sum = vfmaq_n_f64(sum, vcvtq_f64_s64(vmovl_s32(vld1_s32(rows[r] + i))), a[r]);
        vst1q_f64(y + i, sum);
    }
    for (size_t r = 0; r < 4 && i < n; r++)
        y[i] += a[r] * rows[r][i];
}

#else
#define neon_rows_mix any_rows_mix
#endif

static const struct em_state_kernels state_neon = {any_measure, any_widen, neon_rows_dot, neon_rows_mix, any_move};

#endif

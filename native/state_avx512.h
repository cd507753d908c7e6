/* state_avx512.h - state_any.h for x86 with AVX-512 F, DQ and VL: what comes after avx2.h. */
#ifndef EDGEMETA_STATE_AVX512_H
#define EDGEMETA_STATE_AVX512_H

#include "state_avx2.h"

static inline __m512d avx512_doubles(const int32_t *at)
{
    return _mm512_cvtepi32_pd(_mm256_loadu_si256((const __m256i *)(const void *)at));
}

/* In float64, which is exact for these numbers and takes less than products of whole numbers do. */
static void avx512_rows_dot(const int32_t *const *rows, const int32_t *x, size_t n, double *out)
{
    const int32_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    __m512d s0 = _mm512_setzero_pd(), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
    double rest[4];
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512d low = avx512_doubles(x + i), high = avx512_doubles(x + i + 8);
        s0 = _mm512_fmadd_pd(avx512_doubles(r0 + i), low, s0);
        s1 = _mm512_fmadd_pd(avx512_doubles(r1 + i), low, s1);
        s2 = _mm512_fmadd_pd(avx512_doubles(r2 + i), low, s2);
        s3 = _mm512_fmadd_pd(avx512_doubles(r3 + i), low, s3);
        t0 = _mm512_fmadd_pd(avx512_doubles(r0 + i + 8), high, t0);
        t1 = _mm512_fmadd_pd(avx512_doubles(r1 + i + 8), high, t1);
        t2 = _mm512_fmadd_pd(avx512_doubles(r2 + i + 8), high, t2);
        t3 = _mm512_fmadd_pd(avx512_doubles(r3 + i + 8), high, t3);
    }
    const int32_t *ends[4] = {r0 + i, r1 + i, r2 + i, r3 + i};
    any_rows_dot(ends, x + i, n - i, rest);
    out[0] = _mm512_reduce_add_pd(_mm512_add_pd(s0, t0)) + rest[0];
    out[1] = _mm512_reduce_add_pd(_mm512_add_pd(s1, t1)) + rest[1];
    out[2] = _mm512_reduce_add_pd(_mm512_add_pd(s2, t2)) + rest[2];
    out[3] = _mm512_reduce_add_pd(_mm512_add_pd(s3, t3)) + rest[3];
}

static void avx512_rows_mix(const double *a, const int32_t *const *rows, double *y, size_t n)
{
    const int32_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    __m512d a0 = _mm512_set1_pd(a[0]), a1 = _mm512_set1_pd(a[1]), a2 = _mm512_set1_pd(a[2]), a3 = _mm512_set1_pd(a[3]);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m512d sum = _mm512_fmadd_pd(a0, avx512_doubles(r0 + i), _mm512_loadu_pd(y + i));
        sum = _mm512_fmadd_pd(a1, avx512_doubles(r1 + i), sum);
        sum = _mm512_fmadd_pd(a2, avx512_doubles(r2 + i), sum);
        _mm512_storeu_pd(y + i, _mm512_fmadd_pd(a3, avx512_doubles(r3 + i), sum));
    }
    const int32_t *ends[4] = {r0 + i, r1 + i, r2 + i, r3 + i};
    any_rows_mix(a, ends, y + i, n - i);
}

static double avx512_move(double factor, const double *step, double *w, double scale, float *quick, const double *along,
                          size_t n)
{
    __m512d by = _mm512_set1_pd(factor), scaled = _mm512_set1_pd(scale), s0 = _mm512_setzero_pd(), s1 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512d low = _mm512_fmadd_pd(by, _mm512_loadu_pd(step + i), _mm512_loadu_pd(w + i));
        __m512d high = _mm512_fmadd_pd(by, _mm512_loadu_pd(step + i + 8), _mm512_loadu_pd(w + i + 8));
        _mm512_storeu_pd(w + i, low);
        _mm512_storeu_pd(w + i + 8, high);
        s0 = _mm512_fmadd_pd(low, _mm512_loadu_pd(along + i), s0);
        s1 = _mm512_fmadd_pd(high, _mm512_loadu_pd(along + i + 8), s1);
        _mm256_storeu_ps(quick + i, _mm512_cvtpd_ps(_mm512_mul_pd(scaled, low)));
        _mm256_storeu_ps(quick + i + 8, _mm512_cvtpd_ps(_mm512_mul_pd(scaled, high)));
    }
    return _mm512_reduce_add_pd(_mm512_add_pd(s0, s1)) +
           any_move(factor, step + i, w + i, scale, quick + i, along + i, n - i);
}

static const struct em_state_kernels state_avx512 = {avx2_measure, avx2_widen, avx512_rows_dot, avx512_rows_mix,
                                                     avx512_move};

#endif

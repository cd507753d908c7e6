/* ldl_avx2.h - ldl.h for x86 with AVX2 and FMA: a column of a tile is a register. */
#ifndef EDGEMETA_LDL_AVX2_H
#define EDGEMETA_LDL_AVX2_H

#include <immintrin.h>

#include "ldl.h"

static void ldl_avx2_change(double *tiles, size_t count, const double *p, const double *b, double *w)
{
    __m256d p0 = _mm256_set1_pd(p[0]), p1 = _mm256_set1_pd(p[1]), p2 = _mm256_set1_pd(p[2]), p3 = _mm256_set1_pd(p[3]);
    __m256d b0 = _mm256_set1_pd(b[0]), b1 = _mm256_set1_pd(b[1]), b2 = _mm256_set1_pd(b[2]), b3 = _mm256_set1_pd(b[3]);
    for (size_t k = 0; k < count; k++) {
        double *l = tiles + 16 * k;
        __m256d l0 = _mm256_loadu_pd(l), l1 = _mm256_loadu_pd(l + 4), l2 = _mm256_loadu_pd(l + 8);
        __m256d l3 = _mm256_loadu_pd(l + 12), now = _mm256_loadu_pd(w + 4 * k);
        now = _mm256_fnmadd_pd(p0, l0, now);
        _mm256_storeu_pd(l, _mm256_fmadd_pd(b0, now, l0));
        now = _mm256_fnmadd_pd(p1, l1, now);
        _mm256_storeu_pd(l + 4, _mm256_fmadd_pd(b1, now, l1));
        now = _mm256_fnmadd_pd(p2, l2, now);
        _mm256_storeu_pd(l + 8, _mm256_fmadd_pd(b2, now, l2));
        now = _mm256_fnmadd_pd(p3, l3, now);
        _mm256_storeu_pd(l + 12, _mm256_fmadd_pd(b3, now, l3));
        _mm256_storeu_pd(w + 4 * k, now);
    }
}

static void ldl_avx2_dot(const double *tiles, size_t count, const double *x, double *out)
{
    __m256d s0 = _mm256_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
    for (size_t k = 0; k < count; k++) {
        const double *l = tiles + 16 * k;
        __m256d now = _mm256_loadu_pd(x + 4 * k);
        s0 = _mm256_fmadd_pd(_mm256_loadu_pd(l), now, s0);
        s1 = _mm256_fmadd_pd(_mm256_loadu_pd(l + 4), now, s1);
        s2 = _mm256_fmadd_pd(_mm256_loadu_pd(l + 8), now, s2);
        s3 = _mm256_fmadd_pd(_mm256_loadu_pd(l + 12), now, s3);
    }
    s0 = _mm256_hadd_pd(s0, s1);
    s2 = _mm256_hadd_pd(s2, s3);
    _mm_storeu_pd(out, _mm_add_pd(_mm256_castpd256_pd128(s0), _mm256_extractf128_pd(s0, 1)));
    _mm_storeu_pd(out + 2, _mm_add_pd(_mm256_castpd256_pd128(s2), _mm256_extractf128_pd(s2, 1)));
}

/* Two tiles: eight rows and four columns in eight registers. */
static void ldl_avx2_two(double *tiles, size_t at, const double *const *a, const double *b, size_t depth)
{
    __m256d s0 = _mm256_setzero_pd(), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
    for (size_t k = 0; k < depth; k++)
        for (size_t i = 0; i < 4; i++) {
            const double *by = b + 16 * k + 4 * i;
            __m256d upper = _mm256_loadu_pd(a[k] + at + 4 * i), lower = _mm256_loadu_pd(a[k] + at + 16 + 4 * i), x;
            x = _mm256_broadcast_sd(by);
            s0 = _mm256_fmadd_pd(upper, x, s0);
            t0 = _mm256_fmadd_pd(lower, x, t0);
            x = _mm256_broadcast_sd(by + 1);
            s1 = _mm256_fmadd_pd(upper, x, s1);
            t1 = _mm256_fmadd_pd(lower, x, t1);
            x = _mm256_broadcast_sd(by + 2);
            s2 = _mm256_fmadd_pd(upper, x, s2);
            t2 = _mm256_fmadd_pd(lower, x, t2);
            x = _mm256_broadcast_sd(by + 3);
            s3 = _mm256_fmadd_pd(upper, x, s3);
            t3 = _mm256_fmadd_pd(lower, x, t3);
        }
    double *to = tiles + at;
    _mm256_storeu_pd(to, _mm256_sub_pd(_mm256_loadu_pd(to), s0));
    _mm256_storeu_pd(to + 4, _mm256_sub_pd(_mm256_loadu_pd(to + 4), s1));
    _mm256_storeu_pd(to + 8, _mm256_sub_pd(_mm256_loadu_pd(to + 8), s2));
    _mm256_storeu_pd(to + 12, _mm256_sub_pd(_mm256_loadu_pd(to + 12), s3));
    _mm256_storeu_pd(to + 16, _mm256_sub_pd(_mm256_loadu_pd(to + 16), t0));
    _mm256_storeu_pd(to + 20, _mm256_sub_pd(_mm256_loadu_pd(to + 20), t1));
    _mm256_storeu_pd(to + 24, _mm256_sub_pd(_mm256_loadu_pd(to + 24), t2));
    _mm256_storeu_pd(to + 28, _mm256_sub_pd(_mm256_loadu_pd(to + 28), t3));
}

static void ldl_avx2_panel(double *tiles, size_t count, const double *const *a, const double *b, size_t depth)
{
    size_t t = 0;
    for (; t + 2 <= count; t += 2)
        ldl_avx2_two(tiles, 16 * t, a, b, depth);
    for (size_t k = 0; k < depth && t < count; k++) {
        const double *last = a[k] + 16 * t;
        any_ldl_panel(tiles + 16 * t, 1, &last, b + 16 * k, 1);
    }
}

static const struct em_ldl_kernels ldl_avx2 = {ldl_avx2_change, ldl_avx2_dot, ldl_avx2_panel};

#endif

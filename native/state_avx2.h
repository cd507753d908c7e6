/* state_avx2.h - state_any.h for x86 with AVX2 and FMA. */
#ifndef EDGEMETA_STATE_AVX2_H
#define EDGEMETA_STATE_AVX2_H

#include <immintrin.h>

#include "state_any.h"

static inline __m256i avx2_ints(const int32_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline __m256d avx2_doubles(const int32_t *at)
{
    return _mm256_cvtepi32_pd(_mm_loadu_si128((const __m128i *)(const void *)at));
}

static void avx2_measure(const int32_t *q20, size_t n, uint32_t *largest, uint64_t *squares)
{
    __m256i most = _mm256_setzero_si256(), sum = most;
    uint32_t sizes[8], rest;
    uint64_t parts[4], of_rest;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i q = avx2_ints(q20 + i), odd = _mm256_srli_epi64(q, 32);
        most = _mm256_max_epu32(most, _mm256_abs_epi32(q));
        sum = _mm256_add_epi64(sum, _mm256_add_epi64(_mm256_mul_epi32(q, q), _mm256_mul_epi32(odd, odd)));
    }
    _mm256_storeu_si256((__m256i *)(void *)sizes, most);
    _mm256_storeu_si256((__m256i *)(void *)parts, sum);
    any_measure(q20 + i, n - i, &rest, &of_rest);
    for (size_t k = 0; k < 8; k++)
        rest = sizes[k] > rest ? sizes[k] : rest;
    *largest = rest;
    *squares = (parts[0] + parts[1]) + (parts[2] + parts[3]) + of_rest;
}

static void avx2_widen(const int32_t *q20, double factor, const double *less, double *out, size_t n)
{
    __m256d unit = _mm256_set1_pd(1.0 / EM_Q20), by = _mm256_set1_pd(factor);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        __m256d z = _mm256_mul_pd(avx2_doubles(q20 + i), unit);
        _mm256_storeu_pd(out + i, _mm256_fnmadd_pd(by, _mm256_loadu_pd(less + i), z));
    }
    any_widen(q20 + i, factor, less + i, out + i, n - i);
}

/* Products of the numbers at even places, and of those at odd places, moved there. */
static inline __m256i avx2_step(__m256i sum, const int32_t *row, __m256i even, __m256i odd)
{
    __m256i z = avx2_ints(row);
    sum = _mm256_add_epi64(sum, _mm256_mul_epi32(z, even));
    return _mm256_add_epi64(sum, _mm256_mul_epi32(_mm256_shuffle_epi32(z, 0xF5), odd));
}

static inline double avx2_whole(__m256i sum)
{
    int64_t parts[4];
    _mm256_storeu_si256((__m256i *)(void *)parts, sum);
    return (double)((parts[0] + parts[1]) + (parts[2] + parts[3]));
}

static void avx2_rows_dot(const int32_t *const *rows, const int32_t *x, size_t n, double *out)
{
    const int32_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
    double rest[4];
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i even = avx2_ints(x + i), odd = _mm256_shuffle_epi32(even, 0xF5);
        s0 = avx2_step(s0, r0 + i, even, odd);
        s1 = avx2_step(s1, r1 + i, even, odd);
        s2 = avx2_step(s2, r2 + i, even, odd);
        s3 = avx2_step(s3, r3 + i, even, odd);
    }
    const int32_t *ends[4] = {r0 + i, r1 + i, r2 + i, r3 + i};
    any_rows_dot(ends, x + i, n - i, rest);
    out[0] = avx2_whole(s0) + rest[0];
    out[1] = avx2_whole(s1) + rest[1];
    out[2] = avx2_whole(s2) + rest[2];
    out[3] = avx2_whole(s3) + rest[3];
}

static void avx2_rows_mix(const double *a, const int32_t *const *rows, double *y, size_t n)
{
    const int32_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    __m256d a0 = _mm256_set1_pd(a[0]), a1 = _mm256_set1_pd(a[1]), a2 = _mm256_set1_pd(a[2]), a3 = _mm256_set1_pd(a[3]);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        __m256d sum = _mm256_fmadd_pd(a0, avx2_doubles(r0 + i), _mm256_loadu_pd(y + i));
        sum = _mm256_fmadd_pd(a1, avx2_doubles(r1 + i), sum);
        sum = _mm256_fmadd_pd(a2, avx2_doubles(r2 + i), sum);
        _mm256_storeu_pd(y + i, _mm256_fmadd_pd(a3, avx2_doubles(r3 + i), sum));
    }
    const int32_t *ends[4] = {r0 + i, r1 + i, r2 + i, r3 + i};
    any_rows_mix(a, ends, y + i, n - i);
}

static double avx2_move(double factor, const double *step, double *w, double scale, float *quick, const double *along,
                        size_t n)
{
    __m256d by = _mm256_set1_pd(factor), scaled = _mm256_set1_pd(scale), s0 = _mm256_setzero_pd(), s1 = s0;
    double parts[4];
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256d low = _mm256_fmadd_pd(by, _mm256_loadu_pd(step + i), _mm256_loadu_pd(w + i));
        __m256d high = _mm256_fmadd_pd(by, _mm256_loadu_pd(step + i + 4), _mm256_loadu_pd(w + i + 4));
        _mm256_storeu_pd(w + i, low);
        _mm256_storeu_pd(w + i + 4, high);
        s0 = _mm256_fmadd_pd(low, _mm256_loadu_pd(along + i), s0);
        s1 = _mm256_fmadd_pd(high, _mm256_loadu_pd(along + i + 4), s1);
        _mm_storeu_ps(quick + i, _mm256_cvtpd_ps(_mm256_mul_pd(scaled, low)));
        _mm_storeu_ps(quick + i + 4, _mm256_cvtpd_ps(_mm256_mul_pd(scaled, high)));
    }
    _mm256_storeu_pd(parts, _mm256_add_pd(s0, s1));
    return ((parts[0] + parts[2]) + (parts[1] + parts[3])) +
           any_move(factor, step + i, w + i, scale, quick + i, along + i, n - i);
}

static const struct em_state_kernels state_avx2 = {avx2_measure, avx2_widen, avx2_rows_dot, avx2_rows_mix, avx2_move};

#endif

/* avx2.h - what the files of AVX2 and AVX-512 share. */
#ifndef EDGEMETA_AVX2_H
#define EDGEMETA_AVX2_H

#include <immintrin.h>

#include "image_avx2_grey.h"
#include "image_avx2_pixels.h"
#include "ldl_avx2.h"
#include "numbers.h"
#include "state_avx2.h"

static inline float sum_ps(__m256 x)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}

static inline double sum_pd(__m256d x)
{
    __m128d half = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
    return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}

static inline float dot(const float *a, const float *b, size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
        s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s2);
        s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s3);
    }
    for (; i + 8 <= n; i += 8)
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
    float sum = sum_ps(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static inline void dot4(const float *rows, size_t stride, const float *z, size_t n, float *out)
{
    const float *r0 = rows, *r1 = rows + stride, *r2 = rows + 2 * stride, *r3 = rows + 3 * stride;
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 x = _mm256_loadu_ps(z + i), y = _mm256_loadu_ps(z + i + 8);
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(r0 + i), x, s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(r1 + i), x, s1);
        s2 = _mm256_fmadd_ps(_mm256_loadu_ps(r2 + i), x, s2);
        s3 = _mm256_fmadd_ps(_mm256_loadu_ps(r3 + i), x, s3);
        t0 = _mm256_fmadd_ps(_mm256_loadu_ps(r0 + i + 8), y, t0);
        t1 = _mm256_fmadd_ps(_mm256_loadu_ps(r1 + i + 8), y, t1);
        t2 = _mm256_fmadd_ps(_mm256_loadu_ps(r2 + i + 8), y, t2);
        t3 = _mm256_fmadd_ps(_mm256_loadu_ps(r3 + i + 8), y, t3);
    }
    /* Four sums at once: two rounds of pairs within the halves, then the halves. */
    __m256 p = _mm256_hadd_ps(_mm256_add_ps(s0, t0), _mm256_add_ps(s1, t1));
    __m256 q = _mm256_hadd_ps(_mm256_add_ps(s2, t2), _mm256_add_ps(s3, t3));
    p = _mm256_hadd_ps(p, q);
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(p), _mm256_extractf128_ps(p, 1)));
    for (; i < n; i++) {
        out[0] += r0[i] * z[i];
        out[1] += r1[i] * z[i];
        out[2] += r2[i] * z[i];
        out[3] += r3[i] * z[i];
    }
}

static inline double dot64(const double *a, const double *b, size_t n)
{
    __m256d s0 = _mm256_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        s0 = _mm256_fmadd_pd(_mm256_loadu_pd(a + i), _mm256_loadu_pd(b + i), s0);
        s1 = _mm256_fmadd_pd(_mm256_loadu_pd(a + i + 4), _mm256_loadu_pd(b + i + 4), s1);
        s2 = _mm256_fmadd_pd(_mm256_loadu_pd(a + i + 8), _mm256_loadu_pd(b + i + 8), s2);
        s3 = _mm256_fmadd_pd(_mm256_loadu_pd(a + i + 12), _mm256_loadu_pd(b + i + 12), s3);
    }
    for (; i + 4 <= n; i += 4)
        s0 = _mm256_fmadd_pd(_mm256_loadu_pd(a + i), _mm256_loadu_pd(b + i), s0);
    double sum = sum_pd(_mm256_add_pd(_mm256_add_pd(s0, s1), _mm256_add_pd(s2, s3)));
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static inline void axpy64(double a, const double *x, double *y, size_t n)
{
    __m256d factor = _mm256_set1_pd(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_pd(y + i, _mm256_fmadd_pd(factor, _mm256_loadu_pd(x + i), _mm256_loadu_pd(y + i)));
        _mm256_storeu_pd(y + i + 4, _mm256_fmadd_pd(factor, _mm256_loadu_pd(x + i + 4), _mm256_loadu_pd(y + i + 4)));
    }
    for (; i < n; i++)
        y[i] += a * x[i];
}

/* The first `count` (1 to 4) of four. */
static inline __m256i first_of_4(size_t count)
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)count), _mm256_setr_epi64x(0, 1, 2, 3));
}

/* One row's sums of four numbers, to one number each. */
static inline __m256d sum_4(const __m256d *s)
{
    __m256d p = _mm256_hadd_pd(s[0], s[1]), q = _mm256_hadd_pd(s[2], s[3]); /* 0 1 | 0 1 and 2 3 | 2 3 */
    return _mm256_add_pd(_mm256_permute2f128_pd(p, q, 0x20), _mm256_permute2f128_pd(p, q, 0x31));
}

/* `rows` (a constant, at most 3) times `columns` (at most 4; b repeats the last) in registers. */
static inline __attribute__((always_inline)) void tile(size_t rows, double sign, const double *a, size_t stride_a,
                                                       const double *const *b, size_t columns, size_t n, double *out,
                                                       size_t stride)
{
    const double *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3];
    __m256d s[3][4];
    __m256i some = first_of_4(columns);
    size_t i = 0;
    for (size_t r = 0; r < rows; r++)
        s[r][0] = s[r][1] = s[r][2] = s[r][3] = _mm256_setzero_pd();
    for (; i + 4 <= n; i += 4) {
        __m256d x0 = _mm256_loadu_pd(b0 + i), x1 = _mm256_loadu_pd(b1 + i);
        __m256d x2 = _mm256_loadu_pd(b2 + i), x3 = _mm256_loadu_pd(b3 + i);
        for (size_t r = 0; r < rows; r++) {
            __m256d row = _mm256_loadu_pd(a + r * stride_a + i);
            s[r][0] = _mm256_fmadd_pd(row, x0, s[r][0]);
            s[r][1] = _mm256_fmadd_pd(row, x1, s[r][1]);
            s[r][2] = _mm256_fmadd_pd(row, x2, s[r][2]);
            s[r][3] = _mm256_fmadd_pd(row, x3, s[r][3]);
        }
    }
    if (i < n) {
        __m256i rest = first_of_4(n - i);
        for (size_t r = 0; r < rows; r++) {
            __m256d row = _mm256_maskload_pd(a + r * stride_a + i, rest);
            for (size_t c = 0; c < 4; c++)
                s[r][c] = _mm256_fmadd_pd(row, _mm256_maskload_pd(b[c] + i, rest), s[r][c]);
        }
    }
    for (size_t r = 0; r < rows; r++) {
        double *at = out + r * stride;
        __m256d sums = _mm256_fmadd_pd(_mm256_set1_pd(sign), sum_4(s[r]), _mm256_maskload_pd(at, some));
        _mm256_maskstore_pd(at, some, sums);
    }
}

static inline void product64(double sign, const double *a, size_t stride_a, size_t rows, const double *b,
                             size_t stride_b, size_t columns, size_t n, double *out, size_t stride)
{
    for (size_t c = 0; c < columns; c += 4) {
        size_t now = columns - c < 4 ? columns - c : 4, r = 0;
        const double *four[4];
        for (size_t k = 0; k < 4; k++)
            four[k] = b + (c + (k < now ? k : now - 1)) * stride_b;
        for (; r + 3 <= rows; r += 3)
            tile(3, sign, a + r * stride_a, stride_a, four, now, n, out + r * stride + c, stride);
        if (r + 2 == rows)
            tile(2, sign, a + r * stride_a, stride_a, four, now, n, out + r * stride + c, stride);
        else if (r < rows)
            tile(1, sign, a + r * stride_a, stride_a, four, now, n, out + r * stride + c, stride);
    }
}

static inline void minus64(const double *x, const double *y, size_t n, double *out)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        _mm256_storeu_pd(out + i, _mm256_sub_pd(_mm256_loadu_pd(x + i), _mm256_loadu_pd(y + i)));
    for (; i < n; i++)
        out[i] = x[i] - y[i];
}

/* `outputs` (a constant, at most 4) times three registers of columns, of which the first `n` (1 to 12) are there. */
static inline __attribute__((always_inline)) void mix(size_t outputs, const double *a, size_t stride_a, const double *x,
                                                      size_t stride_x, size_t count, double *y, size_t stride_y,
                                                      size_t n)
{
    __m256i some[3];
    __m256d s[4][3];
    for (size_t i = 0; i < 3; i++) {
        some[i] = first_of_4(n > 4 * i ? n - 4 * i : 0);
        for (size_t k = 0; k < outputs; k++)
            s[k][i] = _mm256_maskload_pd(y + k * stride_y + 4 * i, some[i]);
    }
    for (size_t r = 0; r < count; r++) {
        __m256d x0, x1, x2;
        if (n == 12) {
            x0 = _mm256_loadu_pd(x + r * stride_x);
            x1 = _mm256_loadu_pd(x + r * stride_x + 4);
            x2 = _mm256_loadu_pd(x + r * stride_x + 8);
        } else {
            x0 = _mm256_maskload_pd(x + r * stride_x, some[0]);
            x1 = _mm256_maskload_pd(x + r * stride_x + 4, some[1]);
            x2 = _mm256_maskload_pd(x + r * stride_x + 8, some[2]);
        }
        for (size_t k = 0; k < outputs; k++) {
            __m256d factor = _mm256_broadcast_sd(a + k * stride_a + r);
            s[k][0] = _mm256_fmadd_pd(factor, x0, s[k][0]);
            s[k][1] = _mm256_fmadd_pd(factor, x1, s[k][1]);
            s[k][2] = _mm256_fmadd_pd(factor, x2, s[k][2]);
        }
    }
    for (size_t k = 0; k < outputs; k++)
        for (size_t i = 0; i < 3; i++)
            _mm256_maskstore_pd(y + k * stride_y + 4 * i, some[i], s[k][i]);
}

static inline void mix_columns(const double *a, size_t stride_a, size_t outputs, const double *x, size_t stride_x,
                               size_t count, double *y, size_t stride_y, size_t n)
{
    size_t k = 0;
    for (; k + 4 <= outputs; k += 4)
        mix(4, a + k * stride_a, stride_a, x, stride_x, count, y + k * stride_y, stride_y, n);
    if (outputs - k == 3)
        mix(3, a + k * stride_a, stride_a, x, stride_x, count, y + k * stride_y, stride_y, n);
    else if (outputs - k == 2)
        mix(2, a + k * stride_a, stride_a, x, stride_x, count, y + k * stride_y, stride_y, n);
    else if (outputs - k == 1)
        mix(1, a + k * stride_a, stride_a, x, stride_x, count, y + k * stride_y, stride_y, n);
}

/* Rows that are read side by side: not more than the processor fetches ahead. */
#define MIX_ROWS 16

static inline void mix64(const double *a, size_t stride_a, size_t outputs, const double *x, size_t stride_x,
                         size_t count, double *y, size_t stride_y, size_t n)
{
    for (size_t r = 0; r < count; r += MIX_ROWS)
        for (size_t i = 0; i < n; i += 12)
            mix_columns(a + r, stride_a, outputs, x + r * stride_x + i, stride_x,
                        count - r < MIX_ROWS ? count - r : MIX_ROWS, y + i, stride_y, n - i < 12 ? n - i : 12);
}

static inline float dot_f16(const uint16_t *a, const float *b, size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 x = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(a + i)));
        __m256 y = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(a + i + 8)));
        s0 = _mm256_fmadd_ps(x, _mm256_loadu_ps(b + i), s0);
        s1 = _mm256_fmadd_ps(y, _mm256_loadu_ps(b + i + 8), s1);
    }
    float sum = sum_ps(_mm256_add_ps(s0, s1));
    for (; i < n; i++)
        sum += half_to_float(a[i]) * b[i];
    return sum;
}

static inline float dot_i8(const int8_t *a, const float *b, size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(a + i));
        __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
        __m256 y = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
        s0 = _mm256_fmadd_ps(x, _mm256_loadu_ps(b + i), s0);
        s1 = _mm256_fmadd_ps(y, _mm256_loadu_ps(b + i + 8), s1);
    }
    float sum = sum_ps(_mm256_add_ps(s0, s1));
    for (; i < n; i++)
        sum += (float)a[i] * b[i];
    return sum;
}

static inline void tiles(double *sums, const double *a, const double *b, size_t count, double sign)
{
    __m256d row[8];
    for (size_t r = 0; r < 8; r++)
        row[r] = _mm256_set1_pd(sign * a[r]);
    for (size_t k = 0; k < count; k++) {
        double *at = sums + 32 * k;
        __m256d columns = _mm256_loadu_pd(b + 4 * k);
        for (size_t r = 0; r < 8; r++)
            _mm256_storeu_pd(at + 4 * r, _mm256_fmadd_pd(row[r], columns, _mm256_loadu_pd(at + 4 * r)));
    }
}

static const struct em_pixel_kernels pixels_avx2 = {
    avx2_from_rgba, avx2_from_nv12, avx2_from_yuyv, avx2_from_grey, avx2_from_bgr, along_grey_avx2,
    along_opaque_avx2,
};

#endif

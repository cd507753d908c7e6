/* kernels_avx512.c - x86 with AVX-512 F, BW, DQ and VL (Intel's servers since 2017, AMD since 2022): twice as many
 * numbers at once where sums of products are long. Everything else is as with AVX2. */
#include "avx2.h"
#include "state_avx512.h"

/* The first `count` of a register. */
static inline __mmask8 first_8(size_t count)
{
    return (__mmask8)(count < 8 ? (1u << count) - 1u : 255u);
}

static inline __mmask16 first_16(size_t count)
{
    return (__mmask16)(count < 16 ? (1u << count) - 1u : 65535u);
}

static float wide_dot(const float *a, const float *b, size_t n)
{
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
        s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32), s2);
        s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48), s3);
    }
    for (; i < n; i += 16) {
        __mmask16 some = first_16(n - i);
        s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(some, a + i), _mm512_maskz_loadu_ps(some, b + i), s0);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

static inline __m256 halves_ps(__m512 x)
{
    return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
}

static void wide_dot4(const float *rows, size_t stride, const float *z, size_t n, float *out)
{
    const float *r0 = rows, *r1 = rows + stride, *r2 = rows + 2 * stride, *r3 = rows + 3 * stride;
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m512 x = _mm512_loadu_ps(z + i), y = _mm512_loadu_ps(z + i + 16);
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(r0 + i), x, s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(r1 + i), x, s1);
        s2 = _mm512_fmadd_ps(_mm512_loadu_ps(r2 + i), x, s2);
        s3 = _mm512_fmadd_ps(_mm512_loadu_ps(r3 + i), x, s3);
        t0 = _mm512_fmadd_ps(_mm512_loadu_ps(r0 + i + 16), y, t0);
        t1 = _mm512_fmadd_ps(_mm512_loadu_ps(r1 + i + 16), y, t1);
        t2 = _mm512_fmadd_ps(_mm512_loadu_ps(r2 + i + 16), y, t2);
        t3 = _mm512_fmadd_ps(_mm512_loadu_ps(r3 + i + 16), y, t3);
    }
    for (; i < n; i += 16) {
        __mmask16 some = first_16(n - i);
        __m512 x = _mm512_maskz_loadu_ps(some, z + i);
        s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(some, r0 + i), x, s0);
        s1 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(some, r1 + i), x, s1);
        s2 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(some, r2 + i), x, s2);
        s3 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(some, r3 + i), x, s3);
    }
    /* Four sums at once: two rounds of pairs within the halves, then the halves. */
    __m256 p = _mm256_hadd_ps(halves_ps(_mm512_add_ps(s0, t0)), halves_ps(_mm512_add_ps(s1, t1)));
    __m256 q = _mm256_hadd_ps(halves_ps(_mm512_add_ps(s2, t2)), halves_ps(_mm512_add_ps(s3, t3)));
    p = _mm256_hadd_ps(p, q);
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(p), _mm256_extractf128_ps(p, 1)));
}

static double wide_dot64(const double *a, const double *b, size_t n)
{
    __m512d s0 = _mm512_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        s0 = _mm512_fmadd_pd(_mm512_loadu_pd(a + i), _mm512_loadu_pd(b + i), s0);
        s1 = _mm512_fmadd_pd(_mm512_loadu_pd(a + i + 8), _mm512_loadu_pd(b + i + 8), s1);
        s2 = _mm512_fmadd_pd(_mm512_loadu_pd(a + i + 16), _mm512_loadu_pd(b + i + 16), s2);
        s3 = _mm512_fmadd_pd(_mm512_loadu_pd(a + i + 24), _mm512_loadu_pd(b + i + 24), s3);
    }
    for (; i < n; i += 8) {
        __mmask8 some = first_8(n - i);
        s0 = _mm512_fmadd_pd(_mm512_maskz_loadu_pd(some, a + i), _mm512_maskz_loadu_pd(some, b + i), s0);
    }
    return _mm512_reduce_add_pd(_mm512_add_pd(_mm512_add_pd(s0, s1), _mm512_add_pd(s2, s3)));
}

static void wide_axpy64(double a, const double *x, double *y, size_t n)
{
    __m512d factor = _mm512_set1_pd(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm512_storeu_pd(y + i, _mm512_fmadd_pd(factor, _mm512_loadu_pd(x + i), _mm512_loadu_pd(y + i)));
    if (i < n) {
        __mmask8 some = first_8(n - i);
        __m512d found = _mm512_fmadd_pd(factor, _mm512_maskz_loadu_pd(some, x + i), _mm512_maskz_loadu_pd(some, y + i));
        _mm512_mask_storeu_pd(y + i, some, found);
    }
}

static void wide_minus64(const double *x, const double *y, size_t n, double *out)
{
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 some = first_8(n - i);
        _mm512_mask_storeu_pd(out + i, some, _mm512_sub_pd(_mm512_maskz_loadu_pd(some, x + i),
                                                          _mm512_maskz_loadu_pd(some, y + i)));
    }
}

/* `outputs` (a constant, at most 5) times four registers of columns, of which the first `n` (1 to 32) are there. */
static inline __attribute__((always_inline)) void wide_mix(size_t outputs, const double *a, size_t stride_a,
                                                           const double *x, size_t stride_x, size_t count, double *y,
                                                           size_t stride_y, size_t n)
{
    __mmask8 some[4];
    __m512d s[5][4];
    for (size_t i = 0; i < 4; i++) {
        some[i] = first_8(n > 8 * i ? n - 8 * i : 0);
        for (size_t k = 0; k < outputs; k++)
            s[k][i] = _mm512_maskz_loadu_pd(some[i], y + k * stride_y + 8 * i);
    }
    for (size_t r = 0; r < count; r++) {
        const double *row = x + r * stride_x;
        __m512d x0 = _mm512_maskz_loadu_pd(some[0], row), x1 = _mm512_maskz_loadu_pd(some[1], row + 8);
        __m512d x2 = _mm512_maskz_loadu_pd(some[2], row + 16), x3 = _mm512_maskz_loadu_pd(some[3], row + 24);
        for (size_t k = 0; k < outputs; k++) {
            __m512d factor = _mm512_set1_pd(a[k * stride_a + r]);
            s[k][0] = _mm512_fmadd_pd(factor, x0, s[k][0]);
            s[k][1] = _mm512_fmadd_pd(factor, x1, s[k][1]);
            s[k][2] = _mm512_fmadd_pd(factor, x2, s[k][2]);
            s[k][3] = _mm512_fmadd_pd(factor, x3, s[k][3]);
        }
    }
    for (size_t k = 0; k < outputs; k++)
        for (size_t i = 0; i < 4; i++)
            _mm512_mask_storeu_pd(y + k * stride_y + 8 * i, some[i], s[k][i]);
}

static inline void wide_mix_columns(const double *a, size_t stride_a, size_t outputs, const double *x,
                                    size_t stride_x, size_t count, double *y, size_t stride_y, size_t n)
{
    size_t k = 0;
    for (; k + 5 <= outputs; k += 5)
        wide_mix(5, a + k * stride_a, stride_a, x, stride_x, count, y + k * stride_y, stride_y, n);
    for (; k + 2 <= outputs; k += 2)
        wide_mix(2, a + k * stride_a, stride_a, x, stride_x, count, y + k * stride_y, stride_y, n);
    if (k < outputs)
        wide_mix(1, a + k * stride_a, stride_a, x, stride_x, count, y + k * stride_y, stride_y, n);
}

static void wide_mix64(const double *a, size_t stride_a, size_t outputs, const double *x, size_t stride_x,
                       size_t count, double *y, size_t stride_y, size_t n)
{
    for (size_t r = 0; r < count; r += MIX_ROWS)
        for (size_t i = 0; i < n; i += 32)
            wide_mix_columns(a + r, stride_a, outputs, x + r * stride_x + i, stride_x,
                             count - r < MIX_ROWS ? count - r : MIX_ROWS, y + i, stride_y, n - i < 32 ? n - i : 32);
}

/* Sums of eight numbers, to one number each. */
static inline __m512d sum_8(const __m512d *s)
{
    __m512d t[4], u[2];
    for (size_t k = 0; k < 4; k++)
        t[k] = _mm512_add_pd(_mm512_unpacklo_pd(s[2 * k], s[2 * k + 1]), _mm512_unpackhi_pd(s[2 * k], s[2 * k + 1]));
    for (size_t k = 0; k < 2; k++)
        u[k] = _mm512_add_pd(_mm512_shuffle_f64x2(t[2 * k], t[2 * k + 1], 0x44),
                             _mm512_shuffle_f64x2(t[2 * k], t[2 * k + 1], 0xEE));
    return _mm512_add_pd(_mm512_shuffle_f64x2(u[0], u[1], 0x88), _mm512_shuffle_f64x2(u[0], u[1], 0xDD));
}

/* `rows` (a constant, at most 3) times `columns` (at most 8; b repeats the last) in registers. */
static inline __attribute__((always_inline)) void wide_tile(size_t rows, double sign, const double *a, size_t stride_a,
                                                            const double *const *b, size_t columns, size_t n,
                                                            double *out, size_t stride)
{
    const double *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3], *b4 = b[4], *b5 = b[5], *b6 = b[6], *b7 = b[7];
    __m512d s[3][8];
    __mmask8 some = first_8(columns), all = 255;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < 8; c++)
            s[r][c] = _mm512_setzero_pd();
#define STEP(c, load)                                            \
    {                                                            \
        __m512d x = load(b##c);                                  \
        __asm__("" : "+v"(x)); /* once, not for each row */      \
        s[0][c] = _mm512_fmadd_pd(row0, x, s[0][c]);             \
        if (rows > 1)                                            \
            s[1][c] = _mm512_fmadd_pd(row1, x, s[1][c]);         \
        if (rows > 2)                                            \
            s[2][c] = _mm512_fmadd_pd(row2, x, s[2][c]);         \
    }
#define WHOLE(p) _mm512_loadu_pd((p) + i)
#define PART(p) _mm512_maskz_loadu_pd(all, (p) + i)
#define STEPS(load)                                                     \
    {                                                                   \
        __m512d row0 = load(a), row1 = row0, row2 = row0;               \
        if (rows > 1)                                                   \
            row1 = load(a + stride_a);                                  \
        if (rows > 2)                                                   \
            row2 = load(a + 2 * stride_a);                              \
        STEP(0, load) STEP(1, load) STEP(2, load) STEP(3, load)         \
        STEP(4, load) STEP(5, load) STEP(6, load) STEP(7, load)         \
    }
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        STEPS(WHOLE)
    if (i < n) {
        all = first_8(n - i);
        STEPS(PART)
    }
#undef STEP
#undef STEPS
#undef WHOLE
#undef PART
    for (size_t r = 0; r < rows; r++) {
        double *at = out + r * stride;
        __m512d sums = _mm512_fmadd_pd(_mm512_set1_pd(sign), sum_8(s[r]), _mm512_maskz_loadu_pd(some, at));
        _mm512_mask_storeu_pd(at, some, sums);
    }
}

static void wide_product64(double sign, const double *a, size_t stride_a, size_t rows, const double *b,
                           size_t stride_b, size_t columns, size_t n, double *out, size_t stride)
{
    for (size_t c = 0; c < columns; c += 8) {
        size_t now = columns - c < 8 ? columns - c : 8, r = 0;
        const double *eight[8];
        for (size_t k = 0; k < 8; k++)
            eight[k] = b + (c + (k < now ? k : now - 1)) * stride_b;
        for (; r + 3 <= rows; r += 3)
            wide_tile(3, sign, a + r * stride_a, stride_a, eight, now, n, out + r * stride + c, stride);
        if (r + 2 == rows)
            wide_tile(2, sign, a + r * stride_a, stride_a, eight, now, n, out + r * stride + c, stride);
        else if (r < rows)
            wide_tile(1, sign, a + r * stride_a, stride_a, eight, now, n, out + r * stride + c, stride);
    }
}

const struct em_kernels em_kernels_avx512 = {
    "avx512", wide_dot, wide_dot4, wide_dot64, wide_axpy64, wide_product64, wide_minus64, wide_mix64, dot_f16, dot_i8,
    tiles, &ldl_avx2, &state_avx512, along_row_avx2, along_column_avx2, &pixels_avx2,
};

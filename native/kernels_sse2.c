/* kernels_sse2.c - every 64-bit x86. */
#include <emmintrin.h>

#include "image_sse2_pixels.h"
#include "ldl.h"
#include "numbers.h"
#include "state_any.h"

static inline float sum_ps(__m128 x)
{
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}

static inline double sum_pd(__m128d x)
{
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}

static inline __m128 step_ps(__m128 sum, const float *a, __m128 b)
{
    return _mm_add_ps(sum, _mm_mul_ps(_mm_loadu_ps(a), b));
}

static inline __m128d step_pd(__m128d sum, const double *a, __m128d b)
{
    return _mm_add_pd(sum, _mm_mul_pd(_mm_loadu_pd(a), b));
}

static float dot(const float *a, const float *b, size_t n)
{
    __m128 s0 = _mm_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        s0 = step_ps(s0, a + i, _mm_loadu_ps(b + i));
        s1 = step_ps(s1, a + i + 4, _mm_loadu_ps(b + i + 4));
        s2 = step_ps(s2, a + i + 8, _mm_loadu_ps(b + i + 8));
        s3 = step_ps(s3, a + i + 12, _mm_loadu_ps(b + i + 12));
    }
    float sum = sum_ps(_mm_add_ps(_mm_add_ps(s0, s1), _mm_add_ps(s2, s3)));
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void dot4(const float *rows, size_t stride, const float *z, size_t n, float *out)
{
    __m128 s0 = _mm_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        __m128 x = _mm_loadu_ps(z + i);
        s0 = step_ps(s0, rows + i, x);
        s1 = step_ps(s1, rows + stride + i, x);
        s2 = step_ps(s2, rows + 2 * stride + i, x);
        s3 = step_ps(s3, rows + 3 * stride + i, x);
    }
    _MM_TRANSPOSE4_PS(s0, s1, s2, s3);
    _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(s0, s1), _mm_add_ps(s2, s3)));
    for (; i < n; i++)
        for (size_t r = 0; r < 4; r++)
            out[r] += rows[r * stride + i] * z[i];
}

static double dot64(const double *a, const double *b, size_t n)
{
    __m128d s0 = _mm_setzero_pd(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        s0 = step_pd(s0, a + i, _mm_loadu_pd(b + i));
        s1 = step_pd(s1, a + i + 2, _mm_loadu_pd(b + i + 2));
        s2 = step_pd(s2, a + i + 4, _mm_loadu_pd(b + i + 4));
        s3 = step_pd(s3, a + i + 6, _mm_loadu_pd(b + i + 6));
    }
    double sum = sum_pd(_mm_add_pd(_mm_add_pd(s0, s1), _mm_add_pd(s2, s3)));
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void axpy64(double a, const double *x, double *y, size_t n)
{
    __m128d factor = _mm_set1_pd(a);
    size_t i = 0;
    for (; i + 2 <= n; i += 2)
        _mm_storeu_pd(y + i, step_pd(_mm_loadu_pd(y + i), x + i, factor));
    for (; i < n; i++)
        y[i] += a * x[i];
}

/* Two rows times four columns; b repeats the last where there are fewer, and the second row may be the first again. */
static void tile(double sign, const double *a0, const double *a1, size_t rows, const double *const *b, size_t columns,
                 size_t n, double *out, size_t stride)
{
    __m128d s[2][4];
    size_t i = 0;
    for (size_t c = 0; c < 4; c++)
        s[0][c] = s[1][c] = _mm_setzero_pd();
    for (; i + 2 <= n; i += 2)
        for (size_t c = 0; c < 4; c++) {
            __m128d x = _mm_loadu_pd(b[c] + i);
            s[0][c] = step_pd(s[0][c], a0 + i, x);
            s[1][c] = step_pd(s[1][c], a1 + i, x);
        }
    for (size_t c = 0; c < columns; c++) {
        double first = sum_pd(s[0][c]), second = sum_pd(s[1][c]);
        if (i < n) {
            first += a0[i] * b[c][i];
            second += a1[i] * b[c][i];
        }
        out[c] += sign * first;
        if (rows > 1)
            out[stride + c] += sign * second;
    }
}

static void product64(double sign, const double *a, size_t stride_a, size_t rows, const double *b, size_t stride_b,
                      size_t columns, size_t n, double *out, size_t stride)
{
    for (size_t c = 0; c < columns; c += 4) {
        size_t now = columns - c < 4 ? columns - c : 4;
        const double *four[4];
        for (size_t k = 0; k < 4; k++)
            four[k] = b + (c + (k < now ? k : now - 1)) * stride_b;
        for (size_t r = 0; r < rows; r += 2) {
            const double *row = a + r * stride_a;
            size_t two = rows - r < 2 ? 1 : 2;
            tile(sign, row, row + (two - 1) * stride_a, two, four, now, n, out + r * stride + c, stride);
        }
    }
}

static void minus64(const double *x, const double *y, size_t n, double *out)
{
    size_t i = 0;
    for (; i + 2 <= n; i += 2)
        _mm_storeu_pd(out + i, _mm_sub_pd(_mm_loadu_pd(x + i), _mm_loadu_pd(y + i)));
    for (; i < n; i++)
        out[i] = x[i] - y[i];
}

static void mix_four(const double *a, const double *x, size_t stride, double *y, size_t n)
{
    const double *x0 = x, *x1 = x + stride, *x2 = x + 2 * stride, *x3 = x + 3 * stride;
    __m128d a0 = _mm_set1_pd(a[0]), a1 = _mm_set1_pd(a[1]), a2 = _mm_set1_pd(a[2]), a3 = _mm_set1_pd(a[3]);
    size_t i = 0;
    for (; i + 2 <= n; i += 2) {
        __m128d p = step_pd(step_pd(_mm_loadu_pd(y + i), x0 + i, a0), x1 + i, a1);
        _mm_storeu_pd(y + i, step_pd(step_pd(p, x2 + i, a2), x3 + i, a3));
    }
    for (; i < n; i++)
        y[i] += a[0] * x0[i] + a[1] * x1[i] + a[2] * x2[i] + a[3] * x3[i];
}

static void mix64(const double *a, size_t stride_a, size_t outputs, const double *x, size_t stride_x,
                  size_t count, double *y, size_t stride_y, size_t n)
{
    size_t r = 0;
    for (; r + 4 <= count; r += 4)
        for (size_t k = 0; k < outputs; k++)
            mix_four(a + k * stride_a + r, x + r * stride_x, stride_x, y + k * stride_y, n);
    for (; r < count; r++)
        for (size_t k = 0; k < outputs; k++)
            axpy64(a[k * stride_a + r], x + r * stride_x, y + k * stride_y, n);
}

static void tiles(double *sums, const double *a, const double *b, size_t count, double sign)
{
    for (size_t k = 0; k < count; k++) {
        __m128d low = _mm_mul_pd(_mm_loadu_pd(b + 4 * k), _mm_set1_pd(sign));
        __m128d high = _mm_mul_pd(_mm_loadu_pd(b + 4 * k + 2), _mm_set1_pd(sign));
        for (size_t r = 0; r < 8; r++) {
            __m128d factor = _mm_set1_pd(a[r]);
            double *at = sums + 32 * k + 4 * r;
            _mm_storeu_pd(at, _mm_add_pd(_mm_loadu_pd(at), _mm_mul_pd(factor, low)));
            _mm_storeu_pd(at + 2, _mm_add_pd(_mm_loadu_pd(at + 2), _mm_mul_pd(factor, high)));
        }
    }
}

const struct em_kernels em_kernels_sse2 = {
    "sse2", dot, dot4, dot64, axpy64, product64, minus64, mix64, any_dot_f16, any_dot_i8, tiles,
    &ldl_any, &state_any, along_row_sse2, along_column_sse2, &pixels_sse2,
};

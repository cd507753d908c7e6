/* dense.c - Cholesky by rows: every sum runs along rows that lie together, four rows and two columns at a time. */
#include "dense.h"

#include <float.h>

/* Square root without libm where the compiler has an instruction for it (it has, on every machine with float64). */
#if defined(__GNUC__)
#define EM_SQRT(x) __builtin_sqrt(x)
#else
#include <math.h>
#define EM_SQRT(x) sqrt(x)
#endif

/* Rows i to i + 3 left of column i: each needs the rows above it, which are done. */
static void rows_left(const em_kernels *kernels, double *a, size_t n, size_t i)
{
    double sums[8];
    for (size_t j = 0; j < i; j += 2) {
        const double *top = a + j * n;
        double across = top[n + j], first = 1.0 / top[j], second = 1.0 / top[n + j + 1];
        kernels->block64(a + i * n, n, top, n, j, sums);
        for (size_t r = 0; r < 4; r++) {
            double *row = a + (i + r) * n;
            row[j] = (row[j] - sums[2 * r]) * first;
            row[j + 1] = (row[j + 1] - sums[2 * r + 1] - row[j] * across) * second;
        }
    }
}

/* Row i from column `from` on, to its diagonal. */
static int row_end(const em_kernels *kernels, double *a, size_t n, size_t i, size_t from)
{
    double *row = a + i * n, pivot;
    for (size_t j = from; j < i; j++)
        row[j] = (row[j] - kernels->dot64(row, a + j * n, j)) / a[j * n + j];
    pivot = row[i] - kernels->dot64(row, row, i);
    if (!(pivot > 0.0) || pivot > DBL_MAX)
        return EM_ERR_SINGULAR;
    row[i] = EM_SQRT(pivot);
    return EM_OK;
}

int em_cholesky(const em_kernels *kernels, double *a, size_t n)
{
    for (size_t i = 0; i < n; i += 4) {
        size_t rows = n - i < 4 ? n - i : 4;
        if (rows == 4)
            rows_left(kernels, a, n, i);
        for (size_t r = 0; r < rows; r++) {
            int status = row_end(kernels, a, n, i + r, rows == 4 ? i : 0);
            if (status != EM_OK)
                return status;
        }
    }
    return EM_OK;
}

void em_cholesky_solve(const em_kernels *kernels, const double *l, size_t n, double *b, size_t count)
{
    for (size_t c = 0; c < count; c++) {
        double *x = b + c * n;
        for (size_t i = 0; i < n; i++)
            x[i] = (x[i] - kernels->dot64(l + i * n, x, i)) / l[i * n + i];
        for (size_t i = n; i-- > 0;) {
            x[i] /= l[i * n + i];
            kernels->axpy64(-x[i], l + i * n, x, i);
        }
    }
}

void em_gram(const em_kernels *kernels, const double *a, size_t n, size_t dim, double *out)
{
    double sums[8];
    for (size_t i = 0; i < n; i += 4)
        for (size_t j = 0; j < n && j < i + 4; j += 2) {
            if (i + 4 <= n && j + 2 <= n) {
                kernels->block64(a + i * dim, dim, a + j * dim, dim, dim, sums);
                for (size_t k = 0; k < 8; k++)
                    out[(i + k / 2) * n + j + k % 2] = sums[k];
                continue;
            }
            for (size_t r = i; r < n && r < i + 4; r++)
                for (size_t c = j; c < n && c < j + 2; c++)
                    out[r * n + c] = kernels->dot64(a + r * dim, a + c * dim, dim);
        }
}

int em_finite(const double *values, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += values[i] * 0.0; /* NaN stays NaN, and infinity becomes one */
    return sum == 0.0;
}

int em_check_facts(const em_facts *facts)
{
    double total = 0.0;
    if (facts == NULL || facts->counts == NULL || facts->sums == NULL || (facts->z != NULL && facts->y == NULL))
        return EM_ERR_NULL;
    if (facts->classes == 0 || facts->dim == 0 || facts->dim > EM_MAX_DIM || facts->total == 0)
        return EM_ERR_SIZE;
    for (uint32_t c = 0; c < facts->classes; c++) {
        if (!(facts->counts[c] > 0.0) || facts->counts[c] > (double)UINT32_MAX)
            return EM_ERR_VALUE;
        total += facts->counts[c];
    }
    if (total != (double)facts->total || !(facts->squares >= 0.0) || facts->squares > DBL_MAX)
        return EM_ERR_VALUE;
    if (!em_finite(facts->sums, (size_t)facts->classes * facts->dim))
        return EM_ERR_VALUE;
    if (facts->y != NULL)
        for (uint32_t n = 0; n < facts->total; n++)
            if (facts->y[n] >= facts->classes)
                return EM_ERR_VALUE;
    if (facts->z != NULL && !em_finite(facts->z, (size_t)facts->total * facts->dim))
        return EM_ERR_VALUE;
    return EM_OK;
}

int em_is_dual(const em_facts *facts)
{
    return facts->z != NULL && facts->total < facts->dim;
}

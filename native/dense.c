/* dense.c - the linear algebra of the heads, in blocks: nearly all of it is `product64`, sums of products along rows
 * that lie together. */
#include "dense.h"

#include <float.h>
#include <string.h>

/* Square root without libm where the compiler has an instruction for it (it has, on every machine with float64). */
#if defined(__GNUC__)
#define EM_SQRT(x) __builtin_sqrt(x)
#else
#include <math.h>
#define EM_SQRT(x) sqrt(x)
#endif

#define NARROW 8  /* columns that are solved at once */
#define SIDE 8    /* rows that they are solved for at once */
#define WIDE 48   /* rows and columns of a product that stay in the second cache */
#define LONG 320u /* numbers of a row that stay in the first */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* out[r, c] += sign * sum of a[r, i] b[c, i], of any size, in parts that fit the caches. */
static void product(const em_kernels *kernels, double sign, const double *a, size_t stride_a, size_t rows,
                    const double *b, size_t stride_b, size_t columns, size_t n, double *out, size_t stride)
{
    size_t parts = (n + LONG - 1) / LONG, length = parts ? ((n + parts - 1) / parts + 7) / 8 * 8 : 0;
    for (size_t i = 0; i < n; i += length)
        for (size_t r = 0; r < rows; r += WIDE)
            for (size_t c = 0; c < columns; c += WIDE)
                kernels->product64(sign, a + r * stride_a + i, stride_a, least(WIDE, rows - r), b + c * stride_b + i,
                                   stride_b, least(WIDE, columns - c), least(length, n - i), out + r * stride + c,
                                   stride);
}

/* The lower triangle of out (rows, rows) += sign * a a^T. */
static void square(const em_kernels *kernels, double sign, const double *a, size_t stride_a, size_t rows, size_t n,
                   double *out, size_t stride)
{
    double corner[NARROW * NARROW];
    for (size_t r = 0; r < rows; r += NARROW) {
        size_t now = least(NARROW, rows - r);
        const double *these = a + r * stride_a;
        product(kernels, sign, these, stride_a, now, a, stride_a, r, n, out + r * stride, stride);
        memset(corner, 0, sizeof corner);
        product(kernels, sign, these, stride_a, now, these, stride_a, now, n, corner, NARROW);
        for (size_t k = 0; k < now; k++)
            for (size_t c = 0; c <= k; c++)
                out[(r + k) * stride + r + c] += corner[k * NARROW + c];
    }
}

/* The same in larger steps, so that both factors come out of the caches. */
static void large_square(const em_kernels *kernels, double sign, const double *a, size_t stride_a, size_t rows,
                         size_t n, double *out, size_t stride)
{
    for (size_t r = 0; r < rows; r += WIDE) {
        size_t now = least(WIDE, rows - r);
        const double *these = a + r * stride_a;
        product(kernels, sign, these, stride_a, now, a, stride_a, r, n, out + r * stride, stride);
        square(kernels, sign, these, stride_a, now, n, out + r * stride + r, stride);
    }
}

/* The same as solve_narrow() for SIDE rows side by side, so that one need not wait for itself. */
static void solve_side(const double *l, size_t stride_l, const double *over, double *b, size_t stride)
{
    double x[NARROW][SIDE];
    for (size_t j = 0; j < NARROW; j++) {
        for (size_t r = 0; r < SIDE; r++)
            x[j][r] = b[r * stride + j];
        for (size_t k = 0; k < j; k++)
            for (size_t r = 0; r < SIDE; r++)
                x[j][r] -= x[k][r] * l[j * stride_l + k];
        for (size_t r = 0; r < SIDE; r++)
            x[j][r] *= over[j];
    }
    for (size_t r = 0; r < SIDE; r++)
        for (size_t j = 0; j < NARROW; j++)
            b[r * stride + j] = x[j][r];
}

/* L x = b for rows of b (count, stride), L of at most NARROW rows, whose inverse diagonal is `over`. */
static void solve_narrow(const double *l, size_t stride_l, size_t columns, const double *over, double *b, size_t stride,
                         size_t count)
{
    size_t r = 0;
    for (; columns == NARROW && r + SIDE <= count; r += SIDE)
        solve_side(l, stride_l, over, b + r * stride, stride);
    for (; r < count; r++) {
        double *x = b + r * stride;
        for (size_t j = 0; j < columns; j++) {
            double rest = x[j];
            for (size_t k = 0; k < j; k++)
                rest -= x[k] * l[j * stride_l + k];
            x[j] = rest * over[j];
        }
    }
}

static void invert_diagonal(const double *l, size_t stride, size_t columns, double *over)
{
    for (size_t j = 0; j < columns; j++)
        over[j] = 1.0 / l[j * stride + j];
}

/* The factor of a (columns, columns) on the diagonal, at most NARROW, and its inverse diagonal. */
static int factor_narrow(double *a, size_t stride, size_t columns, double *over)
{
    for (size_t i = 0; i < columns; i++) {
        double *row = a + i * stride, pivot = row[i];
        for (size_t j = 0; j < i; j++) {
            double rest = row[j];
            for (size_t k = 0; k < j; k++)
                rest -= row[k] * a[j * stride + k];
            row[j] = rest * over[j];
            pivot -= row[j] * row[j];
        }
        if (!(pivot > 0.0) || pivot > DBL_MAX)
            return EM_ERR_SINGULAR;
        row[i] = EM_SQRT(pivot);
        over[i] = 1.0 / row[i];
    }
    return EM_OK;
}

/* Columns [from, to) of the factor, from which the columns before `from` are taken already. */
static int factor_wide(const em_kernels *kernels, double *a, size_t n, size_t from, size_t to)
{
    double over[NARROW];
    for (size_t j = from; j < to; j += NARROW) {
        size_t columns = least(NARROW, to - j), next = j + columns;
        double *corner = a + j * n + j, *below = a + next * n;
        int status;
        square(kernels, -1.0, a + j * n + from, n, columns, j - from, corner, n);
        status = factor_narrow(corner, n, columns, over);
        if (status != EM_OK)
            return status;
        product(kernels, -1.0, below + from, n, n - next, a + j * n + from, n, columns, j - from, below + j, n);
        solve_narrow(corner, n, columns, over, below + j, n, n - next);
    }
    return EM_OK;
}

int em_cholesky(const em_kernels *kernels, double *a, size_t n)
{
    for (size_t j = 0; j < n; j += WIDE) {
        size_t columns = least(WIDE, n - j), next = j + columns;
        int status;
        square(kernels, -1.0, a + j * n, n, columns, j, a + j * n + j, n);
        product(kernels, -1.0, a + next * n, n, n - next, a + j * n, n, columns, j, a + next * n + j, n);
        status = factor_wide(kernels, a, n, j, next);
        if (status != EM_OK)
            return status;
    }
    return EM_OK;
}

/* Columns [from, to) of x = L^-1 b; those before are done, and zero before `zeros`. */
static void forward(const em_kernels *kernels, const double *l, size_t n, double *b, size_t count, size_t zeros,
                    size_t from, size_t to)
{
    double over[NARROW];
    product(kernels, -1.0, b + zeros, n, count, l + from * n + zeros, n, to - from, from - zeros, b + from, n);
    for (size_t j = from; j < to; j += NARROW) {
        size_t columns = least(NARROW, to - j);
        const double *corner = l + j * n + j;
        product(kernels, -1.0, b + from, n, count, l + j * n + from, n, columns, j - from, b + j, n);
        invert_diagonal(corner, n, columns, over);
        solve_narrow(corner, n, columns, over, b + j, n, count);
    }
}

void em_cholesky_forward(const em_kernels *kernels, const double *l, size_t n, double *b, size_t count)
{
    for (size_t j = 0; j < n; j += WIDE)
        forward(kernels, l, n, b, count, 0, j, least(n, j + WIDE));
}

/* Rows [from, to) of L^T x = b, for at most NARROW rows of b; what they found is taken from all before `from`. */
static void backward(const em_kernels *kernels, const double *l, size_t n, double *b, size_t count, size_t from,
                     size_t to)
{
    double found[NARROW * NARROW], over[NARROW];
    invert_diagonal(l + from * n + from, n, to - from, over);
    for (size_t c = 0; c < count; c++) {
        double *x = b + c * n;
        for (size_t i = to; i-- > from;) {
            x[i] *= over[i - from];
            for (size_t k = from; k < i; k++)
                x[k] -= x[i] * l[i * n + k];
            found[c * NARROW + i - from] = -x[i];
        }
    }
    kernels->mix64(found, NARROW, count, l + from * n, n, to - from, b, n, from);
}

void em_cholesky_solve(const em_kernels *kernels, const double *l, size_t n, double *b, size_t count)
{
    em_cholesky_forward(kernels, l, n, b, count);
    for (size_t i = (n + NARROW - 1) / NARROW * NARROW; i > 0; i -= NARROW)
        for (size_t c = 0; c < count; c += NARROW)
            backward(kernels, l, n, b + c * n, least(NARROW, count - c), i - NARROW, least(n, i));
}

/* Rows [i, i + rows) of U = L^-T, row k being L^-1 e_k, in place of the diagonal of `a` and of what is right of it. */
static void invert_rows(const em_kernels *kernels, double *a, size_t n, size_t i, size_t rows)
{
    double own[NARROW * NARROW] = {0}, over[NARROW];
    double *diagonal = a + i * n + i, *right = diagonal + rows;
    size_t next = i + rows;
    for (size_t r = 0; r < rows; r++) {
        own[r * NARROW + r] = 1.0;
        memset(right + r * n, 0, (n - next) * sizeof *a);
    }
    invert_diagonal(diagonal, n, rows, over);
    solve_narrow(diagonal, n, rows, over, own, NARROW, rows);
    product(kernels, -1.0, own, NARROW, rows, diagonal + rows * n, n, n - next, rows, right, n);
    for (size_t j = next; j < n; j += NARROW) {
        size_t columns = least(NARROW, n - j);
        product(kernels, -1.0, right, n, rows, a + j * n + next, n, columns, j - next, a + i * n + j, n);
        invert_diagonal(a + j * n + j, n, columns, over);
        solve_narrow(a + j * n + j, n, columns, over, a + i * n + j, n, rows);
    }
    for (size_t r = 0; r < rows; r++)
        memcpy(diagonal + r * n, own + r * NARROW, rows * sizeof *a);
}

void em_cholesky_invert(const em_kernels *kernels, double *a, size_t n)
{
    double corner[NARROW * NARROW];
    /* What is left of U's rows is L, which only the rows above needed. */
    for (size_t i = 0; i < n; i += NARROW)
        invert_rows(kernels, a, n, i, least(NARROW, n - i));
    /* U U^T: row i needs those above from column i on, and they what is right of it. */
    for (size_t i = 0; i < n; i += NARROW) {
        size_t rows = least(NARROW, n - i);
        double *row = a + i * n;
        for (size_t r = 0; r < rows; r++)
            memset(row + r * n, 0, i * sizeof *a);
        product(kernels, 1.0, row + i, n, rows, a + i, n, i, n - i, row, n);
        memset(corner, 0, sizeof corner);
        product(kernels, 1.0, row + i, n, rows, row + i, n, rows, n - i, corner, NARROW);
        for (size_t r = 0; r < rows; r++)
            memcpy(row + r * n + i, corner + r * NARROW, (r + 1) * sizeof *a);
    }
}

void em_gram(const em_kernels *kernels, const double *a, size_t n, size_t dim, double *out)
{
    for (size_t i = 0; i < n; i++)
        memset(out + i * n, 0, (i + 1) * sizeof *out);
    large_square(kernels, 1.0, a, dim, n, dim, out, n);
}

void em_products(const em_kernels *kernels, const double *a, size_t rows, const double *b, size_t columns, size_t n,
                 double *out)
{
    memset(out, 0, rows * columns * sizeof *out);
    product(kernels, 1.0, a, n, rows, b, n, columns, n, out, columns);
}

/* ---- what heads make of facts ------------------------------------------------------------------------------------ */

void em_mean(const em_kernels *kernels, const em_facts *facts, double *mean)
{
    memset(mean, 0, facts->dim * sizeof *mean);
    for (uint32_t c = 0; c < facts->classes; c++)
        kernels->axpy64(1.0, facts->sums + (size_t)c * facts->dim, mean, facts->dim);
    for (uint32_t i = 0; i < facts->dim; i++)
        mean[i] /= facts->total;
}

void em_centre(const em_kernels *kernels, const double *z, size_t count, size_t dim, const double *mean, double *out)
{
    for (size_t i = 0; i < count; i++)
        kernels->minus64(z + i * dim, mean, dim, out + i * dim);
}

int em_gram_finite(const double *gram, size_t n)
{
    double trace = 0.0;
    for (size_t i = 0; i < n; i++)
        trace += gram[i * n + i];
    return trace - trace == 0.0;
}

void em_scatter(const em_kernels *kernels, const em_facts *facts, const double *mean, double *out)
{
    size_t dim = facts->dim;
    for (size_t i = 0; i < dim; i++) {
        double *row = out + i * dim;
        memcpy(row, facts->moment + i * dim, (i + 1) * sizeof *row);
        kernels->axpy64(-(double)facts->total * mean[i], mean, row, i + 1);
    }
}

void em_within(const em_kernels *kernels, const em_facts *facts, const double *means, double *out)
{
    size_t dim = facts->dim;
    for (size_t i = 0; i < dim; i++) {
        double *row = out + i * dim;
        memcpy(row, facts->moment + i * dim, (i + 1) * sizeof *row);
        for (size_t c = 0; c < facts->classes; c++)
            kernels->axpy64(-facts->sums[c * dim + i], means + c * dim, row, i + 1);
    }
}

double em_least_lambda(double squares, double dim)
{
    /* All examples zero would give a floor of zero; any positive number then solves W = 0. */
    double least_of = 1e-8 * squares / dim;
    return least_of > 0.0 ? least_of : 1.0;
}

#define LANES 8

int em_finite(const double *values, size_t n)
{
    double part[LANES] = {0}, sum = 0.0;
    size_t i = 0;
    /* NaN stays NaN, and infinity becomes one. */
    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++)
            part[k] += values[i + k] * 0.0;
    for (; i < n; i++)
        sum += values[i] * 0.0;
    for (size_t k = 0; k < LANES; k++)
        sum += part[k];
    return sum == 0.0;
}

int em_check_facts(const em_facts *facts)
{
    int status = em_check_sums(facts);
    if (status == EM_OK && facts->z != NULL && !em_finite(facts->z, (size_t)facts->total * facts->dim))
        return EM_ERR_VALUE;
    return status;
}

int em_check_sums(const em_facts *facts)
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
    return EM_OK;
}

int em_is_dual(const em_facts *facts)
{
    return facts->z != NULL && facts->total < facts->dim;
}

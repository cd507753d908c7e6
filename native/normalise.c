/* normalise.c - a raw embedding to the grid: SPEC.md, "From a raw embedding to a stored one", in the same order. */
#include "internal.h"

#include <string.h>

#if __STDC_HOSTED__
#include <math.h>
#define EM_SQRT(x) sqrt(x)
#define EM_POW(x, y) pow(x, y)
#define EM_HAS_POW 1
#else /* a power other than 1 is EM_ERR_UNSUPPORTED */
#define EM_SQRT(x) __builtin_sqrt(x)
#define EM_POW(x, y) ((void)(y), (x))
#define EM_HAS_POW 0
#endif

#define SLACK 1e-5

/* sign(z) |z|^power */
static double to_power(double z, double power)
{
    if (z == 0.0)
        return z;
    return z < 0.0 ? -EM_POW(-z, power) : EM_POW(z, power);
}

/* No NaN and no infinity among them. */
static int all_finite(const float *x, uint32_t n)
{
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < n; i++)
        wrong |= x[i] - x[i] == 0.0f ? 0u : 1u;
    return !wrong;
}

static double size_of(double x)
{
    return x < 0.0 ? -x : x;
}

/* To the nearest whole number, the even one in the middle. x: at most 2^30 in size. */
static int32_t to_whole(double x)
{
#if defined(__SSE2__) || defined(__aarch64__) /* float64 is float64: adding this leaves no place for a fraction */
    return (int32_t)((x + 6755399441055744.0) - 6755399441055744.0);
#else
    int32_t whole = (int32_t)x;
    double rest = size_of(x - whole);
    if (rest > 0.5 || (rest == 0.5 && (whole & 1)))
        whole += x < 0.0 ? -1 : 1;
    return whole;
#endif
}

static int check(const float *raw, uint32_t dim, const float *centre, double power, int l2, double scale)
{
    if (dim == 0 || dim > EM_MAX_DIM)
        return EM_ERR_SIZE;
    if (!(power > 0.0 && power <= 1.0) || !(scale > 0.0 && scale <= 1e300) || (l2 && scale > 1.0))
        return EM_ERR_VALUE;
    if (!all_finite(raw, dim) || (centre != NULL && !all_finite(centre, dim)))
        return EM_ERR_VALUE;
    return power == 1.0 || EM_HAS_POW ? EM_OK : EM_ERR_UNSUPPORTED;
}

/* What happens to an embedding, and the sizes that were found of it. */
typedef struct plan {
    const float *raw, *centre;
    double power, scale, peak, norm;
} plan;

/* So many entries at a time, so that each step is a loop of its own over few numbers: compilers make vectors of those. */
#define AT_ONCE 64u

/* Entries from `from` on, before scaling and dividing. Returns how many. */
static uint32_t entries(const plan *how, uint32_t dim, uint32_t from, double *z)
{
    uint32_t n = dim - from < AT_ONCE ? dim - from : AT_ONCE;
    const float *raw = how->raw + from;
    for (uint32_t i = 0; i < n; i++)
        z[i] = raw[i];
    if (how->centre != NULL)
        for (uint32_t i = 0; i < n; i++)
            z[i] -= how->centre[from + i];
    if (how->power != 1.0)
        for (uint32_t i = 0; i < n; i++)
            z[i] = to_power(z[i], how->power);
    return n;
}

/* The largest entry in size. */
static double peak_of(const plan *how, uint32_t dim)
{
    double z[AT_ONCE], peak = 0.0;
    for (uint32_t at = 0; at < dim; at += AT_ONCE) {
        for (uint32_t i = entries(how, dim, at, z); i < AT_ONCE; i++)
            z[i] = 0.0;
        for (uint32_t i = 0; i < AT_ONCE; i++)
            z[i] = size_of(z[i]);
        for (uint32_t half = AT_ONCE / 2; half > 0; half /= 2)
            for (uint32_t i = 0; i < half; i++)
                z[i] = z[i + half] > z[i] ? z[i + half] : z[i];
        peak = z[0] > peak ? z[0] : peak;
    }
    return peak;
}

/* Of the entries over the peak. */
static double sum_of_squares(const plan *how, uint32_t dim)
{
    double z[AT_ONCE], part[4] = {0.0};
    for (uint32_t at = 0; at < dim; at += AT_ONCE) {
        uint32_t n = entries(how, dim, at, z), i = 0;
        for (uint32_t j = 0; j < n; j++)
            z[j] /= how->peak;
        for (; i + 4 <= n; i += 4)
            for (uint32_t k = 0; k < 4; k++)
                part[k] += z[i + k] * z[i + k];
        for (; i < n; i++)
            part[0] += z[i] * z[i];
    }
    return (part[0] + part[1]) + (part[2] + part[3]);
}

/* Writes q20; returns whether any of it is not zero. With q20 NULL nothing is written. */
static int store(const plan *how, uint32_t dim, int32_t *q20)
{
    double z[AT_ONCE];
    int32_t whole[AT_ONCE], any = 0;
    for (uint32_t at = 0; at < dim && (q20 != NULL || !any); at += AT_ONCE) {
        uint32_t n = entries(how, dim, at, z);
        for (uint32_t i = 0; i < n; i++)
            z[i] = z[i] / how->peak / how->norm * how->scale;
        for (uint32_t i = 0; i < n; i++)
            z[i] = z[i] < -1.0 ? -1.0 : z[i] > 1.0 ? 1.0 : z[i];
        for (uint32_t i = 0; i < n; i++)
            whole[i] = to_whole(z[i] * EM_Q20);
        for (uint32_t i = 0; i < n; i++)
            any |= whole[i];
        if (q20 != NULL)
            memcpy(q20 + at, whole, n * sizeof *whole);
    }
    return any != 0;
}

int em_normalise(const float *raw, uint32_t dim, const float *centre, double power, int l2, double scale, int32_t *q20)
{
    plan how = {raw, centre, power, scale, 1.0, 1.0};
    double squares;
    int status;
    if (raw == NULL || q20 == NULL)
        return EM_ERR_NULL;
    status = check(raw, dim, centre, power, l2, scale);
    if (status != EM_OK)
        return status;
    if (l2)
        how.peak = peak_of(&how, dim);
    if (how.peak == 0.0)
        return EM_ERR_VALUE; /* it has no direction */
    squares = sum_of_squares(&how, dim);
    if (l2)
        how.norm = EM_SQRT(squares);
    else if (!(EM_SQRT(squares) * scale <= 1.0 + SLACK))
        return EM_ERR_VALUE;
    if (squares > 0.0 && !store(&how, dim, NULL))
        return EM_ERR_VALUE; /* it would be stored as zero */
    store(&how, dim, q20);
    return EM_OK;
}

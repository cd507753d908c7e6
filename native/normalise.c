/* normalise.c - a raw embedding to the grid: SPEC.md, "From a raw embedding to a stored one", in the same order. */
#include "internal.h"

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

/* Entry i before scaling and dividing. */
static double entry(const float *raw, const float *centre, double power, uint32_t i)
{
    double z = centre == NULL ? (double)raw[i] : (double)raw[i] - (double)centre[i];
    if (power == 1.0 || z == 0.0)
        return z;
    return z < 0.0 ? -EM_POW(-z, power) : EM_POW(z, power);
}

/* Neither NaN nor infinity. */
static int is_finite(float x)
{
    return x - x == 0.0f;
}

static double size_of(double x)
{
    return x < 0.0 ? -x : x;
}

/* To the nearest whole number, the even one in the middle. x: at most 2^30 in size. */
static int32_t to_whole(double x)
{
    int32_t whole = (int32_t)x;
    double rest = size_of(x - whole);
    if (rest > 0.5 || (rest == 0.5 && (whole & 1)))
        whole += x < 0.0 ? -1 : 1;
    return whole;
}

static int check(const float *raw, uint32_t dim, const float *centre, double power, int l2, double scale)
{
    if (dim == 0 || dim > EM_MAX_DIM)
        return EM_ERR_SIZE;
    if (!(power > 0.0 && power <= 1.0) || !(scale > 0.0 && scale <= 1e300) || (l2 && scale > 1.0))
        return EM_ERR_VALUE;
    for (uint32_t i = 0; i < dim; i++)
        if (!is_finite(raw[i]) || (centre != NULL && !is_finite(centre[i])))
            return EM_ERR_VALUE;
    return power == 1.0 || EM_HAS_POW ? EM_OK : EM_ERR_UNSUPPORTED;
}

int em_normalise(const float *raw, uint32_t dim, const float *centre, double power, int l2, double scale, int32_t *q20)
{
    double peak = 0.0, squares = 0.0, norm = 1.0;
    int status, stored = 0;
    if (raw == NULL || q20 == NULL)
        return EM_ERR_NULL;
    status = check(raw, dim, centre, power, l2, scale);
    if (status != EM_OK)
        return status;
    for (uint32_t i = 0; l2 && i < dim; i++) {
        double size = size_of(entry(raw, centre, power, i));
        peak = size > peak ? size : peak;
    }
    if (l2 && peak == 0.0)
        return EM_ERR_VALUE; /* it has no direction */
    if (!l2)
        peak = 1.0;
    for (uint32_t i = 0; i < dim; i++) {
        double z = entry(raw, centre, power, i) / peak;
        squares += z * z;
    }
    if (l2)
        norm = EM_SQRT(squares);
    else if (!(EM_SQRT(squares) * scale <= 1.0 + SLACK))
        return EM_ERR_VALUE;
    for (uint32_t i = 0; i < dim && !stored; i++)
        stored = to_whole(entry(raw, centre, power, i) / peak / norm * scale * EM_Q20) != 0;
    if (!stored && squares > 0.0)
        return EM_ERR_VALUE; /* it would be stored as zero */
    for (uint32_t i = 0; i < dim; i++) {
        double z = entry(raw, centre, power, i) / peak / norm * scale;
        q20[i] = to_whole((z < -1.0 ? -1.0 : z > 1.0 ? 1.0 : z) * EM_Q20);
    }
    return EM_OK;
}

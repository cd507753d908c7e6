/* normalise.c - a raw embedding to the grid: SPEC.md, "From a raw embedding to a stored one", in the same order. */
#include "internal.h"

#include <math.h>

#define SLACK 1e-5

/* Entry i before scaling and dividing. */
static double entry(const float *raw, const float *centre, double power, uint32_t i)
{
    double z = centre == NULL ? (double)raw[i] : (double)raw[i] - (double)centre[i];
    if (power == 1.0 || z == 0.0)
        return z;
    return z < 0.0 ? -pow(-z, power) : pow(z, power);
}

static int check(const float *raw, uint32_t dim, const float *centre, double power, int l2, double scale)
{
    if (dim == 0 || dim > EM_MAX_DIM)
        return EM_ERR_SIZE;
    if (!(power > 0.0 && power <= 1.0) || !(scale > 0.0 && scale <= 1e300) || (l2 && scale > 1.0))
        return EM_ERR_VALUE;
    for (uint32_t i = 0; i < dim; i++)
        if (!isfinite(raw[i]) || (centre != NULL && !isfinite(centre[i])))
            return EM_ERR_VALUE;
    return EM_OK;
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
    for (uint32_t i = 0; l2 && i < dim; i++)
        peak = fmax(peak, fabs(entry(raw, centre, power, i)));
    if (l2 && peak == 0.0)
        return EM_ERR_VALUE; /* it has no direction */
    if (!l2)
        peak = 1.0;
    for (uint32_t i = 0; i < dim; i++) {
        double z = entry(raw, centre, power, i) / peak;
        squares += z * z;
    }
    if (l2)
        norm = sqrt(squares);
    else if (!(sqrt(squares) * scale <= 1.0 + SLACK))
        return EM_ERR_VALUE;
    for (uint32_t i = 0; i < dim && !stored; i++)
        stored = rint(entry(raw, centre, power, i) / peak / norm * scale * EM_Q20) != 0.0;
    if (!stored && squares > 0.0)
        return EM_ERR_VALUE; /* it would be stored as zero */
    for (uint32_t i = 0; i < dim; i++) {
        double z = entry(raw, centre, power, i) / peak / norm * scale;
        q20[i] = (int32_t)rint(fmin(fmax(z, -1.0), 1.0) * EM_Q20);
    }
    return EM_OK;
}

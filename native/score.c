/* score.c - scores = W z + b, and smaller weights for many classes. */
#include "internal.h"

#include <string.h>

static int check(const em_kernels *kernels, const void *weights, const float *bias, uint32_t classes, uint32_t dim,
                 const float *z)
{
    if (kernels == NULL || weights == NULL || bias == NULL || z == NULL)
        return EM_ERR_NULL;
    if (classes == 0 || dim == 0 || dim > EM_MAX_DIM)
        return EM_ERR_SIZE;
    return EM_OK;
}

/* Scores of the classes c to c + 3, as far as they are there, so that z is read once for them. Returns how many. */
static uint32_t score_four(const em_kernels *kernels, const float *weights, const float *bias, uint32_t classes,
                           uint32_t dim, const float *z, uint32_t c, float *scores)
{
    uint32_t rows = classes - c < 4 ? classes - c : 4;
    const float *w = weights + (size_t)c * dim;
    float four[4];
    if (rows == 4)
        kernels->dot4(w, dim, z, dim, four);
    else
        for (uint32_t r = 0; r < rows; r++)
            four[r] = kernels->dot(w + (size_t)r * dim, z, dim);
    for (uint32_t r = 0; r < rows; r++)
        scores[r] = four[r] + bias[c + r];
    return rows;
}

int em_score(const em_kernels *kernels, const float *weights, const float *bias, uint32_t classes, uint32_t dim,
             const float *z, uint32_t count, float *scores)
{
    int status = check(kernels, weights, bias, classes, dim, z);
    if (status != EM_OK)
        return status;
    if (scores == NULL)
        return EM_ERR_NULL;
    /* Four rows of weights for all embeddings, then the next: those four stay close, however many classes there are. */
    for (uint32_t c = 0; c < classes; c += 4)
        for (uint32_t n = 0; n < count; n++)
            score_four(kernels, weights, bias, classes, dim, z + (size_t)n * dim, c, scores + (size_t)n * classes + c);
    return EM_OK;
}

int em_score_f64(const em_kernels *kernels, const double *weights, const double *bias, uint32_t classes, uint32_t dim,
                 const double *z, uint32_t count, double *scores)
{
    if (kernels == NULL || weights == NULL || bias == NULL || z == NULL || scores == NULL)
        return EM_ERR_NULL;
    if (classes == 0 || dim == 0 || dim > EM_MAX_DIM)
        return EM_ERR_SIZE;
    for (uint32_t c = 0; c < classes; c++)
        for (uint32_t n = 0; n < count; n++)
            scores[(size_t)n * classes + c] =
                kernels->dot64(weights + (size_t)c * dim, z + (size_t)n * dim, dim) + bias[c];
    return EM_OK;
}

int em_best(const em_kernels *kernels, const float *weights, const float *bias, uint32_t classes, uint32_t dim,
            const float *z, float *score)
{
    int status = check(kernels, weights, bias, classes, dim, z);
    float four[4], most = 0.0f;
    uint32_t best = 0, rows;
    if (status != EM_OK)
        return status;
    if (classes > INT32_MAX)
        return EM_ERR_SIZE;
    for (uint32_t c = 0; c < classes; c += rows) {
        rows = score_four(kernels, weights, bias, classes, dim, z, c, four);
        for (uint32_t r = 0; r < rows; r++)
            if (c + r == 0 || four[r] > most) { /* the first of equals stays */
                most = four[r];
                best = c + r;
            }
    }
    if (!(most - most == 0.0f)) /* NaN or infinity among the embedding's numbers */
        return EM_ERR_VALUE;
    if (score != NULL)
        *score = most;
    return (int)best;
}

int em_score_f16(const em_kernels *kernels, const uint16_t *weights, const float *bias, uint32_t classes, uint32_t dim,
                 const float *z, uint32_t count, float *scores)
{
    int status = check(kernels, weights, bias, classes, dim, z);
    if (status != EM_OK)
        return status;
    if (scores == NULL)
        return EM_ERR_NULL;
    for (uint32_t n = 0; n < count; n++)
        for (uint32_t c = 0; c < classes; c++)
            scores[(size_t)n * classes + c] =
                kernels->dot_f16(weights + (size_t)c * dim, z + (size_t)n * dim, dim) + bias[c];
    return EM_OK;
}

int em_score_i8(const em_kernels *kernels, const int8_t *weights, const float *factors, const float *bias,
                uint32_t classes, uint32_t dim, const float *z, uint32_t count, float *scores)
{
    int status = check(kernels, weights, bias, classes, dim, z);
    if (status != EM_OK)
        return status;
    if (scores == NULL || factors == NULL)
        return EM_ERR_NULL;
    for (uint32_t n = 0; n < count; n++)
        for (uint32_t c = 0; c < classes; c++)
            scores[(size_t)n * classes + c] =
                kernels->dot_i8(weights + (size_t)c * dim, z + (size_t)n * dim, dim) * factors[c] + bias[c];
    return EM_OK;
}

/* binary32 to binary16, ties to even; 0xFFFF where it does not fit (which is a NaN, so no number is lost to it). */
static uint16_t to_half(float value)
{
    uint32_t bits, sign, rest, half;
    int exponent, shift;
    memcpy(&bits, &value, sizeof bits);
    sign = bits >> 16 & 0x8000u;
    exponent = (int)(bits >> 23 & 255u) - 127;
    rest = (bits & 0x7FFFFFu) | 0x800000u;
    if (exponent > 15)
        return 0xFFFFu;
    if (exponent < -25)
        return (uint16_t)sign;
    shift = exponent < -14 ? -1 - exponent : 13; /* subnormal halves lose more bits */
    half = rest >> shift;
    rest &= (1u << shift) - 1u;
    if (rest > 1u << (shift - 1) || (rest == 1u << (shift - 1) && (half & 1u)))
        half++;
    if (exponent >= -14)
        half += (uint32_t)(exponent + 14) << 10; /* the leading bit of `half` is the exponent's first */
    return half >= 0x7C00u ? 0xFFFFu : (uint16_t)(sign | half);
}

int em_pack_f16(const float *weights, size_t count, uint16_t *out)
{
    if (weights == NULL || out == NULL)
        return EM_ERR_NULL;
    for (size_t i = 0; i < count; i++)
        if (to_half(weights[i]) == 0xFFFFu)
            return EM_ERR_VALUE;
    for (size_t i = 0; i < count; i++)
        out[i] = to_half(weights[i]);
    return EM_OK;
}

int em_pack_i8(const float *weights, uint32_t classes, uint32_t dim, int8_t *out, float *factors)
{
    if (weights == NULL || out == NULL || factors == NULL)
        return EM_ERR_NULL;
    for (size_t i = 0; i < (size_t)classes * dim; i++)
        if (!(weights[i] - weights[i] == 0.0f))
            return EM_ERR_VALUE;
    for (uint32_t c = 0; c < classes; c++) {
        const float *row = weights + (size_t)c * dim;
        float largest = 0.0f;
        for (uint32_t i = 0; i < dim; i++) {
            float size = row[i] < 0.0f ? -row[i] : row[i];
            largest = size > largest ? size : largest;
        }
        factors[c] = largest / 127.0f;
        for (uint32_t i = 0; i < dim; i++) {
            float scaled = largest > 0.0f ? row[i] / largest * 127.0f : 0.0f;
            out[(size_t)c * dim + i] = (int8_t)(scaled < 0.0f ? scaled - 0.5f : scaled + 0.5f);
        }
    }
    return EM_OK;
}

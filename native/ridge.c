/* ridge.c - ridge on one-hot targets with a free bias: edgemeta/heads/ridge.py has the equations. */
#include "dense.h"

#include <float.h>
#include <string.h>

typedef struct work {
    double *mean;    /* (dim,) */
    double *system;  /* (n, n), n = total in the dual and dim in the primal */
    double *targets; /* dual: (classes, total) */
    double *centred; /* dual: (total, dim) */
} work;

static size_t part(size_t a, size_t b)
{
    return em_aligned(em_times(em_times(a, b), sizeof(double)));
}

size_t em_ridge_size(uint32_t classes, uint32_t dim, uint32_t total, int from_examples)
{
    int dual = from_examples && total < dim;
    size_t n = dual ? total : dim, size;
    if (classes == 0 || dim == 0 || dim > EM_MAX_DIM || total == 0)
        return 0;
    size = em_plus(part(dim, 1), part(n, n));
    if (dual)
        size = em_plus(size, em_plus(part(classes, total), part(total, dim)));
    return size == SIZE_MAX ? 0 : size;
}

static work lay_out(void *memory, const em_facts *facts, int dual)
{
    size_t n = dual ? facts->total : facts->dim;
    char *at = memory;
    work found = {0};
    found.mean = (double *)(void *)at;
    at += part(facts->dim, 1);
    found.system = (double *)(void *)at;
    at += part(n, n);
    if (dual) {
        found.targets = (double *)(void *)at;
        found.centred = (double *)(void *)(at + part(facts->classes, facts->total));
    }
    return found;
}

static double target(const em_facts *facts, int balance, uint32_t c)
{
    return balance ? 1.0 / facts->counts[c] : 1.0;
}

/* W = Z'^T (Z' Z'^T + lambda I)^-1 Y'. */
static int dual(const em_kernels *kernels, const em_facts *facts, double lambda, int balance, work at, double *weights)
{
    uint32_t n = facts->total, dim = facts->dim;
    int status;
    em_centre(kernels, facts->z, n, dim, at.mean, at.centred);
    em_gram(kernels, at.centred, n, dim, at.system);
    if (!em_gram_finite(at.system, n))
        return EM_ERR_VALUE;
    for (uint32_t i = 0; i < n; i++)
        at.system[(size_t)i * n + i] += lambda;
    status = em_cholesky(kernels, at.system, n);
    if (status != EM_OK)
        return status;
    for (uint32_t c = 0; c < facts->classes; c++) {
        double one = target(facts, balance, c), offset = facts->counts[c] * one / n;
        for (uint32_t i = 0; i < n; i++)
            at.targets[(size_t)c * n + i] = (facts->y[i] == c ? one : 0.0) - offset;
    }
    em_cholesky_solve(kernels, at.system, n, at.targets, facts->classes);
    memset(weights, 0, (size_t)facts->classes * dim * sizeof *weights);
    kernels->mix64(at.targets, n, facts->classes, at.centred, dim, n, weights, dim, dim);
    return EM_OK;
}

/* W^T = (G - N m m^T + lambda I)^-1 Z'^T Y'. */
static int primal(const em_kernels *kernels, const em_facts *facts, double lambda, int balance, work at,
                  double *weights)
{
    uint32_t dim = facts->dim;
    int status;
    em_scatter(kernels, facts, at.mean, at.system);
    for (uint32_t i = 0; i < dim; i++)
        at.system[(size_t)i * dim + i] += lambda;
    status = em_cholesky(kernels, at.system, dim);
    if (status != EM_OK)
        return status;
    for (uint32_t c = 0; c < facts->classes; c++) {
        double one = target(facts, balance, c), *row = weights + (size_t)c * dim;
        for (uint32_t i = 0; i < dim; i++)
            row[i] = (facts->sums[(size_t)c * dim + i] - facts->counts[c] * at.mean[i]) * one;
    }
    em_cholesky_solve(kernels, at.system, dim, weights, facts->classes);
    return EM_OK;
}

int em_ridge(const em_kernels *kernels, const em_facts *facts, double lambda, int balance, void *memory, size_t size,
             double *weights, double *bias)
{
    int status = em_check_sums(facts), from_examples;
    double least;
    work at;
    if (status != EM_OK)
        return status;
    if (kernels == NULL || weights == NULL || bias == NULL)
        return EM_ERR_NULL;
    if (!(lambda >= 0.0) || lambda > DBL_MAX)
        return EM_ERR_VALUE;
    from_examples = em_is_dual(facts);
    if (!from_examples && facts->moment == NULL)
        return EM_ERR_NULL;
    if (!from_examples && facts->z != NULL && !em_finite(facts->z, (size_t)facts->total * facts->dim))
        return EM_ERR_VALUE;
    status = em_check_memory(memory, size, em_ridge_size(facts->classes, facts->dim, facts->total, from_examples));
    if (status != EM_OK)
        return status;
    least = em_least_lambda(facts->squares, facts->dim);
    at = lay_out(memory, facts, from_examples);
    em_mean(kernels, facts, at.mean);
    status = (from_examples ? dual : primal)(kernels, facts, lambda > least ? lambda : least, balance, at, weights);
    if (status != EM_OK)
        return status;
    for (uint32_t c = 0; c < facts->classes; c++)
        bias[c] = facts->counts[c] * target(facts, balance, c) / facts->total -
                  kernels->dot64(weights + (size_t)c * facts->dim, at.mean, facts->dim);
    return EM_OK;
}

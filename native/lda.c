/* lda.c - linear discriminant analysis with a shrunk covariance: edgemeta/heads/lda.py has the equations. */
#include "leaving.h"

#include <string.h>

typedef struct work {
    double *means;     /* (classes, dim) */
    double *system;    /* (n, n), n = total in the dual and dim in the primal */
    double *residuals; /* dual: (total, dim) */
    double *solved;    /* dual: (classes, total) */
} work;

static size_t part(size_t a, size_t b)
{
    return em_aligned(em_times(em_times(a, b), sizeof(double)));
}

size_t em_lda_size(uint32_t classes, uint32_t dim, uint32_t total, int from_examples)
{
    int dual = from_examples && total < dim;
    size_t n = dual ? total : dim, size;
    if (classes == 0 || dim == 0 || dim > EM_MAX_DIM || total == 0)
        return 0;
    size = em_plus(part(classes, dim), part(n, n));
    if (dual)
        size = em_plus(size, em_plus(part(total, dim), part(classes, total)));
    return size == SIZE_MAX ? 0 : size;
}

static work lay_out(void *memory, const em_facts *facts, int dual)
{
    size_t n = dual ? facts->total : facts->dim;
    char *at = memory;
    work found = {0};
    found.means = (double *)(void *)at;
    at += part(facts->classes, facts->dim);
    found.system = (double *)(void *)at;
    at += part(n, n);
    if (dual) {
        found.residuals = (double *)(void *)at;
        found.solved = (double *)(void *)(at + part(facts->total, facts->dim));
    }
    return found;
}

/* Oracle approximating shrinkage, equation (23) of Chen, Wiesel, Eldar, Hero 2010. */
static double oas(double trace, double square, double count, double dim)
{
    double above = (1.0 - 2.0 / dim) * square + trace * trace;
    double below = (count + 1.0 - 2.0 / dim) * (square - trace * trace / dim);
    if (below <= 0.0 || above >= below)
        return 1.0;
    return above > 0.0 ? above / below : 0.0;
}

em_shrunk em_lda_shrink(const em_kernels *kernels, const em_facts *facts, double shrinkage, double independent,
                        const double *system, size_t n)
{
    double free = (double)facts->total - facts->classes, trace = 0.0, square = 0.0, d, least;
    em_shrunk found = {0.0, 1.0 / facts->dim};
    for (size_t i = 0; i < n; i++) {
        const double *row = system + i * n;
        square += 2.0 * kernels->dot64(row, row, i) + row[i] * row[i];
        trace += row[i];
    }
    /* Rounding leaves a trace of about 1e-16 where there is no scatter at all. */
    if (free <= 0.0 || trace <= 1e-12 * facts->squares)
        return found;
    if (shrinkage < 0.0)
        shrinkage = independent > 0.0 ? oas(trace / free, square / (free * free), independent, facts->dim) : 1.0;
    d = (shrinkage > 1e-6 ? shrinkage : 1e-6) * trace / free / facts->dim;
    least = 1e-15 * facts->squares;
    found.a = (1.0 - shrinkage) / free;
    found.d = d > least ? d : least;
    return found;
}

/* weights = (means - (X X^T + d/a I)^-1 X means^T)^T X) / d. */
static int dual(const em_kernels *kernels, const em_facts *facts, double shrinkage, double independent, work at,
                double *weights)
{
    size_t n = facts->total, dim = facts->dim;
    em_shrunk s;
    for (size_t i = 0; i < n; i++)
        kernels->minus64(facts->z + i * dim, at.means + facts->y[i] * dim, dim, at.residuals + i * dim);
    em_gram(kernels, at.residuals, n, dim, at.system);
    if (!em_gram_finite(at.system, n))
        return EM_ERR_VALUE;
    s = em_lda_shrink(kernels, facts, shrinkage, independent, at.system, n);
    memcpy(weights, at.means, facts->classes * dim * sizeof *weights);
    if (s.a > 0.0) {
        int status;
        for (size_t i = 0; i < n; i++)
            at.system[i * n + i] += s.d / s.a;
        status = em_cholesky(kernels, at.system, n);
        if (status != EM_OK)
            return status;
        em_products(kernels, at.means, facts->classes, at.residuals, n, dim, at.solved);
        em_cholesky_solve(kernels, at.system, n, at.solved, facts->classes);
        for (size_t i = 0; i < facts->classes * n; i++)
            at.solved[i] = -at.solved[i];
        kernels->mix64(at.solved, n, facts->classes, at.residuals, dim, n, weights, dim, dim);
    }
    for (size_t i = 0; i < facts->classes * dim; i++)
        weights[i] /= s.d;
    return EM_OK;
}

/* weights = (a X^T X + d I)^-1 means, X^T X = G - sum of n m m^T. */
static int primal(const em_kernels *kernels, const em_facts *facts, double shrinkage, double independent, work at,
                  double *weights)
{
    size_t dim = facts->dim;
    em_shrunk s;
    int status;
    em_within(kernels, facts, at.means, at.system);
    s = em_lda_shrink(kernels, facts, shrinkage, independent, at.system, dim);
    for (size_t i = 0; i < dim; i++) {
        for (size_t j = 0; j <= i; j++)
            at.system[i * dim + j] *= s.a;
        at.system[i * dim + i] += s.d;
    }
    status = em_cholesky(kernels, at.system, dim);
    if (status != EM_OK)
        return status;
    memcpy(weights, at.means, facts->classes * dim * sizeof *weights);
    em_cholesky_solve(kernels, at.system, dim, weights, facts->classes);
    return EM_OK;
}

int em_lda(const em_kernels *kernels, const em_facts *facts, double shrinkage, uint32_t independent, void *memory,
           size_t size, double *weights, double *bias)
{
    int status = em_check_sums(facts), from_examples;
    size_t dim;
    work at;
    if (status != EM_OK)
        return status;
    if (kernels == NULL || weights == NULL || bias == NULL)
        return EM_ERR_NULL;
    if (!(shrinkage <= 1.0) || independent > facts->total)
        return EM_ERR_VALUE;
    from_examples = em_is_dual(facts);
    if (!from_examples && facts->moment == NULL)
        return EM_ERR_NULL;
    if (!from_examples && facts->z != NULL && !em_finite(facts->z, (size_t)facts->total * facts->dim))
        return EM_ERR_VALUE;
    status = em_check_memory(memory, size, em_lda_size(facts->classes, facts->dim, facts->total, from_examples));
    if (status != EM_OK)
        return status;
    dim = facts->dim;
    at = lay_out(memory, facts, from_examples);
    for (size_t c = 0; c < facts->classes; c++)
        for (size_t i = 0; i < dim; i++)
            at.means[c * dim + i] = facts->sums[c * dim + i] / facts->counts[c];
    status = (from_examples ? dual : primal)(kernels, facts, shrinkage, (double)independent - facts->classes, at,
                                             weights);
    if (status != EM_OK)
        return status;
    for (size_t c = 0; c < facts->classes; c++)
        bias[c] = -0.5 * kernels->dot64(weights + c * dim, at.means + c * dim, dim);
    return EM_OK;
}

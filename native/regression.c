/* regression.c - ridge on numbers, with a free bias, its lambda by the evidence: edgemeta/regression/ridge.py.
 *
 * With X the centred examples, t the centred targets of an output and A the system
 *   dual    A = X X^T + lambda I + lift 1 1^T / N      w = X^T A^-1 t      t (I - H) t = lambda t A^-1 t
 *   primal  A = X^T X + lambda I                       w = A^-1 X^T t      t (I - H) t = |t - X w|^2 + lambda |w|^2
 * X X^T is zero along 1, where the lift keeps A well conditioned and t has nothing. All are sums of squares: nothing
 * cancels. */
#include "dense.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define LARGEST 1e100
#define SMALLEST 7.006492321624085e-46 /* 2^-150: smaller targets count as zeros, as their squares underflow */
#define ROUNDING 1e-15                 /* of the squares of the targets, what rounding leaves of a perfect fit */
#define SPREAD 3.0                     /* the standard deviation of log lambda beforehand */
#define LEAST_FREEDOM 3                /* a Student t of 2 or less has no standard deviation */

/* Half decades: what the evidence chooses from, times the mean square of the centred examples. */
static const double fine[] = {
    1e-6, 3.1622776601683795e-6, 1e-5, 3.1622776601683795e-5, 1e-4, 3.1622776601683795e-4, 1e-3, 3.1622776601683795e-3,
    1e-2, 3.1622776601683795e-2, 0.1,  0.31622776601683794,   1.0,  3.1622776601683795,    10.0, 31.622776601683793,
    1e2,  316.22776601683796,    1e3};

typedef struct work {
    const em_kernels *kernels;
    size_t total, dim, outputs, n; /* n = total in the dual, dim in the primal */
    int dual;
    double least, unit; /* lambda's floor, and the mean square of the centred examples */
    double lift, logdet; /* of the last system; log |I + X X^T / lambda| */
    double *mean;       /* (dim,) */
    double *rows;       /* (total, dim): X */
    double *turned;     /* primal: (dim, total): X^T */
    double *gram;       /* (n, n): X X^T or X^T X */
    double *system;     /* (n, n): the factor of A */
    double *targets;    /* (outputs, total), centred */
    double *right;      /* (outputs, n): t or X^T t */
    double *solved;     /* (outputs, n) */
    double *offset, *squares, *left, *most; /* (outputs,): left is t (I - H) t; most: the least surprise */
    double *lambdas, *sigma, *bias;         /* (outputs,) */
    double *weights;                        /* (outputs, dim) */
} work;

static void *take(char *base, size_t *used, size_t rows, size_t columns)
{
    void *found = base == NULL ? NULL : base + *used;
    *used = em_plus(*used, em_aligned(em_times(em_times(rows, columns), sizeof(double))));
    return found;
}

/* With memory NULL only the size that is returned. */
static size_t lay_out(work *at, void *memory, size_t dim, size_t outputs, size_t total)
{
    size_t used = 0, n = total < dim ? total : dim;
    memset(at, 0, sizeof *at);
    at->total = total;
    at->dim = dim;
    at->outputs = outputs;
    at->n = n;
    at->dual = total < dim;
    at->mean = take(memory, &used, dim, 1);
    at->rows = take(memory, &used, total, dim);
    at->turned = take(memory, &used, at->dual ? 0 : dim, total);
    at->gram = take(memory, &used, n, n);
    at->system = take(memory, &used, n, n);
    at->targets = take(memory, &used, outputs, total);
    at->right = take(memory, &used, outputs, n);
    at->solved = take(memory, &used, outputs, n);
    at->offset = take(memory, &used, outputs, 1);
    at->squares = take(memory, &used, outputs, 1);
    at->left = take(memory, &used, outputs, 1);
    at->most = take(memory, &used, outputs, 1);
    at->lambdas = take(memory, &used, outputs, 1);
    at->sigma = take(memory, &used, outputs, 1);
    at->bias = take(memory, &used, outputs, 1);
    at->weights = take(memory, &used, outputs, dim);
    return used;
}

size_t em_regression_size(uint32_t dim, uint32_t outputs, uint32_t total)
{
    work at;
    size_t size;
    if (dim == 0 || dim > EM_MAX_DIM || outputs == 0 || total == 0)
        return 0;
    size = lay_out(&at, NULL, dim, outputs, total);
    return size == SIZE_MAX ? 0 : size;
}

static double square(const em_kernels *kernels, const double *x, size_t n)
{
    return kernels->dot64(x, x, n);
}

/* The mean, X, its Gram matrix, and what lambda is measured by. */
static void take_inputs(work *at, const double *z)
{
    size_t dim = at->dim, total = at->total;
    double squares = square(at->kernels, z, total * dim);
    memset(at->mean, 0, dim * sizeof(double));
    for (size_t i = 0; i < total; i++)
        at->kernels->axpy64(1.0, z + i * dim, at->mean, dim);
    for (size_t j = 0; j < dim; j++)
        at->mean[j] /= (double)total;
    at->least = em_least_lambda(squares, (double)dim);
    at->unit = squares / (double)total - square(at->kernels, at->mean, dim);
    at->unit = at->unit > 0.0 ? at->unit : 0.0;
    em_centre(at->kernels, z, total, dim, at->mean, at->rows);
    if (!at->dual)
        for (size_t i = 0; i < total; i++)
            for (size_t j = 0; j < dim; j++)
                at->turned[j * total + i] = at->rows[i * dim + j];
    em_gram(at->kernels, at->dual ? at->rows : at->turned, at->n, at->dual ? dim : total, at->gram);
}

/* t, and the right-hand sides. targets (total, outputs). */
static void take_targets(work *at, const double *targets)
{
    size_t total = at->total, outputs = at->outputs;
    for (size_t k = 0; k < outputs; k++) {
        double *t = at->targets + k * total, sum = 0.0, largest = 0.0;
        for (size_t i = 0; i < total; i++) {
            t[i] = targets[i * outputs + k];
            largest = fabs(t[i]) > largest ? fabs(t[i]) : largest;
            sum += t[i];
        }
        at->offset[k] = largest < SMALLEST ? 0.0 : sum / (double)total;
        for (size_t i = 0; i < total; i++)
            t[i] = largest < SMALLEST ? 0.0 : t[i] - at->offset[k];
        at->squares[k] = square(at->kernels, t, total);
    }
    if (at->dual)
        memcpy(at->right, at->targets, outputs * total * sizeof(double));
    else
        em_products(at->kernels, at->targets, outputs, at->turned, at->dim, total, at->right);
}

/* The factor of A, and log |I + X X^T / lambda|. */
static int factor(work *at, double lambda)
{
    size_t n = at->n;
    double trace = 0.0;
    int status;
    for (size_t i = 0; i < n; i++) {
        memcpy(at->system + i * n, at->gram + i * n, (i + 1) * sizeof(double));
        trace += at->gram[i * n + i];
    }
    at->lift = 0.0;
    if (at->dual)
        at->lift = trace / (double)n > lambda ? trace / (double)n : lambda;
    for (size_t i = 0; i < n; i++) {
        if (at->dual)
            for (size_t j = 0; j <= i; j++)
                at->system[i * n + j] += at->lift / (double)n;
        at->system[i * n + i] += lambda;
    }
    status = em_cholesky(at->kernels, at->system, n);
    if (status != EM_OK)
        return status;
    at->logdet = 0.0;
    for (size_t i = 0; i < n; i++)
        at->logdet += log(at->system[i * n + i] * at->system[i * n + i] / lambda);
    if (at->dual)
        at->logdet -= log((lambda + at->lift) / lambda);
    return EM_OK;
}

/* w of output k, from what was solved for it. */
static void find_weights(work *at, size_t k, double *w)
{
    const double *solved = at->solved + k * at->n;
    if (!at->dual) {
        memcpy(w, solved, at->dim * sizeof(double));
        return;
    }
    memset(w, 0, at->dim * sizeof(double));
    at->kernels->mix64(solved, at->n, 1, at->rows, at->dim, at->total, w, at->dim, at->dim);
}

/* Solve for all outputs at a lambda, and find t (I - H) t of each. */
static int solve(work *at, double lambda)
{
    size_t n = at->n, total = at->total;
    int status = factor(at, lambda);
    if (status != EM_OK)
        return status;
    memcpy(at->solved, at->right, at->outputs * n * sizeof(double));
    em_cholesky_solve(at->kernels, at->system, n, at->solved, at->outputs);
    for (size_t k = 0; k < at->outputs; k++) {
        const double *t = at->targets + k * total, *w = at->solved + k * n;
        double left = 0.0;
        if (at->dual) {
            at->left[k] = lambda * at->kernels->dot64(t, w, total);
            continue;
        }
        for (size_t i = 0; i < total; i++) {
            double off = t[i] - at->kernels->dot64(at->rows + i * at->dim, w, at->dim);
            left += off * off;
        }
        at->left[k] = left + lambda * square(at->kernels, w, n);
    }
    return EM_OK;
}

/* Each output's lambda by the evidence, under a broad prior of log lambda; the larger of equals. */
static int choose(work *at)
{
    for (size_t k = 0; k < at->outputs; k++) {
        at->most[k] = INFINITY;
        at->lambdas[k] = at->unit; /* all inputs are alike */
    }
    for (size_t i = 0; at->unit > 0.0 && i < sizeof fine / sizeof *fine; i++) {
        double tried = fine[i] * at->unit, lambda = tried > at->least ? tried : at->least;
        double off = log(lambda / at->unit) / SPREAD;
        int status = solve(at, lambda);
        if (status != EM_OK)
            return status;
        for (size_t k = 0; k < at->outputs; k++) {
            double least = ROUNDING * at->squares[k] > DBL_MIN ? ROUNDING * at->squares[k] : DBL_MIN;
            double left = at->left[k] > least ? at->left[k] : least;
            double surprise = (double)(at->total - 1) * log(left) + at->logdet + off * off;
            if (surprise <= at->most[k]) {
                at->most[k] = surprise;
                at->lambdas[k] = tried;
            }
        }
    }
    return EM_OK;
}

/* Weights, bias and sigma of every output; those of one lambda are solved together. */
static int finish(work *at)
{
    double total = (double)at->total, freedom = total - 1.0;
    for (size_t k = 0; k < at->outputs; k++) {
        size_t first = 0;
        while (at->lambdas[first] != at->lambdas[k])
            first++;
        if (first < k)
            continue;
        int status = solve(at, at->lambdas[k]);
        if (status != EM_OK)
            return status;
        for (size_t o = k; o < at->outputs; o++) {
            double *w = at->weights + o * at->dim;
            if (at->lambdas[o] != at->lambdas[k])
                continue;
            find_weights(at, o, w);
            at->bias[o] = at->offset[o] - at->kernels->dot64(w, at->mean, at->dim);
            at->sigma[o] = NAN;
            if (freedom >= LEAST_FREEDOM)
                at->sigma[o] = sqrt(at->left[o] / (total - 1.0) * freedom / (freedom - 2.0));
        }
    }
    return EM_OK;
}

static int check(const em_kernels *kernels, const double *z, uint32_t total, uint32_t dim, uint32_t outputs,
                 void *memory, size_t size)
{
    if (kernels == NULL || z == NULL)
        return EM_ERR_NULL;
    if (em_regression_size(dim, outputs, total) == 0)
        return EM_ERR_SIZE;
    if (!em_finite(z, (size_t)total * dim))
        return EM_ERR_VALUE;
    return em_check_memory(memory, size, em_regression_size(dim, outputs, total));
}

int em_regression(const em_kernels *kernels, const double *z, const double *targets, uint32_t total, uint32_t dim,
                  uint32_t outputs, double lambda, void *memory, size_t size, double *weights, double *bias,
                  double *lambdas, double *sigma)
{
    work at;
    int status = check(kernels, z, total, dim, outputs, memory, size);
    if (status != EM_OK)
        return status;
    if (targets == NULL || weights == NULL || bias == NULL || lambdas == NULL || sigma == NULL)
        return EM_ERR_NULL;
    if (!(lambda <= DBL_MAX))
        return EM_ERR_VALUE;
    for (size_t i = 0; i < (size_t)total * outputs; i++)
        if (!(fabs(targets[i]) <= LARGEST))
            return EM_ERR_VALUE;
    (void)lay_out(&at, memory, dim, outputs, total);
    at.kernels = kernels;
    take_inputs(&at, z);
    take_targets(&at, targets);
    for (size_t k = 0; k < outputs; k++)
        at.lambdas[k] = lambda;
    status = lambda < 0.0 ? choose(&at) : EM_OK;
    for (size_t k = 0; k < outputs; k++)
        at.lambdas[k] = at.lambdas[k] > at.least ? at.lambdas[k] : at.least;
    if (status == EM_OK)
        status = finish(&at);
    if (status != EM_OK)
        return status;
    memcpy(weights, at.weights, (size_t)outputs * dim * sizeof *weights);
    memcpy(bias, at.bias, outputs * sizeof *bias);
    memcpy(lambdas, at.lambdas, outputs * sizeof *lambdas);
    memcpy(sigma, at.sigma, outputs * sizeof *sigma);
    return EM_OK;
}

/* x^T (X^T X + lambda I)^-1 x for x = z - m; in the dual |x - X^T b|^2 / lambda + |b|^2 with b = A^-1 X x. */
static double variance(work *at, double lambda, const double *z)
{
    size_t dim = at->dim, n = at->n;
    double *x = at->weights, *b = at->solved, found;
    em_centre(at->kernels, z, 1, dim, at->mean, x);
    if (!at->dual) {
        em_cholesky_forward(at->kernels, at->system, n, x, 1);
        return square(at->kernels, x, n);
    }
    em_products(at->kernels, x, 1, at->rows, n, dim, b);
    em_cholesky_solve(at->kernels, at->system, n, b, 1);
    found = square(at->kernels, b, n);
    for (size_t i = 0; i < n; i++)
        b[i] = -b[i];
    at->kernels->mix64(b, n, 1, at->rows, dim, n, x, dim, dim);
    return square(at->kernels, x, dim) / lambda + found;
}

/* The standard deviations of all outputs that have the lambda of output k; with std NULL the system is only tried. */
static int deviate(work *at, const double *lambdas, const double *sigma, size_t k, const double *z, size_t count,
                   double *std)
{
    int status;
    for (size_t o = 0; o < k; o++)
        if (lambdas[o] == lambdas[k])
            return EM_OK; /* done with that one */
    status = factor(at, lambdas[k]);
    if (status != EM_OK || std == NULL)
        return status;
    for (size_t i = 0; i < count; i++) {
        double wide = sqrt(1.0 + 1.0 / (double)at->total + variance(at, lambdas[k], z + i * at->dim));
        for (size_t o = k; o < at->outputs; o++)
            if (lambdas[o] == lambdas[k])
                std[i * at->outputs + o] = sigma[o] * wide;
    }
    return EM_OK;
}

int em_regression_std(const em_kernels *kernels, const double *z, uint32_t total, uint32_t dim, uint32_t outputs,
                      const double *lambdas, const double *sigma, const double *at, uint32_t count, void *memory,
                      size_t size, double *std)
{
    work w;
    int status = check(kernels, z, total, dim, outputs, memory, size), same = 1;
    if (status != EM_OK)
        return status;
    if (lambdas == NULL || sigma == NULL || at == NULL || std == NULL)
        return EM_ERR_NULL;
    if (!em_finite(at, (size_t)count * dim))
        return EM_ERR_VALUE;
    for (size_t k = 0; k < outputs; k++) {
        if (!(lambdas[k] > 0.0) || lambdas[k] > DBL_MAX || sigma[k] < 0.0 || sigma[k] > DBL_MAX)
            return EM_ERR_VALUE;
        same = same && lambdas[k] == lambdas[0];
    }
    (void)lay_out(&w, memory, dim, outputs, total);
    w.kernels = kernels;
    take_inputs(&w, z);
    /* Nothing is written before all systems have been tried; where there is only one, it is tried when it is needed. */
    for (size_t k = 0; k < outputs && !same && status == EM_OK; k++)
        status = deviate(&w, lambdas, sigma, k, at, count, NULL);
    for (size_t k = 0; k < outputs && status == EM_OK; k++)
        status = deviate(&w, lambdas, sigma, k, at, count, std);
    return status;
}

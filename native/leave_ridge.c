/* leave_ridge.c - ridge without each fold, in closed form, and the lambda that does best: edgemeta/heads/ridge.py.
 *
 * The residuals of a fold g by the fit without it are (I - H_gg)^-1 (Y - H Y)_g (PRESS, Allen 1974).
 * dual    I - H = lambda M, M = (Z' Z'^T + lambda I)^-1 - 1 1^T / (lambda N); lambda cancels. Z' Z'^T is zero along 1:
 *         it is lifted there, so that a small lambda drowns nothing.
 * primal  H = 1/N + V V^T with V = Z' L^-T, L L^T = G' + lambda I. */
#include "leaving.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct work {
    em_folds folds;
    int dual;
    double level;      /* dual: what is taken from every entry of `system` */
    double *mean;      /* (dim,) */
    double *system;    /* (n, n), n = total in the dual, where it becomes an inverse, and dim in the primal */
    double *kept;      /* dual, where lambda is chosen: the Gram matrix */
    double *rows;      /* (total, dim): Z', or V */
    double *across;    /* primal: (classes, dim) */
    double *residuals; /* (classes, total): Y - H Y, in the dual over lambda */
    double *block;     /* (largest, largest) */
    double *left;      /* (largest, classes): residuals without the fold */
    double *scores;    /* (total, classes) */
    double *gone;      /* (classes,): not 0 where a fold takes a class whole */
} work;

static work lay_out(em_room *room, const em_facts *facts, const uint32_t *groups, int choose)
{
    size_t classes = facts->classes, dim = facts->dim, total = facts->total, largest = em_largest_fold(facts, groups);
    size_t n = total < dim ? total : dim;
    work at = {0};
    at.dual = total < dim;
    at.folds = em_make_folds(room, facts, groups);
    at.mean = em_take(room, dim, 1, sizeof(double));
    at.system = em_take(room, n, n, sizeof(double));
    at.kept = em_take(room, at.dual && choose ? n : 0, n, sizeof(double));
    at.rows = em_take(room, total, dim, sizeof(double));
    at.across = em_take(room, at.dual ? 0 : classes, dim, sizeof(double));
    at.residuals = em_take(room, classes, total, sizeof(double));
    at.block = em_take(room, largest, largest, sizeof(double));
    at.left = em_take(room, largest, classes, sizeof(double));
    at.scores = em_take(room, choose ? 0 : total, classes, sizeof(double));
    at.gone = em_take(room, classes, 1, sizeof(double));
    return at;
}

static size_t size_of(const em_facts *facts, const uint32_t *groups, int choose)
{
    em_room room = {NULL, 0};
    if (em_check_shape(facts) != EM_OK)
        return 0;
    (void)lay_out(&room, facts, groups, choose);
    return room.used == SIZE_MAX ? 0 : room.used;
}

size_t em_ridge_leave_out_size(const em_facts *facts, const uint32_t *groups)
{
    return size_of(facts, groups, 0);
}

size_t em_ridge_choose_size(const em_facts *facts, const uint32_t *groups)
{
    return size_of(facts, groups, 1);
}

static double target(const em_facts *facts, int balance, uint32_t c)
{
    return balance ? 1.0 / facts->counts[c] : 1.0;
}

static void centre_rows(const em_kernels *kernels, const em_facts *facts, work *at)
{
    em_centre(kernels, facts->z, facts->total, facts->dim, at->mean, at->rows);
}

/* Y - mean(y), each class a row, onto the residuals. */
static void add_targets(const em_facts *facts, int balance, work *at)
{
    size_t total = facts->total;
    for (uint32_t c = 0; c < facts->classes; c++) {
        double one = target(facts, balance, c), offset = facts->counts[c] * one / (double)total;
        for (size_t i = 0; i < total; i++)
            at->residuals[c * total + i] += (facts->y[i] == c ? one : 0.0) - offset;
    }
}

static int fit_dual(const em_kernels *kernels, const em_facts *facts, double lambda, int balance, work *at)
{
    size_t n = facts->total;
    double trace = 0.0, lift;
    int status;
    if (at->kept == NULL) {
        em_gram(kernels, at->rows, n, facts->dim, at->system);
    } else {
        for (size_t i = 0; i < n; i++)
            memcpy(at->system + i * n, at->kept + i * n, (i + 1) * sizeof(double));
    }
    for (size_t i = 0; i < n; i++)
        trace += at->system[i * n + i];
    lift = trace / (double)n > lambda ? trace / (double)n : lambda;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++)
            at->system[i * n + j] += lift / (double)n;
        at->system[i * n + i] += lambda;
    }
    at->level = 1.0 / ((double)n * (lambda + lift));
    status = em_cholesky(kernels, at->system, n);
    if (status != EM_OK)
        return status;
    memset(at->residuals, 0, facts->classes * n * sizeof *at->residuals);
    add_targets(facts, balance, at);
    em_cholesky_solve(kernels, at->system, n, at->residuals, facts->classes);
    em_cholesky_invert(kernels, at->system, n);
    return EM_OK;
}

static int fit_primal(const em_kernels *kernels, const em_facts *facts, double lambda, int balance, work *at)
{
    size_t dim = facts->dim, total = facts->total;
    int status;
    em_scatter(kernels, facts, at->mean, at->system);
    for (size_t i = 0; i < dim; i++)
        at->system[i * dim + i] += lambda;
    status = em_cholesky(kernels, at->system, dim);
    if (status != EM_OK)
        return status;
    centre_rows(kernels, facts, at);
    em_cholesky_forward(kernels, at->system, dim, at->rows, total);
    for (uint32_t c = 0; c < facts->classes; c++) {
        double one = target(facts, balance, c), *row = at->across + c * dim;
        for (size_t i = 0; i < dim; i++)
            row[i] = (facts->sums[c * dim + i] - facts->counts[c] * at->mean[i]) * one;
    }
    em_cholesky_forward(kernels, at->system, dim, at->across, facts->classes);
    em_products(kernels, at->across, facts->classes, at->rows, total, dim, at->residuals);
    for (size_t i = 0; i < facts->classes * total; i++)
        at->residuals[i] = -at->residuals[i];
    add_targets(facts, balance, at);
    return EM_OK;
}

static int fit(const em_kernels *kernels, const em_facts *facts, double lambda, int balance, work *at)
{
    return (at->dual ? fit_dual : fit_primal)(kernels, facts, lambda, balance, at);
}

/* An entry of I - H, in the dual over lambda. */
static double unexplained(const em_kernels *kernels, const em_facts *facts, const work *at, size_t i, size_t j)
{
    size_t dim = facts->dim, n = facts->total;
    if (at->dual)
        return (i > j ? at->system[i * n + j] : at->system[j * n + i]) - at->level;
    return (i == j ? 1.0 : 0.0) - 1.0 / (double)n - kernels->dot64(at->rows + i * dim, at->rows + j * dim, dim);
}

/* `left`: residuals of a fold without it, (count, classes). */
static int leave(const em_kernels *kernels, const em_facts *facts, work *at, em_fold fold)
{
    size_t k = fold.count, classes = facts->classes;
    for (size_t r = 0; r < k; r++) {
        for (size_t s = 0; s <= r; s++)
            at->block[r * k + s] = at->block[s * k + r] = unexplained(kernels, facts, at, fold.rows[r], fold.rows[s]);
        for (size_t c = 0; c < classes; c++)
            at->left[r * classes + c] = at->residuals[c * facts->total + fold.rows[r]];
    }
    return em_solve_small(kernels, at->block, k, at->left, classes);
}

static void score(const em_facts *facts, int balance, work *at, em_fold fold)
{
    uint32_t classes = facts->classes;
    for (uint32_t r = 0; r < fold.count; r++)
        for (uint32_t c = 0; c < classes; c++) {
            uint32_t row = fold.rows[r];
            double wanted = facts->y[row] == c ? target(facts, balance, c) : 0.0;
            double found = wanted - at->left[(size_t)r * classes + c];
            /* Without the fold a class has fewer examples, so each of those has a larger target. */
            if (balance && at->folds.left[c] > 0.0)
                found *= facts->counts[c] / at->folds.left[c];
            at->scores[(size_t)row * classes + c] = found;
        }
    em_mark_gone(&at->folds, fold, at->scores);
}

/* Arguments that both take; also finds the mean and, in the dual, the rows. */
static int begin(const em_kernels *kernels, const em_facts *facts, const uint32_t *groups, int choose, void *memory,
                 size_t size, const void *out, work *at)
{
    int status = em_check_leaving(facts, out);
    em_room room = {memory, 0};
    if (status != EM_OK)
        return status;
    if (kernels == NULL || (facts->total >= facts->dim && facts->moment == NULL))
        return EM_ERR_NULL;
    status = em_check_memory(memory, size, size_of(facts, groups, choose));
    if (status != EM_OK)
        return status;
    *at = lay_out(&room, facts, groups, choose);
    if (!at->dual || !choose)
        at->kept = NULL;
    em_mean(kernels, facts, at->mean);
    if (at->dual)
        centre_rows(kernels, facts, at);
    if (at->kept != NULL)
        em_gram(kernels, at->rows, facts->total, facts->dim, at->kept);
    return EM_OK;
}

int em_ridge_leave_out(const em_kernels *kernels, const em_facts *facts, const uint32_t *groups, double lambda,
                       int balance, void *memory, size_t size, double *scores)
{
    int status;
    double least;
    work at;
    if (!(lambda >= 0.0) || lambda > DBL_MAX)
        return EM_ERR_VALUE;
    status = begin(kernels, facts, groups, 0, memory, size, scores, &at);
    if (status != EM_OK)
        return status;
    least = em_least_lambda(facts->squares, facts->dim);
    status = fit(kernels, facts, lambda > least ? lambda : least, balance, &at);
    for (uint32_t start = 0; status == EM_OK && start < facts->total;) {
        em_fold fold = em_next_fold(&at.folds, start);
        start = fold.end;
        if (fold.count < facts->total) {
            status = leave(kernels, facts, &at, fold);
            if (status == EM_OK)
                score(facts, balance, &at, fold);
        } else {
            em_mark_gone(&at.folds, fold, at.scores); /* nothing is left to fit from */
        }
    }
    if (status == EM_OK)
        memcpy(scores, at.scores, (size_t)facts->total * facts->classes * sizeof *scores);
    return status;
}

/* The sum of squared residuals without each fold, of which none is everything. A class that a fold takes whole has
 * nothing to say, neither its examples nor its targets. */
static int errors(const em_kernels *kernels, const em_facts *facts, double lambda, int balance, work *at, double *sum)
{
    size_t classes = facts->classes;
    int status = fit(kernels, facts, lambda, balance, at);
    *sum = 0.0;
    for (uint32_t start = 0; status == EM_OK && start < facts->total;) {
        em_fold fold = em_next_fold(&at->folds, start);
        start = fold.end;
        status = leave(kernels, facts, at, fold);
        for (size_t r = 0; r < fold.count; r++)
            for (size_t c = 0; c < classes && at->gone[facts->y[fold.rows[r]]] == 0.0; c++)
                if (at->gone[c] == 0.0)
                    *sum += at->left[r * classes + c] * at->left[r * classes + c];
    }
    return status;
}

/* Marks the classes that a fold takes whole, and returns how many others there are. */
static uint32_t known(const em_facts *facts, work *at)
{
    uint32_t found = 0;
    memset(at->gone, 0, facts->classes * sizeof *at->gone);
    for (uint32_t start = 0; start < facts->total;) {
        em_fold fold = em_next_fold(&at->folds, start);
        start = fold.end;
        for (uint32_t r = 0; r < fold.count; r++)
            if (at->folds.left[facts->y[fold.rows[r]]] == 0.0)
                at->gone[facts->y[fold.rows[r]]] = 1.0;
    }
    for (uint32_t c = 0; c < facts->classes; c++)
        found += at->gone[c] == 0.0;
    return found;
}

int em_ridge_choose(const em_kernels *kernels, const em_facts *facts, const uint32_t *groups, int balance,
                    void *memory, size_t size, double *lambda)
{
    static const double grid[] = {0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0};
    double least, unit, best = INFINITY, found = 0.0;
    work at;
    int status = begin(kernels, facts, groups, 1, memory, size, lambda, &at);
    if (status != EM_OK)
        return status;
    least = em_least_lambda(facts->squares, facts->dim);
    unit = facts->squares / facts->total - kernels->dot64(at.mean, at.mean, facts->dim);
    unit = unit > 0.0 ? unit : 0.0;
    if (known(facts, &at) < 2) {
        found = unit; /* the middle of the grid */
    } else {
        for (size_t i = 0; i < sizeof grid / sizeof *grid; i++) {
            double tried = grid[i] * unit, sum;
            status = errors(kernels, facts, tried > least ? tried : least, balance, &at, &sum);
            if (status != EM_OK)
                return status;
            if (sum <= best) {
                best = sum;
                found = tried;
            }
        }
    }
    *lambda = found > least ? found : least;
    return EM_OK;
}

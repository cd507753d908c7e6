/* leave_lda.c - LDA without each fold, in closed form at a fixed shrinkage: edgemeta/heads/lda.py has the equations. */
#include "leaving.h"

#include <string.h>

typedef struct work {
    em_folds folds;
    int dual;
    em_shrunk shrunk;
    double lift;     /* dual: that of the Gram matrix along the classes */
    double *means;   /* (classes, dim); primal: solved with L */
    double *system;  /* (n, n), n = total in the dual and dim in the primal */
    double *rows;    /* (total, dim): X; primal: solved with L */
    double *cross;   /* (classes, total): means X^T */
    double *xm;      /* (classes, total): means Sigma^-1 X^T */
    double *mm;      /* (classes, classes): means Sigma^-1 means^T */
    double *xx;      /* (k, k), k of the largest fold: X Sigma^-1 X^T, and then without the fold */
    double *rest;    /* (k, k): Q^-1 */
    double *gained;  /* (k, classes + k): Q [xm xx] */
    double *new_xm;  /* (k, classes) */
    double *new_xx;  /* (k, k) */
    double *norms;   /* (classes,) */
    double *scores;  /* (total, classes) */
    double *squares; /* (total,): z^T Sigma^-1 z */
} work;

static work lay_out(em_room *room, const em_facts *facts, const uint32_t *groups)
{
    size_t classes = facts->classes, dim = facts->dim, total = facts->total, k = em_largest_fold(facts, groups);
    size_t n = total < dim ? total : dim;
    work at = {0};
    at.dual = total < dim;
    at.folds = em_make_folds(room, facts, groups);
    at.means = em_take(room, classes, dim, sizeof(double));
    at.system = em_take(room, n, n, sizeof(double));
    at.rows = em_take(room, total, dim, sizeof(double));
    at.cross = em_take(room, at.dual ? classes : 0, total, sizeof(double));
    at.xm = em_take(room, classes, total, sizeof(double));
    at.mm = em_take(room, classes, classes, sizeof(double));
    at.xx = em_take(room, k, k, sizeof(double));
    at.rest = em_take(room, k, k, sizeof(double));
    at.gained = em_take(room, k, classes + k, sizeof(double));
    at.new_xm = em_take(room, k, classes, sizeof(double));
    at.new_xx = em_take(room, k, k, sizeof(double));
    at.norms = em_take(room, classes, 1, sizeof(double));
    at.scores = em_take(room, total, classes, sizeof(double));
    at.squares = em_take(room, total, 1, sizeof(double));
    return at;
}

size_t em_lda_leave_out_size(const em_facts *facts, const uint32_t *groups)
{
    em_room room = {NULL, 0};
    if (em_check_shape(facts) != EM_OK)
        return 0;
    (void)lay_out(&room, facts, groups);
    return room.used == SIZE_MAX ? 0 : room.used;
}

/* X, and the means. */
static void begin(const em_kernels *kernels, const em_facts *facts, work *at)
{
    size_t dim = facts->dim;
    for (size_t c = 0; c < facts->classes; c++)
        for (size_t i = 0; i < dim; i++)
            at->means[c * dim + i] = facts->sums[c * dim + i] / facts->counts[c];
    for (size_t i = 0; i < facts->total; i++)
        kernels->minus64(facts->z + i * dim, at->means + facts->y[i] * dim, dim, at->rows + i * dim);
}

static int prepare_primal(const em_kernels *kernels, const em_facts *facts, double shrinkage, double independent,
                          work *at)
{
    size_t dim = facts->dim;
    int status;
    em_within(kernels, facts, at->means, at->system);
    at->shrunk = em_lda_shrink(kernels, facts, shrinkage, independent, at->system, dim);
    for (size_t i = 0; i < dim; i++) {
        for (size_t j = 0; j <= i; j++)
            at->system[i * dim + j] *= at->shrunk.a;
        at->system[i * dim + i] += at->shrunk.d;
    }
    status = em_cholesky(kernels, at->system, dim);
    if (status != EM_OK)
        return status;
    em_cholesky_forward(kernels, at->system, dim, at->rows, facts->total);
    em_cholesky_forward(kernels, at->system, dim, at->means, facts->classes);
    em_products(kernels, at->means, facts->classes, at->rows, facts->total, dim, at->xm);
    em_products(kernels, at->means, facts->classes, at->means, facts->classes, dim, at->mm);
    return EM_OK;
}

/* The Gram matrix is zero along the indicators of the classes. There it is lifted, so that a small d drowns nothing. */
static int invert_lifted(const em_kernels *kernels, const em_facts *facts, work *at)
{
    size_t n = facts->total;
    double ridge = at->shrunk.d / at->shrunk.a, trace = 0.0;
    int status;
    for (size_t i = 0; i < n; i++)
        trace += at->system[i * n + i];
    at->lift = trace / (double)n > ridge ? trace / (double)n : ridge;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++)
            if (facts->y[i] == facts->y[j])
                at->system[i * n + j] += at->lift / facts->counts[facts->y[i]];
        at->system[i * n + i] += ridge;
    }
    status = em_cholesky(kernels, at->system, n);
    if (status != EM_OK)
        return status;
    memcpy(at->xm, at->cross, facts->classes * n * sizeof(double));
    em_cholesky_solve(kernels, at->system, n, at->xm, facts->classes);
    em_cholesky_invert(kernels, at->system, n);
    return EM_OK;
}

static int prepare_dual(const em_kernels *kernels, const em_facts *facts, double shrinkage, double independent,
                        work *at)
{
    size_t n = facts->total, classes = facts->classes;
    double d;
    em_gram(kernels, at->rows, n, facts->dim, at->system);
    em_products(kernels, at->means, classes, at->rows, n, facts->dim, at->cross);
    em_products(kernels, at->means, classes, at->means, classes, facts->dim, at->mm);
    at->shrunk = em_lda_shrink(kernels, facts, shrinkage, independent, at->system, n);
    d = at->shrunk.d;
    if (at->shrunk.a > 0.0) {
        int status = invert_lifted(kernels, facts, at);
        if (status != EM_OK)
            return status;
        for (size_t c = 0; c < classes; c++)
            for (size_t e = 0; e < classes; e++)
                at->mm[c * classes + e] =
                    (at->mm[c * classes + e] - kernels->dot64(at->cross + c * n, at->xm + e * n, n)) / d;
        for (size_t i = 0; i < classes * n; i++)
            at->xm[i] /= at->shrunk.a;
        return EM_OK;
    }
    for (size_t i = 0; i < classes * n; i++)
        at->xm[i] = at->cross[i] / d;
    for (size_t i = 0; i < classes * classes; i++)
        at->mm[i] /= d;
    return EM_OK;
}

/* The entries of xx and rest for two rows of a fold. */
static void entries(const em_kernels *kernels, const em_facts *facts, const work *at, size_t i, size_t j, double *xx,
                    double *rest)
{
    size_t n = facts->total, dim = facts->dim;
    uint32_t c = facts->y[i];
    double a = at->shrunk.a, d = at->shrunk.d, same = facts->y[j] == c ? 1.0 / facts->counts[c] : 0.0, inverse;
    int gone = at->folds.left[c] == 0.0;
    if (at->dual)
        inverse = i > j ? at->system[i * n + j] : at->system[j * n + i];
    else
        inverse = kernels->dot64(at->rows + i * dim, at->rows + j * dim, dim);
    *rest = 0.0;
    if (!at->dual) {
        *xx = inverse;
        if (a > 0.0)
            *rest = ((i == j ? 1.0 : 0.0) - (gone ? 0.0 : same)) / a - inverse;
    } else if (a > 0.0) {
        inverse = d / (a * a) * (inverse - same / (d / a + at->lift));
        *xx = ((i == j ? 1.0 : 0.0) - same) / a - inverse;
        *rest = (gone ? same : 0.0) / a + inverse;
    } else {
        *xx = inverse / d; /* the Gram matrix itself */
    }
}

/* xx, new_xx, new_xm and gained of a fold: what the covariance loses with it. */
static int downdate(const em_kernels *kernels, const em_facts *facts, work *at, em_fold fold)
{
    size_t k = fold.count, classes = facts->classes, wide = classes + k;
    int status;
    for (size_t r = 0; r < k; r++) {
        for (size_t s = 0; s < k; s++)
            entries(kernels, facts, at, fold.rows[r], fold.rows[s], at->xx + r * k + s, at->rest + r * k + s);
        for (size_t c = 0; c < classes; c++)
            at->new_xm[r * classes + c] = at->xm[c * facts->total + fold.rows[r]];
        memcpy(at->gained + r * wide, at->new_xm + r * classes, classes * sizeof(double));
        memcpy(at->gained + r * wide + classes, at->xx + r * k, k * sizeof(double));
    }
    memcpy(at->new_xx, at->xx, k * k * sizeof(double));
    if (at->shrunk.a == 0.0) {
        memset(at->gained, 0, k * wide * sizeof(double));
        return EM_OK;
    }
    status = em_solve_small(kernels, at->rest, k, at->gained, wide);
    if (status != EM_OK)
        return status;
    for (size_t r = 0; r < k; r++)
        for (size_t s = 0; s < k; s++) {
            kernels->axpy64(at->xx[r * k + s], at->gained + s * wide, at->new_xm + r * classes, classes);
            kernels->axpy64(at->xx[r * k + s], at->gained + s * wide + classes, at->new_xx + r * k, k);
        }
    return EM_OK;
}

/* m^T Sigma^-1 m of every class without the fold, whose mean then is m_c - sum of x_s / what is left. */
static void find_norms(const em_facts *facts, work *at, em_fold fold)
{
    size_t k = fold.count, classes = facts->classes, wide = classes + k;
    for (size_t c = 0; c < classes; c++) {
        at->norms[c] = at->mm[c * classes + c];
        for (size_t r = 0; r < k; r++)
            at->norms[c] += at->xm[c * facts->total + fold.rows[r]] * at->gained[r * wide + c];
    }
    for (size_t r = 0; r < k; r++) {
        uint32_t c = facts->y[fold.rows[r]];
        double left = at->folds.left[c];
        if (left == 0.0)
            continue;
        at->norms[c] -= 2.0 * at->new_xm[r * classes + c] / left;
        for (size_t s = 0; s < k; s++)
            if (facts->y[fold.rows[s]] == c)
                at->norms[c] += at->new_xx[r * k + s] / (left * left);
    }
}

static void score(const em_kernels *kernels, const em_facts *facts, work *at, em_fold fold)
{
    size_t k = fold.count, classes = facts->classes, wide = classes + k;
    find_norms(facts, at, fold);
    for (size_t r = 0; r < k; r++) {
        uint32_t own = facts->y[fold.rows[r]];
        double *row = at->scores + (size_t)fold.rows[r] * classes;
        double square = at->mm[own * classes + own] + 2.0 * at->new_xm[r * classes + own] + at->new_xx[r * k + r];
        for (size_t c = 0; c < classes; c++)
            row[c] = at->mm[own * classes + c] + at->new_xm[r * classes + c] - 0.5 * at->norms[c];
        for (size_t s = 0; s < k; s++) {
            uint32_t c = facts->y[fold.rows[s]];
            double left = at->folds.left[c];
            kernels->axpy64(at->xm[own * facts->total + fold.rows[s]], at->gained + s * wide, row, classes);
            square += at->xm[own * facts->total + fold.rows[s]] * at->gained[s * wide + own];
            if (left > 0.0)
                row[c] -= (at->new_xx[r * k + s] + at->new_xm[s * classes + own]) / left;
        }
        at->squares[fold.rows[r]] = square;
    }
}

int em_lda_leave_out(const em_kernels *kernels, const em_facts *facts, const uint32_t *groups, double shrinkage,
                     uint32_t independent, void *memory, size_t size, double *scores, double *squares)
{
    int status = em_check_leaving(facts, scores);
    em_room room = {memory, 0};
    double known;
    work at;
    if (status != EM_OK)
        return status;
    if (kernels == NULL || (facts->total >= facts->dim && facts->moment == NULL))
        return EM_ERR_NULL;
    if (!(shrinkage <= 1.0) || independent > facts->total)
        return EM_ERR_VALUE;
    status = em_check_memory(memory, size, em_lda_leave_out_size(facts, groups));
    if (status != EM_OK)
        return status;
    at = lay_out(&room, facts, groups);
    memset(at.squares, 0, facts->total * sizeof *at.squares);
    begin(kernels, facts, &at);
    known = (double)independent - facts->classes;
    status = (at.dual ? prepare_dual : prepare_primal)(kernels, facts, shrinkage, known, &at);
    for (uint32_t start = 0; status == EM_OK && start < facts->total;) {
        em_fold fold = em_next_fold(&at.folds, start);
        start = fold.end;
        if (fold.count < facts->total) {
            status = downdate(kernels, facts, &at, fold);
            if (status == EM_OK)
                score(kernels, facts, &at, fold);
        }
        em_mark_gone(&at.folds, fold, at.scores);
    }
    if (status == EM_OK)
        memcpy(scores, at.scores, (size_t)facts->total * facts->classes * sizeof *scores);
    if (status == EM_OK && squares != NULL)
        memcpy(squares, at.squares, facts->total * sizeof *squares);
    return status;
}

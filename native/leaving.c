/* leaving.c - folds, and class means without them: edgemeta/heads/leaving.py and means.py. */
#include "leaving.h"

#include <math.h>
#include <string.h>

void *em_take(em_room *room, size_t rows, size_t columns, size_t each)
{
    void *found = room->base == NULL ? NULL : room->base + room->used;
    size_t size = em_aligned(em_times(em_times(rows, columns), each));
    room->used = em_plus(room->used, size);
    return found;
}

int em_check_shape(const em_facts *facts)
{
    if (facts == NULL || facts->counts == NULL || facts->sums == NULL || facts->z == NULL || facts->y == NULL)
        return EM_ERR_NULL;
    if (facts->classes == 0 || facts->dim == 0 || facts->dim > EM_MAX_DIM || facts->total == 0)
        return EM_ERR_SIZE;
    return EM_OK;
}

/* Embeddings have norms of about 1; far beyond, products of four of them would be infinite, and scores no numbers. */
#define LARGEST 1e60

static int in_range(const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (values[i] > LARGEST || values[i] < -LARGEST)
            return 0;
    return 1;
}

int em_check_leaving(const em_facts *facts, const void *scores)
{
    int status = em_check_shape(facts);
    if (status == EM_OK)
        status = em_check_facts(facts);
    if (status != EM_OK)
        return status;
    if (scores == NULL)
        return EM_ERR_NULL;
    if (!in_range(facts->z, (size_t)facts->total * facts->dim) ||
        !in_range(facts->sums, (size_t)facts->classes * facts->dim))
        return EM_ERR_VALUE;
    for (uint32_t c = 0; c < facts->classes; c++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < facts->total; i++)
            count += facts->y[i] == c;
        if ((double)count != facts->counts[c])
            return EM_ERR_VALUE;
    }
    return EM_OK;
}

size_t em_largest_fold(const em_facts *facts, const uint32_t *groups)
{
    size_t largest = 1, total = facts->total;
    if (groups == NULL)
        return 1;
    for (size_t i = 0; i < total; i++) {
        size_t count = 0;
        if (i > 0 && groups[i] == groups[i - 1])
            continue; /* it was counted with the one before */
        for (size_t j = 0; j < total; j++)
            count += groups[j] == groups[i];
        largest = count > largest && count < total ? count : largest;
    }
    return largest;
}

static int before(const em_folds *folds, uint32_t a, uint32_t b)
{
    const uint32_t *groups = folds->groups, *y = folds->facts->y;
    if (groups != NULL && groups[a] != groups[b])
        return groups[a] < groups[b];
    if (groups != NULL && y[a] != y[b])
        return y[a] < y[b];
    return a < b;
}

/* Let the entry at `top` of a heap of n fall to where it belongs. */
static void fall(em_folds *folds, uint32_t top, uint32_t n)
{
    uint32_t *heap = folds->order, moved = heap[top];
    for (size_t next = 2 * (size_t)top + 1; next < n; next = 2 * next + 1) {
        if (next + 1 < n && before(folds, heap[next], heap[next + 1]))
            next++;
        if (!before(folds, moved, heap[next]))
            break;
        heap[top] = heap[next];
        top = (uint32_t)next;
    }
    heap[top] = moved;
}

em_folds em_make_folds(em_room *room, const em_facts *facts, const uint32_t *groups)
{
    em_folds folds = {0};
    uint32_t n = facts->total;
    folds.facts = facts;
    folds.groups = groups;
    folds.order = em_take(room, n, 1, sizeof *folds.order);
    folds.left = em_take(room, facts->classes, 1, sizeof *folds.left);
    if (folds.order == NULL)
        return folds;
    for (uint32_t i = 0; i < n; i++)
        folds.order[i] = i;
    if (groups == NULL)
        return folds;
    for (uint32_t i = n / 2; i-- > 0;)
        fall(&folds, i, n);
    for (uint32_t i = n; i-- > 1;) {
        uint32_t most = folds.order[0];
        folds.order[0] = folds.order[i];
        folds.order[i] = most;
        fall(&folds, 0, i);
    }
    return folds;
}

em_fold em_next_fold(em_folds *folds, uint32_t start)
{
    const em_facts *facts = folds->facts;
    em_fold fold;
    fold.rows = folds->order + start;
    fold.end = start + 1;
    if (folds->groups != NULL)
        while (fold.end < facts->total && folds->groups[folds->order[fold.end]] == folds->groups[fold.rows[0]])
            fold.end++;
    fold.count = fold.end - start;
    memcpy(folds->left, facts->counts, facts->classes * sizeof *folds->left);
    for (uint32_t r = 0; r < fold.count; r++)
        folds->left[facts->y[fold.rows[r]]] -= 1.0;
    return fold;
}

void em_mark_gone(const em_folds *folds, em_fold fold, double *scores)
{
    const em_facts *facts = folds->facts;
    for (uint32_t r = 0; r < fold.count; r++) {
        uint32_t c = facts->y[fold.rows[r]];
        if (folds->left[c] == 0.0)
            for (uint32_t s = 0; s < fold.count; s++)
                scores[(size_t)fold.rows[s] * facts->classes + c] = -INFINITY;
        while (r + 1 < fold.count && facts->y[fold.rows[r + 1]] == c)
            r++; /* the same class */
    }
}

static void swap(double *a, double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

int em_solve_small(const em_kernels *kernels, double *a, size_t n, double *b, size_t columns)
{
    for (size_t k = 0; k < n; k++) {
        double *row = a + k * n, pivot;
        size_t best = k;
        for (size_t i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[best * n + k]))
                best = i;
        pivot = a[best * n + k];
        if (pivot == 0.0 || !(pivot - pivot == 0.0))
            return EM_ERR_SINGULAR;
        if (best != k) {
            swap(row + k, a + best * n + k, n - k);
            swap(b + k * columns, b + best * columns, columns);
        }
        for (size_t i = k + 1; i < n; i++) {
            double factor = -a[i * n + k] / pivot;
            kernels->axpy64(factor, row + k + 1, a + i * n + k + 1, n - k - 1);
            kernels->axpy64(factor, b + k * columns, b + i * columns, columns);
        }
    }
    for (size_t k = n; k-- > 0;) {
        double *right = b + k * columns;
        for (size_t i = k + 1; i < n; i++)
            kernels->axpy64(-a[k * n + i], b + i * columns, right, columns);
        for (size_t c = 0; c < columns; c++)
            right[c] /= a[k * n + k];
    }
    return EM_OK;
}

/* ---- class means ------------------------------------------------------------------------------------------------- */

typedef struct work {
    em_folds folds;
    double *weights, *bias; /* (classes, dim), (classes,): of all examples */
    double *centre, *moved; /* (dim,) */
} work;

static work lay_out(em_room *room, const em_facts *facts, const uint32_t *groups)
{
    work at;
    at.folds = em_make_folds(room, facts, groups);
    at.weights = em_take(room, facts->classes, facts->dim, sizeof(double));
    at.bias = em_take(room, facts->classes, 1, sizeof(double));
    at.centre = em_take(room, facts->dim, 1, sizeof(double));
    at.moved = em_take(room, facts->dim, 1, sizeof(double));
    return at;
}

size_t em_means_leave_out_size(const em_facts *facts, const uint32_t *groups)
{
    em_room room = {NULL, 0};
    if (em_check_shape(facts) != EM_OK)
        return 0;
    (void)lay_out(&room, facts, groups);
    return room.used == SIZE_MAX ? 0 : room.used;
}

/* The weights in `moved`, and the bias returned, of a class without the rows [from, to) of a fold, all it has there. */
static double move(int kind, const em_facts *facts, work *at, em_fold fold, uint32_t from, uint32_t to)
{
    const em_kernels *plain = &em_kernels_portable;
    uint32_t dim = facts->dim, c = facts->y[fold.rows[from]];
    double nowhere;
    memset(at->moved, 0, dim * sizeof *at->moved);
    for (uint32_t r = from; r < to; r++)
        plain->axpy64(1.0, facts->z + (size_t)fold.rows[r] * dim, at->moved, dim);
    for (uint32_t i = 0; i < dim; i++)
        at->moved[i] = (facts->sums[(size_t)c * dim + i] - at->moved[i]) / at->folds.left[c] - at->centre[i];
    if (kind == EM_EUCLIDEAN)
        return em_mean_euclidean(at->moved, dim);
    nowhere = em_mean_direct(at->moved, dim);
    return nowhere - plain->dot64(at->moved, at->centre, dim);
}

static void score_fold(int kind, const em_facts *facts, work *at, em_fold fold, double *scores)
{
    const em_kernels *plain = &em_kernels_portable;
    uint32_t classes = facts->classes, dim = facts->dim;
    for (uint32_t from = 0, to; from < fold.count; from = to) {
        uint32_t c = facts->y[fold.rows[from]];
        double bias;
        for (to = from + 1; to < fold.count && facts->y[fold.rows[to]] == c; to++)
            continue;
        if (at->folds.left[c] == 0.0)
            continue;
        bias = move(kind, facts, at, fold, from, to);
        for (uint32_t r = 0; r < fold.count; r++) {
            size_t row = fold.rows[r];
            scores[row * classes + c] = plain->dot64(at->moved, facts->z + row * dim, dim) + bias;
        }
    }
    em_mark_gone(&at->folds, fold, scores);
}

int em_means_leave_out(int kind, const em_facts *facts, const uint32_t *groups, void *memory, size_t size,
                       double *scores)
{
    int status = em_check_leaving(facts, scores);
    em_room room = {memory, 0};
    work at;
    if (status != EM_OK)
        return status;
    if (kind != EM_EUCLIDEAN && kind != EM_COSINE && kind != EM_CENTRED)
        return EM_ERR_VALUE;
    status = em_check_memory(memory, size, em_means_leave_out_size(facts, groups));
    if (status != EM_OK)
        return status;
    at = lay_out(&room, facts, groups);
    status = em_means(kind, facts, at.weights, at.bias);
    if (status != EM_OK)
        return status;
    memset(at.centre, 0, facts->dim * sizeof *at.centre); /* NOLINT: memory is there, em_check_memory() says */
    if (kind == EM_CENTRED)
        for (uint32_t c = 0; c < facts->classes; c++)
            em_kernels_portable.axpy64(1.0 / (facts->counts[c] * facts->classes),
                                       facts->sums + (size_t)c * facts->dim, at.centre, facts->dim);
    for (size_t i = 0; i < facts->total; i++)
        for (size_t c = 0; c < facts->classes; c++)
            scores[i * facts->classes + c] =
                em_kernels_portable.dot64(at.weights + c * facts->dim, facts->z + i * facts->dim, facts->dim) +
                at.bias[c];
    for (uint32_t start = 0; start < facts->total;) {
        em_fold fold = em_next_fold(&at.folds, start);
        score_fold(kind, facts, &at, fold, scores);
        start = fold.end;
    }
    return EM_OK;
}

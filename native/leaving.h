/* leaving.h - what leaving out needs, whatever the head: folds, rooms in the caller's memory, small systems. */
#ifndef EDGEMETA_LEAVING_H
#define EDGEMETA_LEAVING_H

#include "dense.h"

/* Memory handed out piece by piece. With base NULL nothing is: then `used` says how much it would be. */
typedef struct em_room {
    char *base;
    size_t used; /* SIZE_MAX: more than there can be */
} em_room;

/* rows * columns numbers of `each` bytes. */
void *em_take(em_room *room, size_t rows, size_t columns, size_t each);

/* A fold is one group, whose examples are left out together; without groups each example is a fold. */
typedef struct em_folds {
    const em_facts *facts;
    const uint32_t *groups; /* (total,) or NULL */
    uint32_t *order;        /* (total,): rows, those of a fold side by side, and within it those of a class */
    double *left;           /* (classes,): of the fold looked at, what it leaves of each class */
} em_folds;

/* One fold: rows (count,), in order of their classes. */
typedef struct em_fold {
    const uint32_t *rows;
    uint32_t count, end; /* end: where the next starts */
} em_fold;

/* Whether sizes and pointers allow leaving out: EM_OK, EM_ERR_NULL or EM_ERR_SIZE. Numbers are not looked at. */
int em_check_shape(const em_facts *facts);

/* em_check_shape(), then all numbers and the counts against y. */
int em_check_leaving(const em_facts *facts, const void *scores);

/* How many examples the largest fold has that is not everything. */
size_t em_largest_fold(const em_facts *facts, const uint32_t *groups);

/* Take rooms for folds; with memory, also find them. */
em_folds em_make_folds(em_room *room, const em_facts *facts, const uint32_t *groups);

/* The fold that starts at `start` (0 for the first, then its end, until that is the total), with `left` filled. */
em_fold em_next_fold(em_folds *folds, uint32_t start);

/* Scores of the rows of a fold for classes that are gone without it: -INFINITY. */
void em_mark_gone(const em_folds *folds, em_fold fold, double *scores);

/* Solve a x = b for a (n, n) and b (n, columns), both spoiled, the solution in b: Gaussian elimination, with pivots by
 * rows. EM_ERR_SINGULAR. */
int em_solve_small(const em_kernels *kernels, double *a, size_t n, double *b, size_t columns);

/* Sigma = a X^T X + d I of LDA. */
typedef struct em_shrunk {
    double a, d;
} em_shrunk;

/* From the lower triangle of X^T X or X X^T (n, n). independent: less the number of classes. */
em_shrunk em_lda_shrink(const em_kernels *kernels, const em_facts *facts, double shrinkage, double independent,
                        const double *system, size_t n);

#endif

/* dense.h - the linear algebra that the heads share. Matrices are float64, row-major. */
#ifndef EDGEMETA_DENSE_H
#define EDGEMETA_DENSE_H

#include "internal.h"

/* The lower triangle of a (n, n) to its Cholesky factor, in place; what is above the diagonal is neither read nor written.
 * EM_ERR_SINGULAR where a pivot is not positive; then `a` is spoiled. */
int em_cholesky(const em_kernels *kernels, double *a, size_t n);

/* Solve L L^T x = b for `count` right-hand sides, each a row of b (count, n), in place. */
void em_cholesky_solve(const em_kernels *kernels, const double *l, size_t n, double *b, size_t count);

/* The lower triangle of a a^T, for a (n, dim), into out (n, n). */
void em_gram(const em_kernels *kernels, const double *a, size_t n, size_t dim, double *out);

/* Whether n numbers are all finite. */
int em_finite(const double *values, size_t n);

/* What every head asks of facts: EM_OK, EM_ERR_NULL, EM_ERR_SIZE or EM_ERR_VALUE. */
int em_check_facts(const em_facts *facts);

/* Whether a head solves from the examples: they are there, and fewer than dimensions. */
int em_is_dual(const em_facts *facts);

/* A class mean (in `row`) to its weights; the bias is returned. Its direction, where a mean of exactly zero points nowhere and
 * has the lowest cosine as bias; or for the nearest mean. */
double em_mean_direct(double *row, uint32_t dim);
double em_mean_euclidean(double *row, uint32_t dim);

#endif

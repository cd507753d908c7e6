/* dense.h - the linear algebra that the heads share. Matrices are float64, row-major. */
#ifndef EDGEMETA_DENSE_H
#define EDGEMETA_DENSE_H

#include "internal.h"

/* The lower triangle of a (n, n) to its Cholesky factor, in place; what is above the diagonal is neither read nor written.
 * EM_ERR_SINGULAR where a pivot is not positive; then `a` is spoiled. */
int em_cholesky(const em_kernels *kernels, double *a, size_t n);

/* Solve L L^T x = b for `count` right-hand sides, each a row of b (count, n), in place. */
void em_cholesky_solve(const em_kernels *kernels, const double *l, size_t n, double *b, size_t count);

/* The first half of that: L x = b. */
void em_cholesky_forward(const em_kernels *kernels, const double *l, size_t n, double *b, size_t count);

/* The factor (the lower triangle of a) to the lower triangle of (L L^T)^-1, in place; what is above the diagonal is
 * spoiled. */
void em_cholesky_invert(const em_kernels *kernels, double *a, size_t n);

/* out (rows, columns) = a b^T, for a (rows, n) and b (columns, n). */
void em_products(const em_kernels *kernels, const double *a, size_t rows, const double *b, size_t columns, size_t n,
                 double *out);

/* The lower triangle of a a^T, for a (n, dim), into out (n, n). */
void em_gram(const em_kernels *kernels, const double *a, size_t n, size_t dim, double *out);

/* The mean of all examples, (dim,). */
void em_mean(const em_kernels *kernels, const em_facts *facts, double *mean);

/* Rows of z (count, dim) less the mean. */
void em_centre(const em_kernels *kernels, const double *z, size_t count, size_t dim, const double *mean, double *out);

/* Lower triangles (dim, dim): G - N m m^T, and G - sum of n_c m_c m_c^T with the class means (classes, dim). */
void em_scatter(const em_kernels *kernels, const em_facts *facts, const double *mean, double *out);
void em_within(const em_kernels *kernels, const em_facts *facts, const double *means, double *out);

/* The floor of ridge's lambda, from tr G. */
double em_least_lambda(double squares, double dim);

/* Whether n numbers are all finite. */
int em_finite(const double *values, size_t n);

/* What every head asks of facts: EM_OK, EM_ERR_NULL, EM_ERR_SIZE or EM_ERR_VALUE. */
int em_check_facts(const em_facts *facts);

/* The same but for whether z is finite, which a head that solves from it sees in their Gram matrix. */
int em_check_sums(const em_facts *facts);

/* Whether the rows of a Gram matrix were finite (and their squares). */
int em_gram_finite(const double *gram, size_t n);

/* Whether a head solves from the examples: they are there, and fewer than dimensions. */
int em_is_dual(const em_facts *facts);

/* A class mean (in `row`) to its weights; the bias is returned. Its direction, where a mean of exactly zero points nowhere and
 * has the lowest cosine as bias; or for the nearest mean. */
double em_mean_direct(double *row, uint32_t dim);
double em_mean_euclidean(double *row, uint32_t dim);

#endif

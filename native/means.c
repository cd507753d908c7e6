/* means.c - class means: edgemeta/heads/means.py, whose docstrings name the papers. */
#include "dense.h"

#define EM_SQRT(x) __builtin_sqrt(x)

double em_mean_direct(double *row, uint32_t dim)
{
    double squares = 0.0, norm;
    for (uint32_t i = 0; i < dim; i++)
        squares += row[i] * row[i];
    norm = EM_SQRT(squares);
    if (norm == 0.0)
        return -1.0;
    for (uint32_t i = 0; i < dim; i++)
        row[i] /= norm;
    return 0.0;
}

double em_mean_euclidean(double *row, uint32_t dim)
{
    double squares = 0.0;
    for (uint32_t i = 0; i < dim; i++) {
        squares += row[i] * row[i];
        row[i] *= 2.0;
    }
    return -squares;
}

/* The mean of the class means, entry i. */
static double centre(const em_facts *facts, uint32_t i)
{
    double sum = 0.0;
    for (uint32_t c = 0; c < facts->classes; c++)
        sum += facts->sums[(size_t)c * facts->dim + i] / facts->counts[c];
    return sum / facts->classes;
}

/* Without memory of its own, the centre is found again for each class that needs it: in the last row, which is made last. */
static void centred(const em_facts *facts, double *weights, double *bias)
{
    uint32_t dim = facts->dim, last = facts->classes - 1;
    double *kept = weights + (size_t)last * dim;
    for (uint32_t i = 0; i < dim; i++)
        kept[i] = centre(facts, i);
    for (uint32_t c = 0; c < facts->classes; c++) {
        double *row = weights + (size_t)c * dim, along = 0.0, nowhere;
        for (uint32_t i = 0; i < dim; i++)
            row[i] = facts->sums[(size_t)c * dim + i] / facts->counts[c] - kept[i];
        nowhere = em_mean_direct(row, dim);
        for (uint32_t i = 0; i < dim; i++)
            along += row[i] * (c == last ? centre(facts, i) : kept[i]);
        bias[c] = nowhere - along;
    }
}

int em_means(int kind, const em_facts *facts, double *weights, double *bias)
{
    int status = em_check_facts(facts);
    if (status != EM_OK)
        return status;
    if (weights == NULL || bias == NULL)
        return EM_ERR_NULL;
    if (kind == EM_CENTRED) {
        centred(facts, weights, bias);
        return EM_OK;
    }
    if (kind != EM_EUCLIDEAN && kind != EM_COSINE)
        return EM_ERR_VALUE;
    for (uint32_t c = 0; c < facts->classes; c++) {
        double *row = weights + (size_t)c * facts->dim;
        for (uint32_t i = 0; i < facts->dim; i++)
            row[i] = facts->sums[(size_t)c * facts->dim + i] / facts->counts[c];
        bias[c] = kind == EM_COSINE ? em_mean_direct(row, facts->dim) : em_mean_euclidean(row, facts->dim);
    }
    return EM_OK;
}

/* state_means.c - class means: only what an example changes is made anew. */
#include "state.h"

#include <string.h>

static void lay_out(em_state *self, em_walk *walk)
{
    if (self->options.means == EM_CENTRED)
        self->centre = em_walk_take(walk, self->options.dim, sizeof(double));
}

static int room(const em_state *self, uint32_t count)
{
    (void)self;
    (void)count;
    return EM_OK;
}

static int few(const em_state *self, uint32_t count)
{
    (void)self;
    return count == 1;
}

/* In the order of em_means(), so that both find the same. */
static void find_centre(em_state *self)
{
    uint32_t known = 0, dim = self->options.dim;
    memset(self->centre, 0, dim * sizeof *self->centre);
    for (uint32_t c = 0; c < self->options.classes; c++) {
        uint32_t count = em_statistics_count(self->statistics, c);
        const double *sum = em_statistics_sum(self->statistics, c);
        known += count > 0;
        for (uint32_t i = 0; count > 0 && i < dim; i++)
            self->centre[i] += sum[i] / count;
    }
    for (uint32_t i = 0; known > 0 && i < dim; i++)
        self->centre[i] /= known;
}

static double weights(const em_state *self, uint32_t of_class, double *row)
{
    uint32_t count = em_statistics_count(self->statistics, of_class), dim = self->options.dim;
    const double *sum = em_statistics_sum(self->statistics, of_class);
    double nowhere;
    for (uint32_t i = 0; i < dim; i++)
        row[i] = sum[i] / count;
    if (self->options.means == EM_EUCLIDEAN)
        return em_mean_euclidean(row, dim);
    if (self->options.means == EM_COSINE)
        return em_mean_direct(row, dim);
    self->kernels->axpy64(-1.0, self->centre, row, dim);
    nowhere = em_mean_direct(row, dim);
    return nowhere - self->kernels->dot64(row, self->centre, dim);
}

/* A class was changed: it alone, or with the centre all of them. */
static void changed(em_state *self, uint32_t of_class)
{
    if (self->options.means != EM_CENTRED) {
        em_state_quicken(self, of_class);
        return;
    }
    find_centre(self);
    for (uint32_t c = 0; c < self->options.classes; c++)
        em_state_quicken(self, c);
}

static void put(em_state *self, uint32_t of_class, const int32_t *q20)
{
    em_statistics_change(self->statistics, of_class, q20, 1, 1);
    self->total++;
}

static void add(em_state *self, uint32_t of_class, const int32_t *q20)
{
    put(self, of_class, q20);
    changed(self, of_class);
}

static int take_back(em_state *self, uint32_t of_class, const int32_t *q20)
{
    em_statistics_change(self->statistics, of_class, q20, 1, 0);
    self->total--;
    changed(self, of_class);
    return EM_OK;
}

static void refit(em_state *self)
{
    if (self->options.means == EM_CENTRED)
        find_centre(self);
    for (uint32_t c = 0; c < self->options.classes; c++)
        em_state_quicken(self, c);
}

const struct em_state_kind_of em_state_means = {lay_out, room, few, put, add, take_back, refit, weights};

/* statistics.c - n and s of each class, and G in tiles: sums that are exact, so that removing is the inverse of adding. */
#include "dense.h"

#include <string.h>

#define AT_ONCE 8u /* examples whose numbers are held as float64 while they go into G */
#define ONE ((uint64_t)EM_Q20 * EM_Q20)

struct em_statistics {
    const em_kernels *kernels;
    uint32_t dim, classes, padded; /* padded: dim rounded up to whole tiles */
    double squares;
    uint32_t *counts;
    double *sums;    /* (classes, dim) */
    double *tiles;   /* NULL without G. Rows of tiles one after another: 2, 4, 6, ... of 32 numbers */
    double *scratch; /* (AT_ONCE, padded); zeros behind dim */
};

/* Without G there is nothing to gain from more than one. */
static uint32_t at_once(int moment)
{
    return moment ? AT_ONCE : 1u;
}

typedef struct layout {
    size_t counts, sums, tiles, scratch, whole;
} layout;

static uint32_t padded_dim(uint32_t dim)
{
    return (dim + 7u) / 8u * 8u;
}

/* Tiles of G: row i of them has 2 (i + 1). */
static size_t tile_count(uint32_t dim)
{
    size_t rows = padded_dim(dim) / 8u;
    return rows * (rows + 1u);
}

static layout lay_out(uint32_t dim, uint32_t classes, int moment)
{
    layout at;
    size_t tiles = moment ? em_times(tile_count(dim), 32u * sizeof(double)) : 0u;
    at.counts = em_aligned(sizeof(struct em_statistics));
    at.sums = em_plus(at.counts, em_aligned(em_times(classes, sizeof(uint32_t))));
    at.tiles = em_plus(at.sums, em_aligned(em_times(em_times(classes, dim), sizeof(double))));
    at.scratch = em_plus(at.tiles, em_aligned(tiles));
    at.whole = em_plus(at.scratch, em_aligned(em_times(at_once(moment) * sizeof(double), padded_dim(dim))));
    return at;
}

size_t em_statistics_size(uint32_t dim, uint32_t classes, int moment)
{
    size_t whole;
    if (dim == 0 || dim > EM_MAX_DIM || classes == 0)
        return 0;
    whole = lay_out(dim, classes, moment).whole;
    return whole == SIZE_MAX ? 0 : whole;
}

int em_statistics_init(void *memory, size_t size, const em_kernels *kernels, uint32_t dim, uint32_t classes, int moment,
                       em_statistics **out)
{
    struct em_statistics *made = memory;
    layout at;
    int status;
    if (kernels == NULL || out == NULL)
        return EM_ERR_NULL;
    if (em_statistics_size(dim, classes, moment) == 0)
        return EM_ERR_SIZE;
    at = lay_out(dim, classes, moment);
    status = em_check_memory(memory, size, at.whole);
    if (status != EM_OK)
        return status;
    memset(memory, 0, at.whole);
    made->kernels = kernels;
    made->dim = dim;
    made->classes = classes;
    made->padded = padded_dim(dim);
    made->counts = (uint32_t *)(void *)((char *)memory + at.counts);
    made->sums = (double *)(void *)((char *)memory + at.sums);
    made->tiles = moment ? (double *)(void *)((char *)memory + at.tiles) : NULL;
    made->scratch = (double *)(void *)((char *)memory + at.scratch);
    *out = made;
    return EM_OK;
}

int em_check_q20(const em_kernels *kernels, const int32_t *q20, uint32_t dim, uint32_t count)
{
    for (uint32_t n = 0; n < count; n++) {
        uint32_t largest;
        uint64_t squares;
        kernels->state->measure(q20 + (size_t)n * dim, dim, &largest, &squares);
        if (largest > EM_Q20 || squares > ONE + ONE / 64u)
            return EM_ERR_VALUE;
    }
    return EM_OK;
}

/* Examples to float64 beside each other, in units of 1; their sum into s, their squares returned. */
static double take(struct em_statistics *self, double *sum, const int32_t *q20, uint32_t count, double sign)
{
    double squares = 0.0;
    for (uint32_t n = 0; n < count; n++) {
        double *z = self->scratch + (size_t)n * self->padded;
        const int32_t *row = q20 + (size_t)n * self->dim;
        self->kernels->state->widen(row, 0.0, z, z, self->dim);
        self->kernels->axpy64(sign, z, sum, self->dim);
        squares += self->kernels->dot64(z, z, self->dim);
    }
    return squares;
}

/* All examples of a row of tiles before the next row: it stays in the cache meanwhile. */
static void add_to_moment(struct em_statistics *self, uint32_t count, double sign)
{
    double *tiles = self->tiles;
    for (uint32_t row = 0; row < self->padded; row += 8) {
        size_t across = row / 4u + 2u;
        for (uint32_t n = 0; n < count; n++) {
            const double *z = self->scratch + (size_t)n * self->padded;
            self->kernels->tiles(tiles, z + row, z, across, sign);
        }
        tiles += 32 * across;
    }
}

static int change(em_statistics *self, uint32_t of_class, const int32_t *q20, uint32_t count, int add)
{
    int status;
    if (self == NULL || (q20 == NULL && count > 0))
        return EM_ERR_NULL;
    if (of_class >= self->classes)
        return EM_ERR_NOT_FOUND;
    if (add ? count > UINT32_MAX - self->counts[of_class] : count > self->counts[of_class])
        return add ? EM_ERR_SIZE : EM_ERR_NOT_FOUND;
    status = em_check_q20(self->kernels, q20, self->dim, count);
    if (status == EM_OK)
        em_statistics_change(self, of_class, q20, count, add);
    return status;
}

const double *em_statistics_change(em_statistics *self, uint32_t of_class, const int32_t *q20, uint32_t count, int add)
{
    double *sum = self->sums + (size_t)of_class * self->dim, sign = add ? 1.0 : -1.0;
    for (uint32_t n = 0, most = at_once(self->tiles != NULL); n < count; n += most) {
        uint32_t now = count - n < most ? count - n : most;
        self->squares += sign * take(self, sum, q20 + (size_t)n * self->dim, now, sign);
        if (self->tiles != NULL)
            add_to_moment(self, now, sign);
    }
    self->counts[of_class] = add ? self->counts[of_class] + count : self->counts[of_class] - count;
    return self->scratch;
}

int em_statistics_add(em_statistics *statistics, uint32_t of_class, const int32_t *q20, uint32_t count)
{
    return change(statistics, of_class, q20, count, 1);
}

int em_statistics_remove(em_statistics *statistics, uint32_t of_class, const int32_t *q20, uint32_t count)
{
    return change(statistics, of_class, q20, count, 0);
}

int em_statistics_merge(em_statistics *statistics, const em_statistics *other)
{
    if (statistics == NULL || other == NULL)
        return EM_ERR_NULL;
    if (statistics->dim != other->dim || statistics->classes != other->classes ||
        (statistics->tiles == NULL) != (other->tiles == NULL))
        return EM_ERR_MISMATCH;
    for (uint32_t c = 0; c < other->classes; c++)
        if (other->counts[c] > UINT32_MAX - statistics->counts[c])
            return EM_ERR_SIZE;
    for (uint32_t c = 0; c < other->classes; c++)
        statistics->counts[c] += other->counts[c];
    statistics->squares += other->squares;
    statistics->kernels->axpy64(1.0, other->sums, statistics->sums, (size_t)other->classes * other->dim);
    if (other->tiles != NULL)
        statistics->kernels->axpy64(1.0, other->tiles, statistics->tiles, 32 * tile_count(other->dim));
    return EM_OK;
}

/* Whether sums of `count` embeddings can be these. */
static int can_be(const double *sums, size_t n, double count)
{
    if (!em_finite(sums, n))
        return 0;
    for (size_t i = 0; i < n; i++)
        if (sums[i] > count || sums[i] < -count)
            return 0;
    return 1;
}

/* Entry (i, j) of the upper triangle, j not below i, that lies row by row. */
static size_t upper(size_t i, size_t j, size_t dim)
{
    return i * dim - i * (i + 1u) / 2u + j;
}

/* Sums of squares cannot be negative. */
static int has_squares(const double *moment, size_t dim)
{
    for (size_t i = 0; i < dim; i++)
        if (moment[upper(i, i, dim)] < 0.0)
            return 0;
    return 1;
}

static void add_upper(struct em_statistics *self, const double *moment)
{
    double *tiles = self->tiles;
    uint32_t dim = self->dim;
    for (uint32_t i = 0; i < dim; i++)
        self->squares += moment[upper(i, i, dim)];
    for (uint32_t row = 0; row < self->padded; row += 8)
        for (uint32_t column = 0; column < row + 8; column += 4, tiles += 32)
            for (uint32_t k = 0; k < 32; k++) {
                uint32_t i = row + k / 4u, j = column + k % 4u;
                if (i < dim && j < dim)
                    tiles[k] += moment[i < j ? upper(i, j, dim) : upper(j, i, dim)];
            }
}

int em_statistics_add_sums(em_statistics *statistics, uint32_t of_class, uint32_t count, const double *sum,
                           const double *moment)
{
    size_t dim = statistics->dim;
    if (statistics->tiles != NULL && moment == NULL)
        return EM_ERR_NULL;
    if (of_class >= statistics->classes)
        return EM_ERR_NOT_FOUND;
    if (count > UINT32_MAX - statistics->counts[of_class])
        return EM_ERR_SIZE;
    /* Rounding to the grid can make a norm a little larger than 1, and so a square; never a number. */
    if (!can_be(sum, dim, count) || (moment != NULL && !can_be(moment, dim * (dim + 1u) / 2u, 1.02 * count)))
        return EM_ERR_VALUE;
    if (moment != NULL && !has_squares(moment, dim))
        return EM_ERR_VALUE;
    statistics->kernels->axpy64(1.0, sum, statistics->sums + of_class * dim, dim);
    statistics->counts[of_class] += count;
    if (statistics->tiles != NULL)
        add_upper(statistics, moment);
    return EM_OK;
}

const double *em_statistics_tiles(const em_statistics *statistics)
{
    return statistics->tiles;
}

uint32_t em_statistics_dim(const em_statistics *statistics)
{
    return statistics == NULL ? 0 : statistics->dim;
}

uint32_t em_statistics_classes(const em_statistics *statistics)
{
    return statistics == NULL ? 0 : statistics->classes;
}

uint32_t em_statistics_count(const em_statistics *statistics, uint32_t of_class)
{
    return statistics == NULL || of_class >= statistics->classes ? 0 : statistics->counts[of_class];
}

const double *em_statistics_sum(const em_statistics *statistics, uint32_t of_class)
{
    if (statistics == NULL || of_class >= statistics->classes)
        return NULL;
    return statistics->sums + (size_t)of_class * statistics->dim;
}

double em_statistics_squares(const em_statistics *statistics)
{
    return statistics == NULL ? 0.0 : statistics->squares;
}

int em_statistics_moment(const em_statistics *statistics, double *full)
{
    const double *tiles;
    uint32_t dim;
    if (statistics == NULL || full == NULL)
        return EM_ERR_NULL;
    if (statistics->tiles == NULL)
        return EM_ERR_STATE;
    tiles = statistics->tiles;
    dim = statistics->dim;
    for (uint32_t row = 0; row < statistics->padded; row += 8)
        for (uint32_t column = 0; column < row + 8; column += 4, tiles += 32)
            for (uint32_t k = 0; k < 32; k++) {
                uint32_t i = row + k / 4u, j = column + k % 4u;
                if (i < dim && j <= i)
                    full[(size_t)i * dim + j] = full[(size_t)j * dim + i] = tiles[k];
            }
    return EM_OK;
}

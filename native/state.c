/* state.c - what a device holds while it learns: the calls, and what the kinds have in common. state_means.c,
 * state_dual.c and state_primal.c have the mathematics. */
#include "state.h"

#include <float.h>
#include <string.h>

void *em_walk_take(em_walk *walk, size_t count, size_t size)
{
    size_t at = walk->used;
    walk->used = em_plus(at, em_aligned(em_times(count, size)));
    return walk->memory == NULL ? NULL : walk->memory + at;
}

static const struct em_state_kind_of *kind_of(const em_state_options *options)
{
    if (options->dim == 0 || options->dim > EM_MAX_DIM || options->classes == 0 || options->classes > INT32_MAX)
        return NULL;
    if (options->kind == EM_STATE_MEANS)
        return options->means >= EM_EUCLIDEAN && options->means <= EM_CENTRED ? &em_state_means : NULL;
    if (options->kind == EM_STATE_PRIMAL)
        return &em_state_primal;
    if (options->kind == EM_STATE_DUAL)
        return options->examples > 0 && options->examples <= INT32_MAX ? &em_state_dual : NULL;
    return NULL;
}

/* All parts of a state; the size of them, SIZE_MAX where that is more than there can be. */
static size_t lay_out(em_state *self, void *memory)
{
    const em_state_options *options = &self->options;
    em_walk walk = {memory, 0};
    int moment = options->kind == EM_STATE_PRIMAL;
    size_t statistics = em_statistics_size(options->dim, options->classes, moment);
    em_walk_take(&walk, 1, sizeof *self);
    self->statistics = em_walk_take(&walk, statistics == 0 ? SIZE_MAX : statistics, 1);
    self->quick = em_walk_take(&walk, em_times(options->classes, options->dim), sizeof(float));
    self->bias = em_walk_take(&walk, options->classes, sizeof(float));
    self->row = em_walk_take(&walk, options->dim, sizeof(double));
    self->kind->lay_out(self, &walk);
    return walk.used;
}

size_t em_state_size(const em_state_options *options)
{
    em_state counted = {0};
    size_t size;
    if (options == NULL || kind_of(options) == NULL)
        return 0;
    counted.options = *options;
    counted.kind = kind_of(options);
    size = lay_out(&counted, NULL);
    return size == SIZE_MAX ? 0 : size;
}

void em_state_clear(em_state *self)
{
    const em_state_options *options = &self->options;
    int moment = options->kind == EM_STATE_PRIMAL;
    em_statistics_init(self->statistics, em_statistics_size(options->dim, options->classes, moment), self->kernels,
                       options->dim, options->classes, moment, &self->statistics);
    self->total = 0;
    if (options->kind != EM_STATE_MEANS)
        em_ridge_clear(self);
    self->kind->refit(self);
}

int em_state_init(void *memory, size_t size, const em_kernels *kernels, const em_state_options *options,
                  em_state **out)
{
    em_state made = {0};
    int status;
    if (kernels == NULL || options == NULL || out == NULL)
        return EM_ERR_NULL;
    if (options->kind != EM_STATE_MEANS && (!(options->lambda > 0.0) || options->lambda > DBL_MAX))
        return EM_ERR_VALUE;
    if (em_state_size(options) == 0)
        return EM_ERR_SIZE;
    status = em_check_memory(memory, size, em_state_size(options));
    if (status != EM_OK)
        return status;
    made.options = *options;
    made.kind = kind_of(options);
    made.kernels = kernels;
    lay_out(&made, memory);
    memset(memory, 0, em_state_size(options));
    *out = memory;
    **out = made;
    em_state_clear(*out);
    return EM_OK;
}

/* Whether `count` examples, all of the class or each of its own, can be added. */
static int check(const em_state *self, const uint32_t *of_class, const int32_t *q20, uint32_t count)
{
    if (self == NULL || q20 == NULL || of_class == NULL)
        return EM_ERR_NULL;
    for (uint32_t n = 0; n < count; n++)
        if (of_class[n] >= self->options.classes)
            return EM_ERR_NOT_FOUND;
    return em_check_q20(self->kernels, q20, self->options.dim, count);
}

int em_state_add(em_state *state, uint32_t of_class, const int32_t *q20)
{
    return em_state_add_many(state, &of_class, q20, 1);
}

int em_state_add_many(em_state *state, const uint32_t *of_class, const int32_t *q20, uint32_t count)
{
    int status = check(state, of_class, q20, count), few;
    if (status != EM_OK)
        return status;
    if (count > UINT32_MAX - state->total)
        return EM_ERR_SIZE;
    status = state->kind->room(state, count);
    if (status != EM_OK || count == 0)
        return status;
    few = state->kind->few(state, count);
    for (uint32_t n = 0; n < count; n++)
        (few ? state->kind->add : state->kind->put)(state, of_class[n], q20 + (size_t)n * state->options.dim);
    if (!few)
        state->kind->refit(state);
    return EM_OK;
}

int em_state_remove(em_state *state, uint32_t of_class, const int32_t *q20)
{
    int status = check(state, &of_class, q20, 1);
    if (status != EM_OK)
        return status;
    if (em_statistics_count(state->statistics, of_class) == 0)
        return EM_ERR_NOT_FOUND;
    return state->kind->remove(state, of_class, q20);
}

int em_state_put_sums(em_state *self, uint32_t of_class, uint32_t count, const double *sum, const double *moment)
{
    int status = em_statistics_add_sums(self->statistics, of_class, count, sum, moment);
    if (status != EM_OK)
        return status;
    self->total += count;
    if (self->options.kind == EM_STATE_PRIMAL)
        self->kernels->axpy64(1.0, sum, self->whole, self->options.dim);
    return EM_OK;
}

int em_state_add_sums(em_state *state, uint32_t of_class, uint64_t count, const double *sum, const double *moment)
{
    int status;
    if (state == NULL || sum == NULL)
        return EM_ERR_NULL;
    if (state->options.kind == EM_STATE_DUAL)
        return EM_ERR_UNSUPPORTED;
    if (state->options.kind == EM_STATE_PRIMAL && moment == NULL)
        return EM_ERR_NULL;
    if (count == 0 || count > UINT32_MAX - state->total)
        return EM_ERR_SIZE;
    status = em_state_put_sums(state, of_class, (uint32_t)count, sum, moment);
    if (status == EM_OK)
        state->kind->refit(state);
    return status;
}

int em_state_refit(em_state *state)
{
    if (state == NULL)
        return EM_ERR_NULL;
    state->kind->refit(state);
    return EM_OK;
}

int em_state_set_lambda(em_state *state, double lambda)
{
    if (state == NULL)
        return EM_ERR_NULL;
    if (state->options.kind == EM_STATE_MEANS)
        return EM_ERR_UNSUPPORTED;
    if (!(lambda > 0.0) || lambda > DBL_MAX)
        return EM_ERR_VALUE;
    state->options.lambda = lambda;
    state->kind->refit(state);
    return EM_OK;
}

uint32_t em_state_count(const em_state *state, uint32_t of_class)
{
    return state == NULL ? 0 : em_statistics_count(state->statistics, of_class);
}

uint32_t em_state_total(const em_state *state)
{
    return state == NULL ? 0 : state->total;
}

const double *em_state_sum(const em_state *state, uint32_t of_class)
{
    return state == NULL ? NULL : em_statistics_sum(state->statistics, of_class);
}

int em_state_weights(const em_state *state, double *weights, double *bias)
{
    if (state == NULL || weights == NULL || bias == NULL)
        return EM_ERR_NULL;
    for (uint32_t c = 0; c < state->options.classes; c++) {
        double *row = weights + (size_t)c * state->options.dim;
        bias[c] = -EM_INFINITY;
        if (em_statistics_count(state->statistics, c) > 0)
            bias[c] = state->kind->weights(state, c, row);
        else
            memset(row, 0, state->options.dim * sizeof *row);
    }
    return EM_OK;
}

void em_state_quicken(em_state *self, uint32_t of_class)
{
    uint32_t dim = self->options.dim;
    float *quick = self->quick + (size_t)of_class * dim;
    self->bias[of_class] = -EM_INFINITY;
    memset(quick, 0, dim * sizeof *quick);
    if (em_statistics_count(self->statistics, of_class) == 0)
        return;
    self->bias[of_class] = (float)self->kind->weights(self, of_class, self->row);
    for (uint32_t i = 0; i < dim; i++)
        quick[i] = (float)self->row[i];
}

int em_state_predict(const em_state *state, const float *z, float *scores)
{
    float squares, most = -EM_INFINITY;
    uint32_t best = 0, classes;
    if (state == NULL || z == NULL)
        return EM_ERR_NULL;
    if (state->total == 0)
        return EM_ERR_STATE;
    classes = state->options.classes;
    if (scores == NULL)
        return em_best(state->kernels, state->quick, state->bias, classes, state->options.dim, z, NULL);
    squares = state->kernels->dot(z, z, state->options.dim);
    if (!(squares - squares == 0.0f)) /* NaN or infinity among them: before a score is written */
        return EM_ERR_VALUE;
    em_score(state->kernels, state->quick, state->bias, classes, state->options.dim, z, 1, scores);
    for (uint32_t c = 0; c < classes; c++)
        if (scores[c] > most) {
            most = scores[c];
            best = c;
        }
    return (int)best;
}

#define CHUNK 256u /* numbers on the stack */

/* Scores of up to four classes; the float32 numbers are made chunk by chunk, so that no memory is needed. */
static void score_q20(const em_state *self, uint32_t from, uint32_t rows, const int32_t *q20, float *four)
{
    uint32_t dim = self->options.dim;
    float z[CHUNK], part[4];
    for (uint32_t r = 0; r < rows; r++)
        four[r] = 0.0f;
    for (uint32_t i = 0; i < dim; i += CHUNK) {
        uint32_t now = dim - i < CHUNK ? dim - i : CHUNK;
        const float *w = self->quick + (size_t)from * dim + i;
        for (uint32_t k = 0; k < now; k++)
            z[k] = (float)q20[i + k] * (1.0f / EM_Q20);
        if (rows == 4)
            self->kernels->dot4(w, dim, z, now, part);
        for (uint32_t r = 0; r < rows; r++)
            four[r] += rows == 4 ? part[r] : self->kernels->dot(w + (size_t)r * dim, z, now);
    }
    for (uint32_t r = 0; r < rows; r++)
        four[r] += self->bias[from + r];
}

int em_state_predict_q20(const em_state *state, const int32_t *q20, float *scores)
{
    float most = -EM_INFINITY, four[4];
    uint32_t best = 0;
    if (state == NULL || q20 == NULL)
        return EM_ERR_NULL;
    if (state->total == 0)
        return EM_ERR_STATE;
    if (em_check_q20(state->kernels, q20, state->options.dim, 1) != EM_OK)
        return EM_ERR_VALUE;
    for (uint32_t c = 0; c < state->options.classes; c += 4) {
        uint32_t rows = state->options.classes - c < 4 ? state->options.classes - c : 4;
        score_q20(state, c, rows, q20, four);
        for (uint32_t r = 0; r < rows; r++) {
            if (scores != NULL)
                scores[c + r] = four[r];
            if (four[r] > most) {
                most = four[r];
                best = c + r;
            }
        }
    }
    return (int)best;
}

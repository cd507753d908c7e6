/* golden_heads.c - class means, ridge, LDA; leaving out; states; regression: weights, bias and scores. */
#include "golden_check.h"

#include <math.h>
#include <string.h>

#define ONE 1048576.0 /* of Q20 */

static double *in_units(golden_run *run, const golden_block *q20)
{
    double *z = golden_memory(run, q20->count * sizeof *z);
    for (size_t i = 0; i < q20->count; i++)
        z[i] = q20->numbers[i] / ONE;
    return z;
}

static const golden_block *taught(golden_run *run, const char *name)
{
    return golden_find(run->taught, "given", name);
}

/* The taught set as the heads see it: the last case of kind `facts`. */
static em_facts facts_of(golden_run *run)
{
    const golden_block *rows = taught(run, "q20");
    em_facts facts = {0};
    double *z = in_units(run, rows), *counts, *sums, *moment;
    uint32_t *y = unsigneds(run, taught(run, "y"));
    facts.total = (uint32_t)rows->sizes[0];
    facts.dim = (uint32_t)rows->sizes[1];
    for (uint32_t n = 0; n < facts.total; n++)
        facts.classes = y[n] >= facts.classes ? y[n] + 1 : facts.classes;
    facts.counts = counts = golden_memory(run, facts.classes * sizeof *counts);
    facts.sums = sums = golden_memory(run, (size_t)facts.classes * facts.dim * sizeof *sums);
    facts.moment = moment = golden_memory(run, (size_t)facts.dim * facts.dim * sizeof *moment);
    for (uint32_t n = 0; n < facts.total; n++) {
        const double *row = z + (size_t)n * facts.dim;
        counts[y[n]] += 1.0;
        for (uint32_t i = 0; i < facts.dim; i++) {
            sums[(size_t)y[n] * facts.dim + i] += row[i];
            facts.squares += row[i] * row[i];
            for (uint32_t k = 0; k < facts.dim; k++)
                moment[(size_t)i * facts.dim + k] += row[i] * row[k];
        }
    }
    if (taught(run, "single")->numbers[0] != 0.0) {
        facts.z = z;
        facts.y = y;
    }
    return facts;
}

/* Weights and bias, made with room for them, and compared. */
typedef struct linear {
    double *weights, *bias;
} linear;

static linear room_for(golden_run *run, uint32_t classes, uint32_t dim)
{
    linear made;
    made.weights = golden_memory(run, (size_t)classes * dim * sizeof(double));
    made.bias = golden_memory(run, classes * sizeof(double));
    return made;
}

static void check_linear(golden_run *run, int status, linear made)
{
    if (!check_status(run, status, EM_OK))
        return;
    check_near(run, made.weights, "weights");
    check_near(run, made.bias, "bias");
}

void check_means(golden_run *run)
{
    em_facts facts = facts_of(run);
    linear made = room_for(run, facts.classes, facts.dim);
    check_linear(run, em_means((int)number(run, "means"), &facts, made.weights, made.bias), made);
}

void check_ridge(golden_run *run)
{
    em_facts facts = facts_of(run);
    linear made = room_for(run, facts.classes, facts.dim);
    size_t size = em_ridge_size(facts.classes, facts.dim, facts.total, facts.z != NULL);
    check_linear(run, em_ridge(run->kernels, &facts, number(run, "lambda"), (int)number(run, "balance"),
                               golden_memory(run, size), size, made.weights, made.bias), made);
}

void check_lda(golden_run *run)
{
    em_facts facts = facts_of(run);
    linear made = room_for(run, facts.classes, facts.dim);
    size_t size = em_lda_size(facts.classes, facts.dim, facts.total, facts.z != NULL);
    check_linear(run, em_lda(run->kernels, &facts, number(run, "shrinkage"), (uint32_t)number(run, "independent"),
                             golden_memory(run, size), size, made.weights, made.bias), made);
}

/* ---- leaving out ---------------------------------------------------------------------------------------------- */

static void check_left_out(golden_run *run, int status, const double *scores)
{
    if (check_status(run, status, EM_OK))
        check_near(run, scores, "scores");
}

void check_means_left_out(golden_run *run)
{
    em_facts facts = facts_of(run);
    const uint32_t *groups = unsigneds(run, taught(run, "groups"));
    double *scores = golden_memory(run, (size_t)facts.total * facts.classes * sizeof *scores);
    size_t size = em_means_leave_out_size(&facts, groups);
    check_left_out(run, em_means_leave_out((int)number(run, "means"), &facts, groups, golden_memory(run, size), size,
                                           scores), scores);
}

void check_ridge_left_out(golden_run *run)
{
    em_facts facts = facts_of(run);
    const uint32_t *groups = unsigneds(run, taught(run, "groups"));
    double *scores = golden_memory(run, (size_t)facts.total * facts.classes * sizeof *scores);
    size_t size = em_ridge_leave_out_size(&facts, groups);
    check_left_out(run, em_ridge_leave_out(run->kernels, &facts, groups, number(run, "lambda"),
                                           (int)number(run, "balance"), golden_memory(run, size), size, scores),
                   scores);
}

void check_lda_left_out(golden_run *run)
{
    em_facts facts = facts_of(run);
    const uint32_t *groups = unsigneds(run, taught(run, "groups"));
    double *scores = golden_memory(run, (size_t)facts.total * facts.classes * sizeof *scores);
    size_t size = em_lda_leave_out_size(&facts, groups);
    check_left_out(run, em_lda_leave_out(run->kernels, &facts, groups, number(run, "shrinkage"),
                                         (uint32_t)number(run, "independent"), golden_memory(run, size), size, scores,
                                         NULL),
                   scores);
}

void check_ridge_lambda(golden_run *run)
{
    em_facts facts = facts_of(run);
    const uint32_t *groups = unsigneds(run, taught(run, "groups"));
    double lambda = 0.0;
    size_t size = em_ridge_choose_size(&facts, groups);
    if (check_status(run, em_ridge_choose(run->kernels, &facts, groups, (int)number(run, "balance"),
                                          golden_memory(run, size), size, &lambda), EM_OK))
        check_near(run, &lambda, "lambda");
}

/* ---- states --------------------------------------------------------------------------------------------------- */

static em_state *state_of(golden_run *run)
{
    em_state_options options = {0};
    em_state *state = NULL;
    size_t size;
    options.kind = (int)number(run, "kind");
    options.dim = (uint32_t)given(run, "q20")->sizes[1];
    options.classes = (uint32_t)number(run, "classes");
    options.examples = (uint32_t)number(run, "room");
    options.means = (int)number(run, "means");
    options.lambda = number(run, "lambda");
    options.balance = (int)number(run, "balance");
    size = em_state_size(&options);
    check_status(run, em_state_init(golden_memory(run, size), size, run->kernels, &options, &state), EM_OK);
    return state;
}

/* What a look found: of classes without examples only that their bias is -INFINITY. */
static void check_look(golden_run *run, em_state *state, size_t look)
{
    uint32_t classes = (uint32_t)number(run, "classes"), dim = (uint32_t)given(run, "q20")->sizes[1];
    linear made = room_for(run, classes, dim);
    const double *weights = answer(run, "weights")->numbers + look * classes * dim;
    const double *bias = answer(run, "bias")->numbers + look * classes;
    if (!check_status(run, em_state_weights(state, made.weights, made.bias), EM_OK))
        return;
    for (uint32_t c = 0; c < classes; c++)
        if (isinf(bias[c]))
            memset(made.weights + (size_t)c * dim, 0, dim * sizeof *weights);
    check_near_numbers(run, made.weights, weights, (size_t)classes * dim, "weights");
    check_near_numbers(run, made.bias, bias, classes, "bias");
}

/* The class is right where it leads by more than 1e-5; float32 scores are within 1e-5. */
static void check_probe(golden_run *run, em_state *state, size_t probe)
{
    uint32_t classes = (uint32_t)number(run, "classes"), dim = (uint32_t)given(run, "q20")->sizes[1];
    const double *expected = answer(run, "scores")->numbers + probe * classes;
    const int32_t *q20 = ints(run, given(run, "probes")) + probe * dim;
    float *scores = golden_memory(run, classes * sizeof *scores);
    int found = em_state_predict_q20(state, q20, scores);
    if (!check(run, found >= 0 && found < (int)classes, "a class"))
        return;
    for (uint32_t c = 0; c < classes; c++) {
        check(run, expected[c] - expected[found] <= 1e-5, "the best class");
        check(run, isinf(expected[c]) ? scores[c] == -INFINITY : fabs((double)scores[c] - expected[c]) <= 1e-5, "scores");
    }
}

void check_state(golden_run *run)
{
    const golden_block *steps = given(run, "steps"), *looks = given(run, "looks");
    const int32_t *step = ints(run, steps), *q20 = ints(run, given(run, "q20"));
    size_t dim = given(run, "q20")->sizes[1], look = 0;
    em_state *state = state_of(run);
    for (size_t i = 0; i < steps->sizes[0] && state != NULL; i++, step += 3) {
        check_status(run, (step[0] > 0 ? em_state_add : em_state_remove)(state, (uint32_t)step[1],
                                                                        q20 + (size_t)step[2] * dim), EM_OK);
        if (look < looks->count && i == (size_t)looks->numbers[look])
            check_look(run, state, look++);
    }
    check(run, look == looks->count, "looks");
    for (size_t probe = 0; probe < given(run, "probes")->sizes[0] && state != NULL; probe++)
        check_probe(run, state, probe);
    for (uint32_t c = 0; c < (uint32_t)number(run, "classes") && state != NULL; c++)
        check(run, em_state_count(state, c) == (uint32_t)answer(run, "counts")->numbers[c], "counts");
}

/* ---- regression ----------------------------------------------------------------------------------------------- */

void check_regression(golden_run *run)
{
    const golden_block *rows = given(run, "q20"), *targets = given(run, "targets"), *at = given(run, "at");
    uint32_t total = (uint32_t)rows->sizes[0], dim = (uint32_t)rows->sizes[1], outputs = (uint32_t)targets->sizes[1];
    const double *z = in_units(run, rows);
    size_t size = em_regression_size(dim, outputs, total);
    void *memory = golden_memory(run, size);
    linear made = room_for(run, outputs, dim);
    double *lambdas = golden_memory(run, outputs * sizeof *lambdas), *sigma = golden_memory(run, outputs * sizeof *sigma);
    double *std = golden_memory(run, at->sizes[0] * outputs * sizeof *std);
    if (!check_status(run, em_regression(run->kernels, z, targets->numbers, total, dim, outputs, number(run, "lambda"),
                                         memory, size, made.weights, made.bias, lambdas, sigma), EM_OK))
        return;
    check_near(run, made.weights, "weights");
    check_near(run, made.bias, "bias");
    check_near(run, lambdas, "lambdas");
    check_near(run, sigma, "sigma");
    if (check_status(run, em_regression_std(run->kernels, z, total, dim, outputs, lambdas, sigma, in_units(run, at),
                                            (uint32_t)at->sizes[0], memory, size, std), EM_OK))
        check_near(run, std, "std");
}

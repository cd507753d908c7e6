/* golden.c - the golden vectors, by every instruction set of this machine.
 *
 *     golden FOLDER [SCRATCH]     FOLDER: tests/golden. SCRATCH: the name of a file that may be made, for a journal.
 *
 * Prints for each instruction set how many checks were made, and what differs; exit status 1 where anything does.
 * Statistics, grid points, pixels and bytes have to be the same; weights within 1e-9 of their norm; a class is the
 * best where it leads by more than 1e-5; float32 scores are within 1e-6 of the sizes that were added. */
#include "golden_check.h"

#include "../../native/internal.h"

#include <math.h>
#include <string.h>

static void check_crc32(golden_run *run)
{
    const golden_block *data = given(run, "data");
    uint32_t expected = (uint32_t)(int32_t)answer(run, "crc")->numbers[0];
    for (size_t cut = 0; cut <= data->count; cut++)
        check(run, em_crc32(em_crc32(0, data->bytes, cut), data->bytes + cut, data->count - cut) == expected, "crc");
}

static void check_normalise(golden_run *run)
{
    const golden_block *raw = given(run, "raw"), *centre = given(run, "centre");
    int32_t *q20 = golden_memory(run, raw->count * sizeof *q20);
    int status = em_normalise(floats(run, raw), (uint32_t)raw->count, centre->count ? floats(run, centre) : NULL,
                              number(run, "power"), (int)number(run, "l2"), number(run, "scale"), q20);
    if (check_status(run, status, (int)answer(run, "status")->numbers[0]) && status == EM_OK)
        check_same_ints(run, q20, "q20");
}

static void check_statistics(golden_run *run)
{
    const golden_block *steps = given(run, "steps"), *rows = given(run, "q20");
    uint32_t dim = (uint32_t)rows->sizes[1], classes = (uint32_t)number(run, "classes");
    const int32_t *q20 = ints(run, rows), *step = ints(run, steps);
    size_t size = em_statistics_size(dim, classes, 1);
    double *sums = golden_memory(run, (size_t)classes * dim * sizeof *sums), squares;
    double *moment = golden_memory(run, (size_t)dim * dim * sizeof *moment);
    int32_t *counts = golden_memory(run, classes * sizeof *counts);
    em_statistics *statistics;
    check_status(run, em_statistics_init(golden_memory(run, size), size, run->kernels, dim, classes, 1, &statistics), 0);
    for (size_t i = 0; i < steps->sizes[0]; i++, step += 4)
        check_status(run, (step[0] > 0 ? em_statistics_add : em_statistics_remove)(
                              statistics, (uint32_t)step[1], q20 + (size_t)step[2] * dim, (uint32_t)step[3]), 0);
    for (uint32_t c = 0; c < classes; c++) {
        counts[c] = (int32_t)em_statistics_count(statistics, c);
        memcpy(sums + (size_t)c * dim, em_statistics_sum(statistics, c), dim * sizeof *sums);
    }
    squares = em_statistics_squares(statistics);
    check_status(run, em_statistics_moment(statistics, moment), 0);
    check_same_ints(run, counts, "counts");
    check_same(run, sums, "sums");
    check_same(run, &squares, "squares");
    check_same(run, moment, "moment");
}

/* Scores (count, classes) against those of an answer; weights and z are what was multiplied. */
static void check_scores_of(golden_run *run, const char *name, const double *weights, const float *scores)
{
    const golden_block *bias = given(run, "bias"), *z = given(run, "z");
    const double *expected = answer(run, name)->numbers;
    size_t dim = z->sizes[1], classes = bias->count;
    for (size_t n = 0; n < z->sizes[0]; n++)
        for (size_t c = 0; c < classes; c++) {
            double added = fabs(bias->numbers[c]), score = (double)scores[n * classes + c];
            for (size_t i = 0; i < dim; i++)
                added += fabs(weights[c * dim + i] * z->numbers[n * dim + i]);
            check(run, fabs(score - expected[n * classes + c]) <= 1e-6 * added, name);
        }
}

/* Whether the best by far is called so. */
static void check_best(golden_run *run, const float *weights, const float *bias, const float *z, uint32_t n)
{
    uint32_t classes = (uint32_t)given(run, "bias")->count, dim = (uint32_t)given(run, "z")->sizes[1];
    const double *expected = answer(run, "scores")->numbers + (size_t)n * classes;
    int wanted = (int)answer(run, "best")->numbers[n];
    double margin = INFINITY;
    for (int c = 0; c < (int)classes; c++)
        if (c != wanted)
            margin = fmin(margin, expected[wanted] - expected[c]);
    if (margin > 1e-5)
        check(run, em_best(run->kernels, weights, bias, classes, dim, z + (size_t)n * dim, NULL) == wanted, "best");
}

static void check_small_scores(golden_run *run, const float *weights, const float *bias, const float *z)
{
    const golden_block *shape = given(run, "weights");
    uint32_t classes = (uint32_t)shape->sizes[0], dim = (uint32_t)shape->sizes[1];
    uint32_t count = (uint32_t)given(run, "z")->sizes[0];
    uint16_t *halves = golden_memory(run, shape->count * sizeof *halves);
    int8_t *bytes = golden_memory(run, shape->count);
    float *factors = golden_memory(run, classes * sizeof *factors), *scores = golden_memory(run, count * classes * 4);
    int32_t *packed = golden_memory(run, shape->count * sizeof *packed);
    double *unpacked = golden_memory(run, shape->count * sizeof *unpacked);
    check_status(run, em_pack_f16(weights, shape->count, halves), 0);
    for (size_t i = 0; i < shape->count; i++)
        packed[i] = halves[i];
    check_same_ints(run, packed, "halves");
    check_status(run, em_score_f16(run->kernels, halves, bias, classes, dim, z, count, scores), 0);
    check_scores_of(run, "scores_f16", shape->numbers, scores);
    check_status(run, em_pack_i8(weights, classes, dim, bytes, factors), 0);
    for (size_t i = 0; i < shape->count; i++) {
        packed[i] = bytes[i];
        unpacked[i] = bytes[i] * (double)factors[i / dim];
    }
    check_same_ints(run, packed, "bytes");
    check_same_floats(run, factors, "factors");
    check_status(run, em_score_i8(run->kernels, bytes, factors, bias, classes, dim, z, count, scores), 0);
    check_scores_of(run, "scores_i8", unpacked, scores);
}

static void check_scores(golden_run *run)
{
    const golden_block *shape = given(run, "weights");
    uint32_t classes = (uint32_t)shape->sizes[0], dim = (uint32_t)shape->sizes[1];
    uint32_t count = (uint32_t)given(run, "z")->sizes[0];
    float *weights = floats(run, shape), *bias = floats(run, given(run, "bias")), *z = floats(run, given(run, "z"));
    float *scores = golden_memory(run, (size_t)count * classes * sizeof *scores);
    check_status(run, em_score(run->kernels, weights, bias, classes, dim, z, count, scores), 0);
    check_scores_of(run, "scores", shape->numbers, scores);
    for (uint32_t n = 0; n < count; n++)
        check_best(run, weights, bias, z, n);
    check_small_scores(run, weights, bias, z);
}

static void check_facts(golden_run *run)
{
    (void)run;
}

static const struct {
    const char *kind;
    void (*check)(golden_run *run);
} kinds[] = {
    {"crc32", check_crc32},
    {"normalise", check_normalise},
    {"statistics", check_statistics},
    {"scores", check_scores},
    {"facts", check_facts},
    {"means", check_means},
    {"ridge", check_ridge},
    {"lda", check_lda},
    {"means-left-out", check_means_left_out},
    {"ridge-left-out", check_ridge_left_out},
    {"lda-left-out", check_lda_left_out},
    {"ridge-lambda", check_ridge_lambda},
    {"state", check_state},
    {"regression", check_regression},
    {"image", check_image},
    {"headbin", check_headbin},
    {"journal-read", check_journal_read},
    {"journal-write", check_journal_write},
};

static const char *const files[] = {"crc32",    "normalise",  "statistics", "scores",  "heads",  "left_out",
                                    "states", "regression", "images",     "headbin", "journal"};

static void check_case(golden_run *run)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].kind, run->now->kind) == 0) {
            kinds[i].check(run);
            golden_release(run);
            return;
        }
    check(run, 0, "there is no such kind of case");
}

/* Returns 0 where there is no such file, or it makes no sense. */
static int check_file(golden_run *run, const char *folder, const char *name)
{
    char path[1024];
    golden_case now, taught;
    int more;
    FILE *file;
    snprintf(path, sizeof path, "%s/%s.txt", folder, name);
    file = fopen(path, "r");
    if (file == NULL)
        return 0;
    memset(&taught, 0, sizeof taught);
    run->file = name;
    while ((more = golden_read(file, &now)) == 1) {
        run->now = &now;
        run->taught = &taught;
        check_case(run);
        golden_free(strcmp(now.kind, "facts") == 0 ? &taught : &now);
        if (strcmp(now.kind, "facts") == 0)
            taught = now;
    }
    golden_free(&taught);
    fclose(file);
    return more == 0;
}

int main(int count, char **arguments)
{
    static const char *const names[] = {"portable", "sse2", "avx2", "avx512", "neon", "neon-dotprod"};
    unsigned long failures = 0;
    if (count != 2 && count != 3) {
        fprintf(stderr, "golden FOLDER [SCRATCH]\n");
        return 2;
    }
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        static golden_run run;
        memset(&run, 0, sizeof run);
        run.kernels = em_kernels_find(names[k]);
        run.scratch = count == 3 ? arguments[2] : NULL;
        if (run.kernels == NULL)
            continue;
        for (size_t i = 0; i < sizeof files / sizeof *files; i++)
            if (!check_file(&run, arguments[1], files[i])) {
                fprintf(stderr, "%s/%s.txt is not there, or not what it should be\n", arguments[1], files[i]);
                return 2;
            }
        printf("%s: %lu checks, %lu failures\n", names[k], run.checks, run.failures);
        failures += run.failures;
    }
    printf("in use: %s\n", em_kernels_name(em_kernels_find(NULL)));
    return failures != 0;
}

/* arm_count.c - one operation of the core, so many times, so that an emulator can count its instructions.
 *
 *     arm_count            the names of the operations, a line each
 *     arm_count OPERATION KERNELS TIMES
 *
 * What a run costs beside the operation is the same for any TIMES above 0: tests/arm_count.py takes differences. */
#include "../../native/edgemeta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES 5u
#define DIM 640u
#define FRAME_WIDTH 640u
#define FRAME_HEIGHT 480u
#define SIDE 96u
#define EXAMPLES 26u /* what a dual state holds, and one more */
#define SMALL_DIM 256u

static const em_kernels *kernels;
static float weights[CLASSES * DIM], bias[CLASSES], z[DIM], raw[DIM];
static uint16_t halves[CLASSES * DIM];
static int8_t bytes[CLASSES * DIM];
static float factors[CLASSES], scores[CLASSES];
static int32_t q20[DIM], rows[EXAMPLES][DIM], small_rows[EXAMPLES][SMALL_DIM];
static uint8_t frame[FRAME_WIDTH * FRAME_HEIGHT * 3], small[SIDE * SIDE * 3];

static uint32_t next_random(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static float random_float(void)
{
    return (float)next_random() / 8388608.0f - 1.0f;
}

/* Memory for an object; never given back. */
static void *memory(size_t size)
{
    char *block = calloc(size + EM_ALIGN, 1);
    if (block == NULL)
        exit(3);
    return block + (EM_ALIGN - (uintptr_t)block % EM_ALIGN) % EM_ALIGN;
}

static void expect(int status)
{
    if (status >= 0)
        return;
    fprintf(stderr, "%s\n", em_status_name(status));
    exit(3);
}

static void make_rows(uint32_t dim, int32_t *out)
{
    for (uint32_t n = 0; n < EXAMPLES; n++) {
        for (uint32_t i = 0; i < dim; i++)
            raw[i] = random_float() + (i % CLASSES == n % CLASSES ? 1.0f : 0.0f);
        expect(em_normalise(raw, dim, NULL, 1.0, 1, 1.0, out + (size_t)n * dim));
    }
}

static void prepare(void)
{
    make_rows(DIM, rows[0]);
    make_rows(SMALL_DIM, small_rows[0]);
    for (size_t i = 0; i < CLASSES * DIM; i++)
        weights[i] = random_float();
    for (size_t i = 0; i < DIM; i++)
        raw[i] = random_float();
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (uint8_t)next_random();
    expect(em_normalise(raw, DIM, NULL, 1.0, 1, 1.0, q20));
    for (size_t i = 0; i < DIM; i++)
        z[i] = (float)q20[i] / (float)EM_Q20;
    expect(em_pack_f16(weights, CLASSES * DIM, halves));
    expect(em_pack_i8(weights, CLASSES, DIM, bytes, factors));
}

static void predict(int times)
{
    for (int i = 0; i < times; i++)
        expect(em_best(kernels, weights, bias, CLASSES, DIM, z, NULL));
}

static void predict_f16(int times)
{
    for (int i = 0; i < times; i++)
        expect(em_score_f16(kernels, halves, bias, CLASSES, DIM, z, 1, scores));
}

static void predict_i8(int times)
{
    for (int i = 0; i < times; i++)
        expect(em_score_i8(kernels, bytes, factors, bias, CLASSES, DIM, z, 1, scores));
}

static void normalise(int times)
{
    for (int i = 0; i < times; i++)
        expect(em_normalise(raw, DIM, NULL, 1.0, 1, 1.0, q20));
}

static void add_to(int times, int moment)
{
    size_t size = em_statistics_size(DIM, CLASSES, moment);
    em_statistics *statistics;
    expect(em_statistics_init(memory(size), size, kernels, DIM, CLASSES, moment, &statistics));
    for (int i = 0; i < times; i++)
        expect(em_statistics_add(statistics, 0, q20, 1));
}

static void add_to_sums(int times)
{
    add_to(times, 0);
}

static void add_to_moment(int times)
{
    add_to(times, 1);
}

static em_state *state_of(int kind, uint32_t dim, const int32_t *taught)
{
    em_state_options options = {0};
    em_state *state;
    size_t size;
    options.kind = kind;
    options.dim = dim;
    options.classes = CLASSES;
    options.examples = kind == EM_STATE_DUAL ? EXAMPLES : 0;
    options.means = kind == EM_STATE_MEANS ? EM_EUCLIDEAN : 0;
    options.lambda = kind == EM_STATE_MEANS ? 0.0 : 0.1;
    size = em_state_size(&options);
    expect(em_state_init(memory(size), size, kernels, &options, &state));
    for (uint32_t n = 0; n + 1 < EXAMPLES; n++)
        expect(em_state_add(state, n % CLASSES, taught + (size_t)n * dim));
    return state;
}

/* Teach one more and forget it. */
static void add_and_remove(int kind, uint32_t dim, const int32_t *taught, int times)
{
    em_state *state = state_of(kind, dim, taught);
    const int32_t *last = taught + (size_t)(EXAMPLES - 1) * dim;
    for (int i = 0; i < times; i++) {
        expect(em_state_add(state, 0, last));
        expect(em_state_remove(state, 0, last));
    }
}

static void change_means(int times)
{
    add_and_remove(EM_STATE_MEANS, DIM, rows[0], times);
}

static void change_dual(int times)
{
    add_and_remove(EM_STATE_DUAL, DIM, rows[0], times);
}

static void change_primal(int times)
{
    add_and_remove(EM_STATE_PRIMAL, SMALL_DIM, small_rows[0], times);
}

static void predict_by_state(int times)
{
    em_state *state = state_of(EM_STATE_DUAL, DIM, rows[0]);
    for (int i = 0; i < times; i++)
        expect(em_state_predict_q20(state, rows[i % (int)EXAMPLES], NULL));
}

static void fit_frame(int times)
{
    em_image image = {frame, FRAME_WIDTH, FRAME_HEIGHT, 0, EM_PIXELS_RGB, NULL, 0};
    size_t size = em_fit_size(FRAME_WIDTH, FRAME_HEIGHT, EM_PIXELS_RGB, SIDE, SIDE);
    void *block = memory(size);
    for (int i = 0; i < times; i++)
        expect(em_fit(kernels, &image, SIDE, SIDE, block, size, small));
}

static const struct {
    const char *name;
    void (*run)(int times);
} operations[] = {
    {"predict-5x640", predict},
    {"predict-f16-5x640", predict_f16},
    {"predict-i8-5x640", predict_i8},
    {"normalise-640", normalise},
    {"add-sums-640", add_to_sums},
    {"add-moment-640", add_to_moment},
    {"change-means-640", change_means},
    {"change-dual-25x640", change_dual},
    {"change-primal-256", change_primal},
    {"predict-state-640", predict_by_state},
    {"fit-640x480-to-96", fit_frame},
};

int main(int count, char **arguments)
{
    size_t known = sizeof operations / sizeof *operations;
    if (count != 4) {
        for (size_t i = 0; i < known; i++)
            puts(operations[i].name);
        return count == 1 ? 0 : 2;
    }
    kernels = em_kernels_find(arguments[2]);
    if (kernels == NULL) {
        fprintf(stderr, "there are no kernels %s here\n", arguments[2]);
        return 2;
    }
    prepare();
    for (size_t i = 0; i < known; i++)
        if (strcmp(operations[i].name, arguments[1]) == 0) {
            operations[i].run(atoi(arguments[3]));
            return 0;
        }
    fprintf(stderr, "there is no operation %s\n", arguments[1]);
    return 2;
}

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

static const em_kernels *kernels;
static float weights[CLASSES * DIM], bias[CLASSES], z[DIM], raw[DIM];
static uint16_t halves[CLASSES * DIM];
static int8_t bytes[CLASSES * DIM];
static float factors[CLASSES], scores[CLASSES];
static int32_t q20[DIM];
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

static void prepare(void)
{
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

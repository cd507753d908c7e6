/* image_check.c - every kernel of this machine against the portable one, on random images of all formats, sizes,
 * strides and alphas. Images and memory end where they say, so that a sanitizer sees every byte too many.
 *
 *     image_check [how many images]
 *
 * Prints "OK", how many images, the kernels, and a hash of all answers, which is the same on every machine; or what
 * differs, and exits with 1. */
#define _POSIX_C_SOURCE 200112L
#include "../../native/edgemeta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const NAMES[] = {"sse2", "avx2", "avx512", "neon", "neon-dotprod"};
enum { KERNELS = sizeof NAMES / sizeof NAMES[0] };

/* One image, all that it is fitted to, and answers. */
struct trial {
    em_image image;
    uint32_t to_width, to_height;
    uint8_t *pixels, *chroma;
    uint8_t *bytes, *expected;
    float *floats, *expected_floats;
    size_t count;
    void *memory;
    size_t size;
    int with_mean;
};

static const float MEAN[3] = {0.485f, 0.456f, 0.406f}, STD[3] = {0.229f, -0.224f, 0.225f};

static uint32_t random_bits(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static uint32_t below(uint64_t *state, uint32_t n)
{
    return random_bits(state) % n;
}

/* 1 to most, small ones more often. */
static uint32_t side(uint64_t *state, uint32_t most)
{
    return 1 + below(state, 1 + below(state, most));
}

static void *take(size_t size)
{
    void *memory = NULL;
    if (posix_memalign(&memory, EM_ALIGN, size == 0 ? 1 : size) != 0) {
        puts("no memory");
        exit(2);
    }
    return memory;
}

/* `size` random bytes; some are flat, and some are only 0 and 255. */
static uint8_t *noise(uint64_t *state, size_t size)
{
    uint8_t *bytes = take(size);
    uint32_t kind = below(state, 8), flat = random_bits(state);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(kind == 0 ? flat : kind == 1 ? 0u - (random_bits(state) & 1u) : random_bits(state));
    return bytes;
}

/* Alpha: any, 255, or 255 but for one pixel. */
static void make_opaque(uint64_t *state, const em_image *image, size_t stride, uint8_t *pixels)
{
    uint32_t kind = below(state, 3);
    if (kind == 0)
        return;
    for (size_t y = 0; y < image->height; y++)
        for (size_t x = 0; x < image->width; x++)
            pixels[y * stride + 4 * x + 3] = 255;
    if (kind == 1)
        pixels[below(state, image->height) * stride + 4 * (size_t)below(state, image->width) + 3] = 7;
}

static void make_image(uint64_t *state, struct trial *t, uint32_t most)
{
    static const size_t DEPTHS[] = {0, 3, 3, 4, 1, 1, 2};
    em_image *image = &t->image;
    uint32_t gap = below(state, 2) == 0 ? 0 : below(state, 70);
    size_t row, size;
    image->format = 1 + (int)below(state, 6);
    image->width = side(state, most);
    image->height = side(state, most);
    if (image->format == EM_PIXELS_NV12 || image->format == EM_PIXELS_YUYV)
        image->width += image->width & 1u;
    if (image->format == EM_PIXELS_NV12)
        image->height += image->height & 1u;
    row = DEPTHS[image->format] * image->width;
    image->stride = gap == 0 && below(state, 2) == 0 ? 0 : row + gap;
    size = (row + gap) * (image->height - 1) + row;
    if (image->format == EM_PIXELS_NV12 && below(state, 2) == 0) {
        image->chroma_stride = row + gap / 2;
        t->chroma = noise(state, image->chroma_stride * (image->height / 2 - 1) + row);
    } else if (image->format == EM_PIXELS_NV12) {
        size = (row + gap) * (image->height + image->height / 2 - 1) + row;
    }
    t->pixels = noise(state, size);
    if (image->format == EM_PIXELS_RGBA)
        make_opaque(state, image, row + gap, t->pixels);
    image->pixels = t->pixels;
    image->chroma = t->chroma;
}

static void make_trial(uint64_t *state, struct trial *t)
{
    uint32_t most = below(state, 20) == 0 ? 700 : 130;
    memset(t, 0, sizeof *t);
    make_image(state, t, most);
    t->to_width = below(state, 8) == 0 ? t->image.width : side(state, 120);
    t->to_height = below(state, 8) == 0 ? t->image.height : side(state, 120);
    t->with_mean = (int)below(state, 2);
    t->count = (size_t)3 * t->to_width * t->to_height;
    t->bytes = take(t->count);
    t->expected = take(t->count);
    t->floats = take(t->count * sizeof(float));
    t->expected_floats = take(t->count * sizeof(float));
    t->size = em_fit_size(t->image.width, t->image.height, t->image.format, t->to_width, t->to_height);
    t->memory = take(t->size);
}

static void end_trial(struct trial *t)
{
    free(t->pixels);
    free(t->chroma);
    free(t->bytes);
    free(t->expected);
    free(t->floats);
    free(t->expected_floats);
    free(t->memory);
}

/* `before`: what the scratch memory holds. Kernels may read past what they wrote there, but no answer may depend on it. */
static int fit(const struct trial *t, const em_kernels *kernels, int before, uint8_t *bytes, float *floats)
{
    const float *mean = t->with_mean ? MEAN : NULL, *std = t->with_mean ? STD : NULL;
    int status;
    memset(t->memory, before, t->size);
    status = em_fit(kernels, &t->image, t->to_width, t->to_height, t->memory, t->size, bytes);
    if (status != EM_OK)
        return status;
    memset(t->memory, before, t->size);
    return em_fit_float(kernels, &t->image, t->to_width, t->to_height, mean, std, t->memory, t->size, floats);
}

static int differs(const struct trial *t, const char *name, int status)
{
    if (status == EM_OK && memcmp(t->bytes, t->expected, t->count) == 0 &&
        memcmp(t->floats, t->expected_floats, t->count * sizeof(float)) == 0)
        return 0;
    printf("%s differs: format %d, %lu x %lu, stride %lu, to %lu x %lu, status %s\n", name, t->image.format,
           (unsigned long)t->image.width, (unsigned long)t->image.height, (unsigned long)t->image.stride,
           (unsigned long)t->to_width, (unsigned long)t->to_height, em_status_name(status));
    return 1;
}

/* FNV-1a of the portable answers, floats by their bits from the lowest byte on. */
static void hash_answers(const struct trial *t, uint32_t *hash)
{
    for (size_t i = 0; i < t->count; i++) {
        uint32_t bits;
        memcpy(&bits, &t->expected_floats[i], sizeof bits);
        *hash = (*hash ^ t->expected[i]) * 16777619u;
        for (int shift = 0; shift < 32; shift += 8)
            *hash = (*hash ^ (bits >> shift & 255u)) * 16777619u;
    }
}

int main(int argc, char **argv)
{
    long images = argc > 1 ? atol(argv[1]) : 1000;
    uint64_t state = 1;
    uint32_t hash = 2166136261u;
    int bad = 0;
    for (long i = 0; i < images && bad < 10; i++) {
        struct trial t;
        make_trial(&state, &t);
        if (t.size == 0 || fit(&t, em_kernels_find("portable"), 0, t.expected, t.expected_floats) != EM_OK) {
            puts("portable: no answer");
            return 1;
        }
        hash_answers(&t, &hash);
        for (int k = 0; k < KERNELS; k++) {
            const em_kernels *kernels = em_kernels_find(NAMES[k]);
            if (kernels != NULL)
                bad += differs(&t, NAMES[k], fit(&t, kernels, k % 2 == 0 ? 255 : 90 + k, t.bytes, t.floats));
        }
        end_trial(&t);
    }
    if (bad)
        return 1;
    printf("OK %ld images, hash %08lx, portable", images, (unsigned long)hash);
    for (int k = 0; k < KERNELS; k++)
        if (em_kernels_find(NAMES[k]) != NULL)
            printf(" %s", NAMES[k]);
    putchar('\n');
    return 0;
}

/* golden_check.c - numbers of a case, and comparing. */
#include "golden_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void end_with(golden_run *run, const char *what)
{
    fprintf(stderr, "%s, %s: %s\n", run->file, run->now->title, what);
    exit(2);
}

void *golden_memory(golden_run *run, size_t size)
{
    char *block = calloc(size + EM_ALIGN, 1);
    if (block == NULL || run->count == (int)(sizeof run->kept / sizeof *run->kept))
        end_with(run, "there is no memory left");
    run->kept[run->count++] = block;
    return block + (EM_ALIGN - (uintptr_t)block % EM_ALIGN) % EM_ALIGN;
}

void golden_release(golden_run *run)
{
    while (run->count > 0)
        free(run->kept[--run->count]);
}

static const golden_block *block_of(golden_run *run, const char *role, const char *name)
{
    const golden_block *found = golden_find(run->now, role, name);
    if (found == NULL)
        end_with(run, name);
    return found;
}

const golden_block *given(golden_run *run, const char *name)
{
    return block_of(run, "given", name);
}

const golden_block *answer(golden_run *run, const char *name)
{
    return block_of(run, "answer", name);
}

double number(golden_run *run, const char *name)
{
    return given(run, name)->numbers[0];
}

float *floats(golden_run *run, const golden_block *block)
{
    float *out = golden_memory(run, block->count * sizeof *out);
    for (size_t i = 0; i < block->count; i++)
        out[i] = (float)block->numbers[i];
    return out;
}

int32_t *ints(golden_run *run, const golden_block *block)
{
    int32_t *out = golden_memory(run, block->count * sizeof *out);
    for (size_t i = 0; i < block->count; i++)
        out[i] = (int32_t)block->numbers[i];
    return out;
}

uint32_t *unsigneds(golden_run *run, const golden_block *block)
{
    uint32_t *out = golden_memory(run, block->count * sizeof *out);
    for (size_t i = 0; i < block->count; i++)
        out[i] = (uint32_t)(int32_t)block->numbers[i];
    return out;
}

int check(golden_run *run, int right, const char *what)
{
    run->checks++;
    if (!right) {
        run->failures++;
        printf("%s: %s, %s %s: %s\n", em_kernels_name(run->kernels), run->file, run->now->kind, run->now->title, what);
    }
    return right;
}

int check_status(golden_run *run, int status, int expected)
{
    char what[96];
    snprintf(what, sizeof what, "the status is %s, not %s", em_status_name(status), em_status_name(expected));
    return check(run, status == expected, what);
}

static int is_same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* `wrong` of `count` numbers are others, the first at `at`. */
static int check_count(golden_run *run, const char *name, size_t wrong, size_t at, double found, double expected)
{
    char what[200];
    snprintf(what, sizeof what, "%s: %lu numbers differ, the first at %lu: %.17g, not %.17g", name,
             (unsigned long)wrong, (unsigned long)at, found, expected);
    return check(run, wrong == 0, what);
}

int check_same(golden_run *run, const double *found, const char *name)
{
    const golden_block *expected = answer(run, name);
    size_t wrong = 0, at = 0;
    for (size_t i = expected->count; i-- > 0;)
        if (!is_same(found[i], expected->numbers[i])) {
            wrong++;
            at = i;
        }
    return check_count(run, name, wrong, at, wrong ? found[at] : 0.0, wrong ? expected->numbers[at] : 0.0);
}

int check_same_floats(golden_run *run, const float *found, const char *name)
{
    size_t count = answer(run, name)->count;
    double *wide = golden_memory(run, count * sizeof *wide);
    for (size_t i = 0; i < count; i++)
        wide[i] = (double)found[i];
    return check_same(run, wide, name);
}

int check_same_ints(golden_run *run, const int32_t *found, const char *name)
{
    size_t count = answer(run, name)->count;
    double *wide = golden_memory(run, count * sizeof *wide);
    for (size_t i = 0; i < count; i++)
        wide[i] = found[i];
    return check_same(run, wide, name);
}

int check_same_bytes(golden_run *run, const uint8_t *found, size_t size, const char *name)
{
    const golden_block *expected = answer(run, name);
    return check(run, size == expected->count && memcmp(found, expected->bytes, size) == 0, name);
}

int check_near_numbers(golden_run *run, const double *found, const double *expected, size_t count, const char *name)
{
    double norm = 0.0, apart = 0.0;
    char what[120];
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(expected[i]) || !isfinite(found[i])) {
            if (!is_same(found[i], expected[i]))
                apart = INFINITY;
            continue;
        }
        norm += expected[i] * expected[i];
        apart += (found[i] - expected[i]) * (found[i] - expected[i]);
    }
    snprintf(what, sizeof what, "%s: %g away, at a norm of %g", name, sqrt(apart), sqrt(norm));
    return check(run, sqrt(apart) <= 1e-9 * sqrt(norm), what);
}

int check_near(golden_run *run, const double *found, const char *name)
{
    const golden_block *expected = answer(run, name);
    return check_near_numbers(run, found, expected->numbers, expected->count, name);
}

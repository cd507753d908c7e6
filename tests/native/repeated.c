/* repeated.c - for tests/bench_native.py: one prediction, and one read of the weights, many times over, so that neither a
 * call through ctypes nor a clock is measured with them. */
#include <stddef.h>
#include <stdint.h>

typedef int best_function(const void *, const float *, const float *, uint32_t, uint32_t, const float *, float *);

int repeated_best(best_function *best, const void *kernels, const float *weights, const float *bias, uint32_t classes,
                  uint32_t dim, const float *z, uint32_t count)
{
    int found = 0;
    for (uint32_t i = 0; i < count; i++)
        found += best(kernels, weights, bias, classes, dim, z, NULL);
    return found;
}

/* The sum of n numbers in 64 parts: as fast as they can be read. Compiled for AVX2 where the machine is an x86. */
static float once(const float *values, size_t n)
{
    float part[64] = {0}, sum = 0.0f;
    for (size_t i = 0; i + 64 <= n; i += 64)
        for (size_t k = 0; k < 64; k++)
            part[k] += values[i + k];
    for (size_t k = 0; k < 64; k++)
        sum += part[k];
    return sum;
}

float repeated_read(const float *values, size_t n, uint32_t count)
{
    float (*volatile call)(const float *, size_t) = once; /* each time anew, whatever the compiler knows */
    float sum = 0.0f;
    for (uint32_t i = 0; i < count; i++)
        sum += call(values, n);
    return sum;
}

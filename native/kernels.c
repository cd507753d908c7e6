/* kernels.c - which instruction set runs. Asking the processor takes a microsecond: ask once, and keep the answer. */
#include "internal.h"

#if __STDC_HOSTED__
#include <stdlib.h>
#include <string.h>
#endif
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__aarch64__) && defined(__linux__) && __STDC_HOSTED__
#include <sys/auxv.h>
#define EM_HWCAP_ASIMDDP (1ul << 20)
#endif

#if defined(__x86_64__) || defined(__i386__)

/* By hand, since __builtin_cpu_supports() is not to be had from every compiler's own library. */
static int has_avx2(void)
{
    unsigned a, b, c, d, kept;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_F16C) || !(c & bit_FMA) || !(c & bit_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(kept), "=d"(d) : "c"(0)); /* the registers that the operating system keeps */
    return (kept & 6u) == 6u && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

static int has_avx512(void)
{
    unsigned a, b, c, d, kept, parts = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if (!has_avx2())
        return 0;
    __asm__ volatile("xgetbv" : "=a"(kept), "=d"(d) : "c"(0));
    return (kept & 0xE6u) == 0xE6u && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & parts) == parts;
}

static int has_sse2(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (d & bit_SSE2);
}

#endif

#if defined(__aarch64__)

static int has_dotprod(void)
{
#if defined(EM_HWCAP_ASIMDDP)
    return (getauxval(AT_HWCAP) & EM_HWCAP_ASIMDDP) != 0;
#elif defined(__ARM_FEATURE_DOTPROD)
    return 1;
#else
    return 0;
#endif
}

#endif

/* The kernels of this machine number `i`, the fastest first; NULL behind the last. A gap is NULL with *more set. */
static const struct em_kernels *number(int i, int *more)
{
    *more = 1;
    switch (i) {
#if defined(__x86_64__) || defined(__i386__)
    case 0:
        return has_avx512() ? &em_kernels_avx512 : NULL;
    case 1:
        return has_avx2() ? &em_kernels_avx2 : NULL;
    case 2:
        return has_sse2() ? &em_kernels_sse2 : NULL;
#elif defined(__aarch64__)
    case 0:
        return has_dotprod() ? &em_kernels_neon_dotprod : NULL;
    case 1:
        return &em_kernels_neon;
#elif defined(__arm__) && defined(__ARM_NEON)
    case 0:
        return &em_kernels_neon;
#endif
    case 3:
        return &em_kernels_portable;
    default:
        *more = i < 3;
        return NULL;
    }
}

static int is_same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const em_kernels *em_kernels_find(const char *name)
{
    int more = 1;
#if __STDC_HOSTED__
    if (name == NULL) {
        name = getenv("EDGEMETA_KERNELS");
        if (name != NULL && strcmp(name, "numpy") == 0)
            name = NULL; /* meant for the Python package, which then does without the core */
    }
#endif
    for (int i = 0; more; i++) {
        const struct em_kernels *found = number(i, &more);
        if (found != NULL && (name == NULL || is_same(found->name, name)))
            return found;
    }
    return NULL;
}

const char *em_kernels_name(const em_kernels *kernels)
{
    return kernels == NULL ? "none" : kernels->name;
}

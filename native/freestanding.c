/* freestanding.c - the square root, where there is neither a C library nor an instruction for float64 (Cortex-M4F): every
 * bit as IEEE 754 has it, so that a Cortex-M learns the very weights that a workstation does. `make head` alone needs it. */
#include "internal.h"

#if !__STDC_HOSTED__

#include <string.h>

/* floor(sqrt(mantissa * 2^54)), 54 bits of it, bit by bit as on paper; then to nearest, 53 bits. mantissa: 2^52 to 2^54. */
static uint64_t root_of(uint64_t mantissa)
{
    uint64_t root = 0, rest = 0;
    for (int i = 0; i < 54; i++) {
        uint64_t two = i < 27 ? mantissa >> (52 - 2 * i) & 3u : 0u, next = root << 2 | 1u;
        rest = rest << 2 | two;
        root <<= 1;
        if (rest >= next) {
            rest -= next;
            root |= 1u;
        }
    }
    /* No root lies in the middle of two numbers: its square would have too many bits. */
    return (root >> 1) + (root & 1u);
}

/* Weak: where a library has one, both are right. */
double sqrt(double x) __attribute__((weak));

double sqrt(double x)
{
    uint64_t bits, mantissa, fraction = ((uint64_t)1 << 52) - 1;
    int exponent;
    if (!(x > 0.0) || x - x != 0.0) /* zero, infinity and NaN are their own roots */
        return x < 0.0 ? (x - x) / (x - x) : x;
    memcpy(&bits, &x, sizeof bits);
    exponent = (int)(bits >> 52);
    mantissa = bits & fraction;
    if (exponent == 0) {
        for (exponent = 1; mantissa >> 52 == 0; exponent--)
            mantissa <<= 1;
    } else {
        mantissa |= fraction + 1;
    }
    exponent -= 1023;
    if (exponent & 1) {
        mantissa <<= 1;
        exponent--;
    }
    bits = root_of(mantissa) + ((uint64_t)(exponent / 2 + 1022) << 52);
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif

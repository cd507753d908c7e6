/* kernels_avx2.c - x86 with AVX2, FMA and F16C (Intel since 2013, AMD since 2015). */
#include "avx2.h"

const struct em_kernels em_kernels_avx2 = {
    "avx2", dot, dot4, dot64, axpy64, product64, minus64, mix64, dot_f16, dot_i8, tiles,
    &ldl_avx2, &state_avx2, along_row_avx2, along_column_avx2, &pixels_avx2,
};

/* kernels_neon.c - every 64-bit ARM, and 32-bit ARM that is compiled for NEON. */
#include "ldl.h"
#include "neon.h"
#include "state_neon.h"

const struct em_kernels em_kernels_neon = {
    "neon", neon_dot, neon_dot4, neon_dot64, neon_axpy64, neon_product64, neon_minus64, neon_mix64,
    neon_dot_f16, neon_dot_i8, neon_tiles, &ldl_any, &state_neon, along_row_neon, along_column_neon, &pixels_neon,
};

/* kernels_neon_dotprod.c - 64-bit ARM with the dot product instructions (Cortex-A55, A75, A76 and later). */
#include "ldl.h"
#include "neon.h"
#include "state_neon.h"

/* The int8 weights times float numbers gain nothing from integer dot products, so only the compiler's choices differ:
 * this file is compiled for ARMv8.2. */
const struct em_kernels em_kernels_neon_dotprod = {
    "neon-dotprod", neon_dot, neon_dot4, neon_dot64, neon_axpy64, neon_product64, neon_minus64, neon_mix64,
    neon_dot_f16, neon_dot_i8, neon_tiles, &ldl_any, &state_neon, along_row_neon, along_column_neon, &pixels_neon,
};

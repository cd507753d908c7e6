/* kernels_portable.c - for any machine. */
#include "image_pixels.h"
#include "image_portable.h"
#include "ldl.h"
#include "numbers.h"
#include "state_any.h"

static const struct em_pixel_kernels pixels_portable = {
    any_from_rgba, any_from_nv12, any_from_yuyv, any_from_grey, any_from_bgr, NULL, NULL,
};

const struct em_kernels em_kernels_portable = {
    "portable", any_dot, any_dot4, any_dot64, any_axpy64, any_product64, any_minus64, any_mix64,
    any_dot_f16, any_dot_i8, any_tiles, &ldl_any, &state_any, along_row_portable, along_column_portable,
    &pixels_portable,
};

/* internal.h - what the files of the core share and nobody else sees. */
#ifndef EDGEMETA_INTERNAL_H
#define EDGEMETA_INTERNAL_H

#include "edgemeta.h"

/* For the kernels of images. */
#define EM_ROWS 4   /* rows that are resampled at once */
#define EM_SLACK 32 /* bytes that a kernel may touch past a line */
/* The weights of one output, four taps a group of eight int16_t: of each the low 16 bits with a sign, a to d; then what
 * is missing in units of 2^16, 0 to 64, two a number and each pair twice: A + 256 B, A + 256 B, C + 256 D, C + 256 D.
 * (So pairs can be loaded into all of a register, and products with A to D are below 2^15, their sums below 2^16.) The
 * last group is filled with zeros. In all this many int16_t: */
#define EM_WEIGHTS(taps) (2 * (((size_t)(taps) + 3) / 4 * 4))

/* Pixels to pixels. `count` of them, `to` and `from` apart; 3 count bytes are written, and nothing is read beyond. */
struct em_pixel_kernels {
    void (*from_rgba)(const uint8_t *from, size_t count, uint8_t *to);
    /* An even count; pairs that share chroma. luma, chroma: one byte a pixel each (NV12). */
    void (*from_nv12)(const uint8_t *luma, const uint8_t *chroma, size_t count, uint8_t *to);
    void (*from_yuyv)(const uint8_t *from, size_t count, uint8_t *to);
    void (*from_grey)(const uint8_t *from, size_t count, uint8_t *to);
    void (*from_bgr)(const uint8_t *from, size_t count, uint8_t *to);
    /* As along_row for EM_GREY_ROWS lines of one byte a pixel, which may be the same ones, and starts that are even and never
     * less than the one before. taps: at most EM_GREY_TAPS. May read EM_SLACK bytes past the taps of a pixel; writes `to` bytes
     * of each row. NULL: there is nothing faster than along_row. */
    void (*along_grey)(const uint8_t *const *lines, uint32_t to, const uint32_t *starts, uint32_t taps,
                       const int16_t *weights, uint8_t *const *out);
    /* As along_row with 3 channels, for lines of RGBA. Returns 1 if alpha is 255 in all that it looked at, which may be
     * EM_SLACK bytes more than the taps; else 0, and what it wrote means nothing. NULL: nothing faster than from_rgba. */
    int (*along_opaque)(const uint8_t *const *lines, uint32_t rows, uint32_t to, const uint32_t *starts, uint32_t taps,
                        const int16_t *weights, uint8_t *const *out);
};
#define EM_GREY_ROWS 16
#define EM_GREY_TAPS 64

/* L D L^T in panels of four columns, each of tiles of four rows and four columns that lie column by column. */
struct em_ldl_kernels {
    /* `count` tiles of a panel: of each row, column after column, w -= p l and then l += b w. */
    void (*change)(double *tiles, size_t count, const double *p, const double *b, double *w);
    /* out[c] = sum over the rows of column c of l x */
    void (*dot)(const double *tiles, size_t count, const double *x, double *out);
    /* `count` tiles less products with `depth` panels: a[k] the tiles of the same rows in them, b (depth, 4, 4):
     * tile(r, c) -= sum over k and i of a[k](r, i) b(k, i, c). */
    void (*panel)(double *tiles, size_t count, const double *const *a, const double *b, size_t depth);
};

/* What the states need: rows of Q20, and weights that move. */
struct em_state_kernels {
    /* The largest size of n numbers, and the sum of their squares modulo 2^64. */
    void (*measure)(const int32_t *q20, size_t n, uint32_t *largest, uint64_t *squares);
    /* out[i] = q20[i] 2^-20 - factor less[i] */
    void (*widen)(const int32_t *q20, double factor, const double *less, double *out, size_t n);
    /* Four rows: out[r] = sum of rows[r][i] x[i], whole numbers below 2^53; y[i] += sum over r of a[r] rows[r][i]. */
    void (*rows_dot)(const int32_t *const *rows, const int32_t *x, size_t n, double *out);
    void (*rows_mix)(const double *a, const int32_t *const *rows, double *y, size_t n);
    /* w += factor step; quick = scale w; returns the sum of w along. */
    double (*move)(double factor, const double *step, double *w, double scale, float *quick, const double *along,
                   size_t n);
};

/* One implementation an instruction set: kernels_*.c. Arrays need no alignment; lengths may be 0. */
struct em_kernels {
    const char *name;

    /* numbers */
    /* sum of a[i] b[i] */
    float (*dot)(const float *a, const float *b, size_t n);
    /* out[r] = sum of rows[r * stride + i] z[i], r = 0 to 3 */
    void (*dot4)(const float *rows, size_t stride, const float *z, size_t n, float *out);
    double (*dot64)(const double *a, const double *b, size_t n);
    /* y += a x */
    void (*axpy64)(double a, const double *x, double *y, size_t n);
    /* out[r * stride + c] += sign * (sum of a[r * stride_a + i] b[c * stride_b + i]), sign 1 or -1 */
    void (*product64)(double sign, const double *a, size_t stride_a, size_t rows, const double *b, size_t stride_b,
                      size_t columns, size_t n, double *out, size_t stride);
    /* out = x - y */
    void (*minus64)(const double *x, const double *y, size_t n, double *out);
    /* y[k * stride_y + i] += sum over r < count of a[k * stride_a + r] x[r * stride_x + i], k < outputs */
    void (*mix64)(const double *a, size_t stride_a, size_t outputs, const double *x, size_t stride_x, size_t count,
                  double *y, size_t stride_y, size_t n);
    /* sum of the IEEE binary16 a[i] times b[i], and of the int8 a[i] times b[i] */
    float (*dot_f16)(const uint16_t *a, const float *b, size_t n);
    float (*dot_i8)(const int8_t *a, const float *b, size_t n);
    /* `count` tiles of 8 rows and 4 columns, each row-major, of which tile k has the columns from 4 k on:
     * sums[32 k + 4 r + c] += sign a[r] b[4 k + c]. On the grid of Q20 that is exact. */
    void (*tiles)(double *sums, const double *a, const double *b, size_t count, double sign);
    const struct em_ldl_kernels *ldl;
    const struct em_state_kernels *state;

    /* images: Pillow's weights in units of 2^-22, each split in two (EM_WEIGHTS), so that 16-bit products do */
    /* `rows` rows (1 to EM_ROWS) of `to` pixels of 3 or 1 bytes, each from a line: of each channel
     * out[i] = min(255, (sum over t < taps of weight(i, t) * line[(starts[i] + t) * channels] + 2^21) >> 22).
     * The weights of pixel i + 1 follow those of pixel i. May read EM_SLACK bytes past the taps of a pixel, and write
     * as many past a row. */
    void (*along_row)(const uint8_t *const *lines, uint32_t rows, uint32_t channels, uint32_t to,
                      const uint32_t *starts, uint32_t taps, const int16_t *weights, uint8_t *const *out);
    /* A line of n bytes: out[j] = min(255, (sum over t < taps of weight(t) * lines[t][j] + 2^21) >> 22). There is one
     * pointer more in `lines` than taps, to a line like the others. May read EM_SLACK bytes past each line; writes n.
     */
    void (*along_column)(const uint8_t *const *lines, uint32_t taps, const int16_t *weights, size_t n, uint8_t *out);
    const struct em_pixel_kernels *pixels;
};

extern const struct em_kernels em_kernels_portable;
#if defined(__x86_64__) || defined(__i386__)
extern const struct em_kernels em_kernels_sse2;
extern const struct em_kernels em_kernels_avx2;
extern const struct em_kernels em_kernels_avx512;
#endif
#if defined(__aarch64__) || (defined(__arm__) && defined(__ARM_NEON))
extern const struct em_kernels em_kernels_neon;
#endif
#if defined(__aarch64__)
extern const struct em_kernels em_kernels_neon_dotprod;
#endif

/* CRC-32 as in zlib: em_crc32(em_crc32(0, a), b) is that of a and b. */
uint32_t em_crc32(uint32_t start, const void *data, size_t size);

/* Whether `count` embeddings are on the grid, and of norm at most 1 (a little more: rounding to the grid adds up): EM_OK or
 * EM_ERR_VALUE. */
int em_check_q20(const em_kernels *kernels, const int32_t *q20, uint32_t dim, uint32_t count);

/* em_statistics_add() or _remove() of what was checked. The first of its last few, in units of 1, is at what is returned. */
const double *em_statistics_change(em_statistics *self, uint32_t of_class, const int32_t *q20, uint32_t count, int add);
/* G in tiles of 8 rows and 4 columns, each row by row; row i of tiles is 2 (i + 1) of them. NULL without. */
const double *em_statistics_tiles(const em_statistics *statistics);
/* Sums of `count` examples of a class, the moment as upper triangle row by row; NULL where there is no G. */
int em_statistics_add_sums(em_statistics *statistics, uint32_t of_class, uint32_t count, const double *sum,
                           const double *moment);

/* A length of memory rounded up to EM_ALIGN; SIZE_MAX stays, for "more than there can be". */
size_t em_aligned(size_t size);
/* a * b and a + b; SIZE_MAX where that is more than a size_t holds. */
size_t em_times(size_t a, size_t b);
size_t em_plus(size_t a, size_t b);

/* Whether memory is there, large enough and aligned. Returns EM_OK, EM_ERR_NULL or EM_ERR_MEMORY. */
int em_check_memory(const void *memory, size_t size, size_t needed);

#endif

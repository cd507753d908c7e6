/* image.c - fitting an image: centre crop, then Pillow's antialiased bilinear resizing, as edgemeta/imaging.py, which
 * says why each sum is as it is.
 *
 * No image is ever held as RGB. A few lines at a time are read (converted to RGB where they are something else) and
 * resampled along the row into a ring of rows just large enough for one row of the target, which is then a weighted sum
 * of rows of the ring. Row i of the target needs lines that begin no earlier than those of row i - 1.
 *
 * BT.601, limited range, to RGB (NV12 and YUYV), for each pixel of the crop, with the U and V of its block:
 *     c = 298 * (Y - 16), d = U - 128, e = V - 128
 *     R = (c + 409 * e + 128) / 256, G = (c - 100 * d - 208 * e + 128) / 256, B = (c + 516 * d + 128) / 256
 * each rounded down and then limited to 0 to 255.
 */
#include "internal.h"

#include <float.h>
#include <string.h>

#define MAX_SIDE 65536u
#define MAX_PIXELS 67108864u
#define WEIGHT_ONE 4194304 /* 2^22 */
#define FLOATS 768         /* of a table from byte to float, for three channels */

/* Of the grey lines that a kernel takes at once, those longer than EM_SLACK need no copy but for the last one. Only
 * machines with such kernels need the memory. */
#if defined(__x86_64__) || defined(__i386__)
#define MOST_ROWS EM_GREY_ROWS
#define GREY_LINES ((size_t)EM_GREY_ROWS * 2 * EM_SLACK)
#else
#define MOST_ROWS EM_ROWS
#define GREY_LINES 1
#endif

/* One direction of the resizing. Output i is a sum of the inputs starts[i] to starts[i] + taps - 1. */
struct axis {
    uint32_t inputs, outputs;
    uint32_t taps; /* 1 where nothing changes; then there are no tables */
    uint32_t even; /* 1: starts are even numbers, and taps one more for that */
    uint32_t *starts;
    int16_t *weights;
};

/* All of one call. Sizes come from plan(), addresses within the scratch memory from place(). */
struct fitting {
    const em_kernels *kernels;
    em_image image; /* with its strides and its plane of chroma filled in */
    size_t end;     /* bytes from image.pixels to the end of its last row */
    uint32_t left, top, channels;
    int opaque; /* RGBA whose alpha was 255 so far, and kernels that gain by it */
    struct axis across, down;
    size_t line_size, lines_size, row_size;
    uint32_t ring_rows;
    uint8_t *lines;        /* EM_ROWS lines of the crop as RGB, or copies, where they cannot be read in place */
    uint8_t *ring;         /* rows of the target's width */
    const uint8_t **stack; /* the rows of the ring that one row of the target needs */
    uint8_t *row;          /* a row of the target before it is spread out */
    float *table;
};

/* ---- sizes ---- */

static int is_size(uint32_t width, uint32_t height)
{
    return width != 0 && height != 0 && width <= MAX_SIDE && height <= MAX_SIDE &&
           (uint64_t)width * height <= MAX_PIXELS;
}

/* Bytes of a row in memory; 0 for no format, or for a size that it cannot have. */
static size_t bytes_of_row(uint32_t width, uint32_t height, int format)
{
    switch (format) {
    case EM_PIXELS_RGB:
    case EM_PIXELS_BGR:
        return 3 * (size_t)width;
    case EM_PIXELS_RGBA:
        return 4 * (size_t)width;
    case EM_PIXELS_GREY:
        return width;
    case EM_PIXELS_NV12:
        return width % 2 == 0 && height % 2 == 0 ? width : 0;
    case EM_PIXELS_YUYV:
        return width % 2 == 0 ? 2 * (size_t)width : 0;
    default:
        return 0;
    }
}

/* `of` * a / b to the nearest, halves up, at least 1. */
static uint32_t scaled(uint32_t of, uint32_t a, uint32_t b)
{
    uint64_t length = (2 * (uint64_t)of * a + b) / (2 * (uint64_t)b);
    return length == 0 ? 1 : (uint32_t)length;
}

/* The triangle covers less than 2 max(1, inputs / outputs), so no more pixels than that rounded up have a weight; one
 * less where an odd number of pixels becomes one, since its ends are the middles of pixels then. */
static void plan_axis(struct axis *axis, uint32_t inputs, uint32_t outputs)
{
    uint32_t widest = inputs > outputs ? (2 * inputs + outputs - 1) / outputs : 2;
    if (inputs > outputs && inputs % outputs == 0 && inputs / outputs % 2 == 1)
        widest--;
    axis->inputs = inputs;
    axis->outputs = outputs;
    axis->taps = inputs == outputs ? 1 : widest < inputs ? widest : inputs;
    axis->even = 0;
}

/* The crop (crop_box of imaging.py) and the lengths that follow from it. The sizes are checked already. */
static void plan(struct fitting *f, uint32_t width, uint32_t height, int format, uint32_t to_width, uint32_t to_height)
{
    uint32_t columns = width, rows = height;
    if ((uint64_t)width * to_height > (uint64_t)height * to_width)
        columns = scaled(height, to_width, to_height);
    else
        rows = scaled(width, to_height, to_width);
    f->left = (width - columns) / 2;
    f->top = (height - rows) / 2;
    f->channels = format == EM_PIXELS_GREY ? 1 : 3;
    plan_axis(&f->across, columns, to_width);
    plan_axis(&f->down, rows, to_height);
    f->line_size = em_aligned(3 * ((size_t)columns + 2) + EM_SLACK);
    f->lines_size = em_times(EM_ROWS, f->line_size);
    if (f->channels == 1 && f->lines_size < GREY_LINES)
        f->lines_size = GREY_LINES;
    f->row_size = em_aligned(3 * (size_t)to_width + EM_SLACK);
    f->ring_rows = f->down.taps + 1 + (f->channels == 1 ? MOST_ROWS : EM_ROWS) - 1;
}

/* The next `count` things of `size` bytes; *at becomes SIZE_MAX where there is no such memory. */
static void *take(uint8_t *memory, size_t *at, size_t count, size_t size)
{
    void *here = memory == NULL || *at == SIZE_MAX ? NULL : memory + *at;
    *at = em_plus(*at, em_aligned(em_times(count, size)));
    return here;
}

/* Addresses for all that plan() made. memory NULL: only count. Returns the bytes needed, SIZE_MAX for too many. */
static size_t place(struct fitting *f, uint8_t *memory)
{
    size_t at = 0;
    struct axis *axes[2] = {&f->across, &f->down};
    for (int i = 0; i < 2; i++) {
        axes[i]->starts = take(memory, &at, axes[i]->outputs, sizeof(uint32_t));
        size_t numbers = EM_WEIGHTS(axes[i]->taps + 1); /* one tap more, in case they are made even */
        axes[i]->weights = take(memory, &at, em_times(axes[i]->outputs, numbers), sizeof(int16_t));
    }
    f->lines = take(memory, &at, 1, f->lines_size);
    f->ring = take(memory, &at, f->ring_rows, f->row_size);
    f->stack = take(memory, &at, (size_t)f->down.taps + 2, sizeof *f->stack);
    f->row = take(memory, &at, 1, f->row_size);
    f->table = take(memory, &at, FLOATS, sizeof(float));
    return at;
}

size_t em_fit_size(uint32_t width, uint32_t height, int format, uint32_t to_width, uint32_t to_height)
{
    struct fitting f;
    size_t needed;
    if (!is_size(width, height) || !is_size(to_width, to_height) || bytes_of_row(width, height, format) == 0)
        return 0;
    plan(&f, width, height, format, to_width, to_height);
    needed = place(&f, NULL);
    return needed == SIZE_MAX ? 0 : needed;
}

/* ---- weights ---- */

/* Output i of an axis. All in float64 and in the order of Pillow, see _block in imaging.py. */
struct triangle {
    double centre, factor, total;
};

static double triangle_at(const struct triangle *triangle, uint32_t x)
{
    double distance = ((double)(int32_t)x - triangle->centre + 0.5) * triangle->factor;
    double value = 1.0 - (distance > -distance ? distance : -distance);
    return value > 0.0 ? value : 0.0;
}

static int32_t weight_at(const struct triangle *triangle, uint32_t x)
{
    return (int32_t)(triangle_at(triangle, x) / triangle->total * WEIGHT_ONE + 0.5);
}

/* Four weights as EM_WEIGHTS says. */
static void put_group(const int32_t *weights, int16_t *group)
{
    int32_t high[4];
    for (int k = 0; k < 4; k++) {
        high[k] = (weights[k] + 32768) >> 16;
        group[k] = (int16_t)(weights[k] - high[k] * 65536);
    }
    group[4] = group[5] = (int16_t)(high[0] + 256 * high[1]);
    group[6] = group[7] = (int16_t)(high[2] + 256 * high[3]);
}

/* The window of output i, whose first weight above 0 is that of input x. It does not pass the end of the line, or an
 * even one by no more than a pixel. */
static void put_window(const struct axis *axis, uint32_t i, uint32_t x, const struct triangle *triangle)
{
    uint32_t last = axis->inputs + axis->even - axis->taps, start = (x < last ? x : last) & ~axis->even;
    int16_t *group = axis->weights + i * EM_WEIGHTS(axis->taps);
    axis->starts[i] = start;
    for (uint32_t t = 0; t < axis->taps; t += 4, group += 8) {
        int32_t weights[4];
        for (uint32_t k = 0; k < 4; k++)
            weights[k] = weight_at(triangle, start + t + k);
        for (uint32_t k = 0; k < 4; k++)
            if (t + k >= axis->taps || start + t + k >= axis->inputs)
                weights[k] = 0;
        put_group(weights, group);
    }
}

static int is_zero(const int16_t *weights, uint32_t t)
{
    const int16_t *group = weights + 2 * (size_t)(t & ~3u);
    return group[t & 3u] == 0 && ((uint32_t)group[4 + (t & 2u)] >> 8 * (t & 1u) & 255u) == 0;
}

/* With a whole number of inputs an output, windows that no edge cuts are all alike, to the bit: that of output i is
 * the one two before (where an even start is even again). 0: there is no such one. */
static int weigh_alike(const struct axis *axis, uint32_t i, uint32_t scale)
{
    uint32_t margin = 2 * scale + 1, start; /* more than half a window */
    size_t size = EM_WEIGHTS(axis->taps);
    if (axis->inputs != axis->outputs * scale || i < 5 || (uint64_t)i * scale + margin > axis->inputs)
        return 0;
    start = axis->starts[i - 2] + 2 * scale;
    if (start + axis->taps > axis->inputs)
        return 0;
    axis->starts[i] = start;
    memcpy(axis->weights + i * size, axis->weights + (i - 2) * size, size * sizeof *axis->weights);
    return 1;
}

static void weigh_one(const struct axis *axis, uint32_t i, double scale, double support)
{
    struct triangle triangle = {((double)i + 0.5) * scale, 1.0 / support, 0.0};
    int32_t from = (int32_t)(triangle.centre - support + 0.5), past = (int32_t)(triangle.centre + support + 0.5);
    uint32_t low = from < 0 ? 0 : (uint32_t)from;
    uint32_t high = (uint32_t)past < axis->inputs ? (uint32_t)past : axis->inputs;
    for (uint32_t x = low; x < high; x++)
        triangle.total += triangle_at(&triangle, x);
    if (triangle.total == 0.0)
        triangle.total = 1.0;
    while (low + 1 < high && weight_at(&triangle, low) == 0)
        low++;
    put_window(axis, i, low, &triangle);
}

static void weigh(const struct axis *axis)
{
    double scale = (double)axis->inputs / (double)axis->outputs, support = scale > 1.0 ? scale : 1.0;
    for (uint32_t i = 0; i < axis->outputs; i++)
        if (!weigh_alike(axis, i, axis->inputs / axis->outputs))
            weigh_one(axis, i, scale, support);
}

static void weigh_both(struct fitting *f)
{
    if (f->across.taps > 1)
        weigh(&f->across);
    if (f->down.taps > 1 && f->down.inputs == f->across.inputs && f->down.outputs == f->across.outputs)
        f->down = f->across;
    else if (f->down.taps > 1)
        weigh(&f->down);
}

/* ---- lines of the crop ---- */

/* The crop's columns of a line as they are; `line` takes a copy where a kernel could read past the image. */
static const uint8_t *line_in_place(const struct fitting *f, size_t row, uint8_t *line)
{
    size_t pixel = f->image.format == EM_PIXELS_RGBA ? 4 : f->channels;
    size_t at = row * f->image.stride + f->left * pixel, length = f->across.inputs * pixel;
    if (f->end - at - length >= EM_SLACK)
        return f->image.pixels + at;
    memcpy(line, f->image.pixels + at, length);
    memset(line + length, 255, EM_SLACK); /* opaque */
    return line;
}

/* Line y of the crop as pixels of f->channels bytes, EM_SLACK more readable. `line`: where it may be made. */
static const uint8_t *line_of_crop(const struct fitting *f, uint32_t y, uint8_t *line)
{
    const em_image *image = &f->image;
    size_t row = (size_t)f->top + y;
    const uint8_t *pixels = image->pixels + row * image->stride, *chroma;
    /* Pixels that share chroma come in pairs: one more at the left, and at the right, where the crop cuts a pair. */
    size_t even = f->left & ~1u;
    uint32_t odd = f->left & 1u, count = (odd + f->across.inputs + 1) & ~1u;
    switch (image->format) {
    case EM_PIXELS_RGBA:
        f->kernels->pixels->from_rgba(pixels + 4 * (size_t)f->left, f->across.inputs, line);
        return line;
    case EM_PIXELS_NV12:
        chroma = image->chroma + row / 2 * image->chroma_stride;
        f->kernels->pixels->from_nv12(pixels + even, chroma + even, count, line);
        return line + 3 * odd;
    case EM_PIXELS_YUYV:
        f->kernels->pixels->from_yuyv(pixels + 2 * even, count, line);
        return line + 3 * odd;
    default:
        return line_in_place(f, row, line);
    }
}

/* ---- rows of the target ---- */

/* Rows y to y + count - 1 of the ring. A division for each would be seen in the time of a small image. */
static void ring_rows(const struct fitting *f, uint32_t y, uint32_t count, uint8_t **rows)
{
    uint32_t at = y % f->ring_rows;
    for (uint32_t r = 0; r < count; r++) {
        rows[r] = f->ring + at * f->row_size;
        at = at + 1 < f->ring_rows ? at + 1 : 0;
    }
}

/* fill_ring() for kernels that take many grey lines. */
static uint32_t fill_by_grey(const struct fitting *f, uint32_t y)
{
    const uint8_t *lines[EM_GREY_ROWS];
    uint8_t *rows[EM_GREY_ROWS], *copy = f->lines;
    uint32_t count = f->down.inputs - y < EM_GREY_ROWS ? f->down.inputs - y : EM_GREY_ROWS;
    ring_rows(f, y, count, rows);
    for (uint32_t r = 0; r < EM_GREY_ROWS; r++) {
        uint32_t at = r < count ? r : count - 1; /* the last one stands for those that are missing */
        lines[r] = at == r ? line_in_place(f, (size_t)f->top + y + r, copy) : lines[at];
        rows[r] = rows[at];
        if (lines[r] == copy)
            copy += f->across.inputs + EM_SLACK;
    }
    f->kernels->pixels->along_grey(lines, f->across.outputs, f->across.starts, f->across.taps, f->across.weights, rows);
    return count;
}

/* fill_ring() for kernels that take RGBA whose alpha is 255, as that of most cameras. 0: this has another. */
static uint32_t fill_by_opaque(const struct fitting *f, uint32_t y, uint32_t count)
{
    const uint8_t *lines[EM_ROWS] = {NULL};
    uint8_t *rows[EM_ROWS] = {NULL}, *copy = f->lines;
    ring_rows(f, y, count, rows);
    for (uint32_t r = 0; r < count; r++) {
        lines[r] = line_in_place(f, (size_t)f->top + y + r, copy);
        if (lines[r] == copy)
            copy += 4 * (size_t)f->across.inputs + EM_SLACK;
    }
    return f->kernels->pixels->along_opaque(lines, count, f->across.outputs, f->across.starts, f->across.taps,
                                            f->across.weights, rows)
               ? count
               : 0;
}

/* Line y of the crop and some more into the ring. Returns how many. */
static uint32_t fill_ring(struct fitting *f, uint32_t y)
{
    const uint8_t *lines[EM_ROWS];
    uint8_t *rows[EM_ROWS];
    uint32_t count = f->down.inputs - y < EM_ROWS ? f->down.inputs - y : EM_ROWS;
    if (f->across.even)
        return fill_by_grey(f, y);
    if (f->opaque && fill_by_opaque(f, y, count) != 0)
        return count;
    f->opaque = 0; /* so that it is tried in vain but once */
    ring_rows(f, y, count, rows);
    for (uint32_t r = 0; r < count; r++)
        lines[r] = line_of_crop(f, y + r, f->lines + r * f->line_size);
    if (f->across.taps > 1) {
        f->kernels->along_row(lines, count, f->channels, f->across.outputs, f->across.starts, f->across.taps,
                              f->across.weights, rows);
        return count;
    }
    for (uint32_t r = 0; r < count; r++)
        if (f->across.inputs == f->across.outputs)
            memcpy(rows[r], lines[r], (size_t)f->across.outputs * f->channels);
        else /* a line of one pixel */
            for (uint32_t i = 0; i < f->across.outputs; i++)
                memcpy(rows[r] + (size_t)i * f->channels, lines[r], f->channels);
    return count;
}

/* Row y of the target, f->channels bytes a pixel, from the rows of the ring from `first` on. */
static void sum_rows(const struct fitting *f, uint32_t y, uint32_t first, uint8_t *out)
{
    size_t length = (size_t)f->across.outputs * f->channels;
    uint32_t taps = f->down.taps;
    const int16_t *weights = f->down.weights + y * EM_WEIGHTS(taps);
    if (f->down.taps == 1) {
        memcpy(out, f->ring + first % f->ring_rows * f->row_size, length);
        return;
    }
    while (taps > 1 && is_zero(weights, taps - 1)) /* most windows are one narrower than the widest */
        taps--;
    for (uint32_t t = 0, at = first % f->ring_rows; t < taps; t++, at = at + 1 < f->ring_rows ? at + 1 : 0)
        f->stack[t] = f->ring + at * f->row_size;
    f->stack[taps] = f->stack[taps - 1];
    f->kernels->along_column(f->stack, taps, weights, length, out);
}

/* A row of one or three channels as it is wanted: bytes in the order RGB, or floats by the table. */
static void give_bytes(const struct fitting *f, const uint8_t *row, uint8_t *out)
{
    if (f->image.format == EM_PIXELS_GREY)
        f->kernels->pixels->from_grey(row, f->across.outputs, out);
    else
        f->kernels->pixels->from_bgr(row, f->across.outputs, out);
}

static void give_floats(const struct fitting *f, const uint8_t *row, float *out)
{
    size_t step = f->channels, red = f->image.format == EM_PIXELS_BGR ? 2 : 0, green = step == 1 ? 0 : 1;
    size_t blue = step == 1 ? 0 : 2 - red;
    for (uint32_t i = 0; i < f->across.outputs; i++, out += 3, row += step) {
        out[0] = f->table[row[red]];
        out[1] = f->table[256 + row[green]];
        out[2] = f->table[512 + row[blue]];
    }
}

/* The whole target, into one of the two. */
static void run(struct fitting *f, uint8_t *bytes, float *floats)
{
    size_t length = 3 * (size_t)f->across.outputs;
    uint32_t next = 0; /* the first line that has not been in the ring */
    int straight = bytes != NULL && f->image.format != EM_PIXELS_GREY && f->image.format != EM_PIXELS_BGR;
    weigh_both(f);
    for (uint32_t y = 0; y < f->down.outputs; y++) {
        uint32_t first = f->down.taps > 1 ? f->down.starts[y] : f->down.inputs > 1 ? y : 0;
        if (next < first)
            next = first;
        while (next < first + f->down.taps && next < f->down.inputs)
            next += fill_ring(f, next);
        sum_rows(f, y, first, straight ? bytes + y * length : f->row);
        if (floats != NULL)
            give_floats(f, f->row, floats + y * length);
        else if (!straight)
            give_bytes(f, f->row, bytes + y * length);
    }
}

/* ---- checks ---- */

/* Bytes from the first to the end of the last of some rows. SIZE_MAX: they do not fit into memory, or overlap. */
static size_t extent(size_t stride, uint32_t rows, size_t length)
{
    return stride < length ? SIZE_MAX : em_plus(em_times(stride, rows - 1), length);
}

/* The image with what it leaves out filled in. */
static int describe(struct fitting *f, const em_image *image)
{
    size_t length = bytes_of_row(image->width, image->height, image->format);
    f->image = *image;
    if (image->stride == 0)
        f->image.stride = length;
    f->end = extent(f->image.stride, image->height, length);
    if (f->end == SIZE_MAX)
        return EM_ERR_SIZE;
    if (image->format != EM_PIXELS_NV12)
        return EM_OK;
    if (image->chroma_stride == 0)
        f->image.chroma_stride = image->chroma == NULL ? f->image.stride : length;
    size_t chroma = extent(f->image.chroma_stride, image->height / 2, length);
    size_t luma = em_times(f->image.stride, image->height);
    if (chroma == SIZE_MAX || (image->chroma == NULL && em_plus(luma, chroma) == SIZE_MAX))
        return EM_ERR_SIZE;
    if (image->chroma == NULL)
        f->image.chroma = image->pixels + luma;
    return EM_OK;
}

/* Checks all that both calls take, and makes a fitting of it. */
static int prepare(struct fitting *f, const em_kernels *kernels, const em_image *image, uint32_t to_width,
                   uint32_t to_height, void *memory, size_t size, const void *out)
{
    int status;
    if (kernels == NULL || image == NULL || image->pixels == NULL || out == NULL || memory == NULL)
        return EM_ERR_NULL;
    if (image->format < EM_PIXELS_RGB || image->format > EM_PIXELS_YUYV)
        return EM_ERR_VALUE;
    size_t needed = em_fit_size(image->width, image->height, image->format, to_width, to_height);
    if (needed == 0)
        return EM_ERR_SIZE;
    status = describe(f, image);
    if (status == EM_OK)
        status = em_check_memory(memory, size, needed);
    if (status != EM_OK)
        return status;
    f->kernels = kernels;
    plan(f, image->width, image->height, image->format, to_width, to_height);
    place(f, memory);
    f->opaque = image->format == EM_PIXELS_RGBA && kernels->pixels->along_opaque != NULL && f->across.taps > 1;
    if (f->channels == 1 && kernels->pixels->along_grey != NULL && f->across.taps > 1 &&
        f->across.taps < EM_GREY_TAPS) {
        f->across.even = 1;
        f->across.taps++;
    } else {
        f->ring_rows = f->down.taps + EM_ROWS - 1; /* so that it stays in the cache */
    }
    return EM_OK;
}

static int is_finite(float x)
{
    return x >= -FLT_MAX && x <= FLT_MAX;
}

/* ---- the two calls ---- */

int em_fit(const em_kernels *kernels, const em_image *image, uint32_t to_width, uint32_t to_height, void *memory,
           size_t size, uint8_t *out)
{
    struct fitting f;
    int status = prepare(&f, kernels, image, to_width, to_height, memory, size, out);
    if (status == EM_OK)
        run(&f, out, NULL);
    return status;
}

int em_fit_float(const em_kernels *kernels, const em_image *image, uint32_t to_width, uint32_t to_height,
                 const float *mean, const float *std, void *memory, size_t size, float *out)
{
    struct fitting f;
    int status = prepare(&f, kernels, image, to_width, to_height, memory, size, out);
    if (status != EM_OK)
        return status;
    if ((mean == NULL) != (std == NULL))
        return EM_ERR_NULL;
    for (uint32_t i = 0; i < FLOATS; i++) {
        float less = mean == NULL ? 0.0f : mean[i / 256], by = std == NULL ? 1.0f : std[i / 256];
        if (!is_finite(less) || !is_finite(by) || by == 0.0f)
            return EM_ERR_VALUE;
        f.table[i] = ((float)(i % 256) / 255.0f - less) / by;
        if (!is_finite(f.table[i])) /* a tiny std */
            return EM_ERR_VALUE;
    }
    run(&f, NULL, out);
    return EM_OK;
}

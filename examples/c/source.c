/* source.c - images and embeddings from files and pipes. */
#include "source.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"

#define LARGEST 8192 /* pixels along an edge */

int source_open(source *self, int kind, const char *name, uint32_t dim, uint32_t width, uint32_t height)
{
    memset(self, 0, sizeof *self);
    self->kind = kind;
    self->name = name;
    self->dim = dim;
    if (kind == SOURCE_CAMERA) {
        self->camera = camera_open(name, width, height);
        return self->camera == NULL ? -1 : 0;
    }
    self->file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    if (self->file == NULL) {
        complain("%s: %s", name, strerror(errno));
        return -1;
    }
    return 0;
}

void source_close(source *self)
{
    if (self->camera != NULL)
        camera_close(self->camera);
    if (self->file != NULL && self->file != stdin)
        fclose(self->file);
    free(self->pixels);
    memset(self, 0, sizeof *self);
}

/* ---- PPM and PGM: binary, one after another --------------------------------------------------------------------- */

/* The next number of a header, behind spaces and comments; negative where there is none. */
static long read_number(FILE *file)
{
    long value = 0;
    int c = getc(file), in_comment = c == '#';
    while (c != EOF && (in_comment || isspace(c))) {
        c = getc(file);
        in_comment = in_comment ? c != '\n' : c == '#';
    }
    if (!isdigit(c))
        return -1;
    for (; isdigit(c) && value <= 1000000; c = getc(file))
        value = 10 * value + (c - '0');
    return isspace(c) ? value : -1; /* one character ends the header */
}

static int read_header(source *self, em_image *out)
{
    int first = getc(self->file), kind;
    while (isspace(first))
        first = getc(self->file);
    if (first == EOF)
        return 0;
    kind = getc(self->file);
    long width = read_number(self->file), height = read_number(self->file), most = read_number(self->file);
    if (first != 'P' || (kind != '5' && kind != '6') || width < 1 || height < 1 || most != 255) {
        complain("%s: it is no binary PPM or PGM with 255 levels (P6 or P5, width, height, 255)", self->name);
        return -1;
    }
    if (width > LARGEST || height > LARGEST) {
        complain("%s: an image of %ld x %ld; the most is %d", self->name, width, height, LARGEST);
        return -1;
    }
    memset(out, 0, sizeof *out);
    out->width = (uint32_t)width;
    out->height = (uint32_t)height;
    out->format = kind == '6' ? EM_PIXELS_RGB : EM_PIXELS_GREY;
    return 1;
}

int source_image(source *self, em_image *out)
{
    int status;
    size_t size;
    uint8_t *grown;
    if (self->kind == SOURCE_CAMERA)
        return camera_image(self->camera, out);
    status = read_header(self, out);
    if (status <= 0 || stop)
        return stop ? 0 : status;
    size = (size_t)out->width * out->height * (out->format == EM_PIXELS_RGB ? 3 : 1);
    if (size > self->room) {
        grown = realloc(self->pixels, size);
        if (grown == NULL) {
            complain("%s: no memory for an image of %zu bytes", self->name, size);
            return -1;
        }
        self->pixels = grown;
        self->room = size;
    }
    if (fread(self->pixels, 1, size, self->file) != size) {
        if (!stop)
            complain("%s: it ends within an image", self->name);
        return stop ? 0 : -1;
    }
    out->pixels = self->pixels;
    return 1;
}

/* ---- embeddings ------------------------------------------------------------------------------------------------- */

/* The next word of a line, at most 63 characters; 0 at the end of the line, or of the file. */
static int read_word(FILE *file, char word[64])
{
    int size = 0, c = getc(file);
    while (c == ' ' || c == '\t' || c == ',' || c == '\r')
        c = getc(file);
    for (; c != EOF && !isspace(c) && c != ','; c = getc(file))
        if (size < 63)
            word[size++] = (char)c;
    word[size] = '\0';
    if (c != EOF && (size > 0 || c == '\n'))
        ungetc(c, file);
    return size;
}

static int read_line(source *self, float *out)
{
    char word[64], *end;
    uint32_t count = 0;
    self->line++;
    while (read_word(self->file, word) > 0) {
        double value = strtod(word, &end);
        if (*end != '\0' || count == self->dim) {
            complain("%s: line %lu: %s", self->name, self->line,
                     *end != '\0' ? "there is something that is no number" : "more numbers than an embedding has here");
            return -1;
        }
        out[count++] = (float)value;
    }
    int c = getc(self->file);
    if (count == 0 && c == EOF)
        return 0;
    if (count == 0)
        return read_line(self, out); /* empty lines say nothing */
    if (count < self->dim && !stop)
        complain("%s: line %lu: %u numbers; the bundle's embeddings have %u", self->name, self->line, (unsigned)count,
                 (unsigned)self->dim);
    return count == self->dim ? 1 : stop ? 0 : -1;
}

int source_embedding(source *self, float *out)
{
    size_t got;
    if (self->kind == SOURCE_TEXT)
        return read_line(self, out);
    got = fread(out, sizeof *out, self->dim, self->file);
    if (got != 0 && got < self->dim && !stop)
        complain("%s: it ends within an embedding of %u numbers", self->name, (unsigned)self->dim);
    return got == self->dim ? 1 : got == 0 || stop ? 0 : -1;
}

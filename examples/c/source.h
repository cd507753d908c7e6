/* source.h - where inputs come from: images of a camera or a file, or embeddings. */
#ifndef SOURCE_H
#define SOURCE_H

#include <signal.h>
#include <stdio.h>

#include "edgemeta.h"

/* Set by Ctrl-C; every source ends then. */
extern volatile sig_atomic_t stop;

enum source_kind { SOURCE_CAMERA, SOURCE_PPM, SOURCE_TEXT, SOURCE_FLOATS };

typedef struct camera camera;

typedef struct source {
    int kind;
    const char *name;
    FILE *file; /* of all but a camera */
    camera *camera;
    uint8_t *pixels; /* of a PPM */
    size_t room;
    uint32_t dim; /* of embeddings */
    unsigned long line;
} source;

/* These return 0, or a negative number after they said on stderr what was wrong. name: a file, "-" for standard
 * input, or a device. width and height: what a camera is asked for. */
int source_open(source *self, int kind, const char *name, uint32_t dim, uint32_t width, uint32_t height);
void source_close(source *self);

/* The next image, which stays until the next call; the next embedding, (dim,). 1; 0 at the end; negative: an error. */
int source_image(source *self, em_image *out);
int source_embedding(source *self, float *out);

/* camera_v4l2.c */
camera *camera_open(const char *device, uint32_t width, uint32_t height);
void camera_close(camera *self);
int camera_image(camera *self, em_image *out);

#endif

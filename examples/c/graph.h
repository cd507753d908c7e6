/* graph.h - a bundle's frozen graph: fitted pixels to an embedding. */
#ifndef GRAPH_H
#define GRAPH_H

#include "learner.h"

typedef struct graph graph;

/* NULL after it said on stderr why not. */
graph *graph_open(const learner *from);
void graph_close(graph *self);
/* The name that journals know it by. */
const char *graph_variant(const graph *self);
/* Where the pixels go, RGB uint8 (height, width, 3), before graph_run(). */
uint8_t *graph_pixels(graph *self);
/* The embedding, (dim,); NULL after it said on stderr what was wrong. */
const float *graph_run(graph *self);

#endif

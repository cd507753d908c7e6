/* state.h - what the files of the states share. */
#ifndef EDGEMETA_STATE_H
#define EDGEMETA_STATE_H

#include "dense.h"

#if defined(__GNUC__)
#define EM_INFINITY __builtin_inff()
#else
#include <math.h>
#define EM_INFINITY INFINITY
#endif

/* Memory that is given out part by part. Without memory it only counts: one walk finds the size, the same walk places. */
typedef struct em_walk {
    char *memory;
    size_t used;
} em_walk;

void *em_walk_take(em_walk *walk, size_t count, size_t size);

/* What a kind of state does. Everything was checked before: the class, the numbers, that there is room. */
struct em_state_kind_of {
    /* Places what the kind needs beside what all have. */
    void (*lay_out)(em_state *self, em_walk *walk);
    /* Room for so many more? EM_OK or EM_ERR_FULL. */
    int (*room)(const em_state *self, uint32_t count);
    /* Into the statistics, and what else is kept; the weights are left as they are. Cannot fail. */
    void (*put)(em_state *self, uint32_t of_class, const int32_t *q20);
    /* One more, and one less, with the weights. Only a removal can fail, with EM_ERR_NOT_FOUND. */
    void (*add)(em_state *self, uint32_t of_class, const int32_t *q20);
    int (*remove)(em_state *self, uint32_t of_class, const int32_t *q20);
    /* The weights anew, from all that is kept. Cannot fail. */
    void (*refit)(em_state *self);
    /* One row of float64 weights as of a head, into `row`; its bias is returned. The class has examples. */
    double (*weights)(const em_state *self, uint32_t of_class, double *row);
};

extern const struct em_state_kind_of em_state_means;

struct em_state {
    em_state_options options;
    const struct em_state_kind_of *kind;
    const em_kernels *kernels;
    em_statistics *statistics;
    uint32_t total;
    float *quick; /* (classes, dim): what predict uses, with bias (classes,) */
    float *bias;
    double *row;    /* (dim,), for the moment */
    double *centre; /* (dim,); centred means: the mean of the class means */
    double *factor; /* primal: room for an upper triangle, too, as long as nothing is taught */
};

/* Nothing is taught. */
void em_state_clear(em_state *self);

/* A class's weights to float32, for predict; -INFINITY without examples. Writes over self->row. */
void em_state_quicken(em_state *self, uint32_t of_class);

#endif

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

/* Memory that is given out part by part. Without memory it only counts: one walk finds the size, and the same walk
 * places. */
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
    /* Whether so many, one after the other, take less time than a fit of all. */
    int (*few)(const em_state *self, uint32_t count);
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

extern const struct em_state_kind_of em_state_means, em_state_dual, em_state_primal;

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

    /* ridge */
    double lambda;    /* of the options, or the smallest that float64 can tell from 0 */
    uint32_t changes; /* since the last fit */
    double *weights;  /* (classes, dim), of targets that are one-hot whatever `balance` says */
    double *biases;   /* (classes,) of these; they follow from the mean */
    double *whole;    /* (dim,): the sum of all examples, exact */
    double *errors;   /* (classes,): of one example, what its target has beyond its prediction */
    double *factor;   /* dual: rows of L; primal: room for an upper triangle, too, as long as nothing is taught */

    /* dual; `held` of the examples, the first `total` of `slots` */
    int32_t *held;      /* (examples, dim), each in its slot */
    uint32_t *slots;    /* (examples,): the slots by position; behind those that are taken the free ones */
    uint32_t *classes;  /* (examples,), by position */
    int32_t *origin;    /* (dim,): what the examples are taken from, so that their common mean costs no digits */
    int32_t *off;       /* (dim,): one example from there */
    double *ones;       /* (examples,): (K + lambda I)^-1 1 */
    double *turns;      /* (2 examples,), for the moment */

    double *along; /* dual: (examples,); primal: (dim,) to whole tiles; for the moment */
    double *step;  /* (dim,), primal: to whole tiles: the direction in which the weights move */
};

/* Nothing is taught. */
void em_state_clear(em_state *self);

/* Sums of examples into the statistics; the weights are left as they are. */
int em_state_put_sums(em_state *self, uint32_t of_class, uint32_t count, const double *sum, const double *moment);

/* A class's weights to float32, for predict; -INFINITY without examples. Writes over self->row. */
void em_state_quicken(em_state *self, uint32_t of_class);

/* What both kinds of ridge share: state_ridge.c. */
void em_ridge_lay_out(em_state *self, em_walk *walk);
void em_ridge_clear(em_state *self);
/* The lambda of the options, for a system of that norm times size. */
double em_ridge_lambda(const em_state *self, double size);
/* One example into the statistics (sign 1) or out of them (-1). */
void em_ridge_count(em_state *self, uint32_t of_class, const int32_t *q20, int sign);
/* self->errors of one example, by what is there. Writes over self->row. */
void em_ridge_errors(em_state *self, uint32_t of_class, const int32_t *q20);
/* Every class's weights += factor * its error * step; and all that follows from them. */
void em_ridge_move(em_state *self, double factor, const double *step);
/* What follows from the weights. */
void em_ridge_quicken(em_state *self);
double em_ridge_row(const em_state *self, uint32_t of_class, double *row);

#endif

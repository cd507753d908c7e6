/* learner.h - a bundle, a journal and a state of edgemeta together: what `Learner` is in Python. */
#ifndef LEARNER_H
#define LEARNER_H

#include "edgemeta.h"

#define LEARNER_LABEL 256 /* bytes of a label, with its zero */

typedef struct learner_options {
    const char *bundle, *journal; /* files; the journal is made where there is none */
    const char *head;             /* "euclidean", "cosine", "centred", "ridge"; NULL: as the bundle says */
    double lambda;                /* of ridge; 0: as the bundle says */
    uint32_t classes, examples;   /* room for so many */
} learner_options;

typedef struct learner {
    learner_options options;
    const void *bundle; /* mapped, and head points into it */
    size_t bundle_size;
    em_headbin head;
    const em_kernels *kernels;
    em_store store;
    em_journal *journal;
    em_state_options kind;
    em_state *state;
    void *store_memory, *journal_memory, *state_memory;
    size_t state_size;
    int32_t *q20, *scratch;
    float *scores;
} learner;

typedef struct learner_answer {
    const char *label;
    double confidence; /* 0 to 1; negative where a single class is known, with nothing to compare it with */
} learner_answer;

/* All of these return EM_OK or a count, or a negative em_status after they said on stderr what was wrong. */
int learner_open(learner *self, const learner_options *options);
void learner_close(learner *self);

/* An embedding as the graph gives it, (dim,), to self->q20. EM_ERR_VALUE: not one that can be learned; says nothing. */
int learner_take(learner *self, const float *raw);
/* Teach self->q20; durable when it returns. variant: the name of the graph, NULL without one. Returns how many examples
 * of the label there are. */
int learner_learn(learner *self, const char *label, const char *variant);
/* The class of self->q20. EM_ERR_STATE where nothing was taught; says nothing. */
int learner_predict(learner *self, learner_answer *out);
/* Take back the newest call that changed something. EM_ERR_NOT_FOUND where there is none; says nothing. */
int learner_undo(learner *self);
/* Forget a class. Returns how many examples went. EM_ERR_NOT_FOUND where there is none such; says nothing. */
int learner_forget(learner *self, const char *label);
/* Return when everything is on the disk. */
int learner_save(learner *self);
/* Rewrite the journal without what was forgotten. */
int learner_compact(learner *self);

#endif

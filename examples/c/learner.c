/* learner.c - a bundle, a journal and a state together. The journal comes first: what it refused is not learned. */
#define _POSIX_C_SOURCE 200809L
#include "learner.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"

/* Memory for an object of the core: all of it is taken here, when the program starts. */
static void *aligned(size_t size)
{
    void *memory = NULL;
    if (size == 0 || posix_memalign(&memory, EM_ALIGN, size) != 0)
        return NULL;
    return memory;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static int map_bundle(learner *self)
{
    const char *path = self->options.bundle;
    struct stat info;
    void *mapped;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        complain("%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return EM_ERR_IO;
    }
    mapped = S_ISREG(info.st_mode) && info.st_size > 0
                 ? mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0)
                 : MAP_FAILED;
    close(fd);
    if (mapped == MAP_FAILED) {
        complain("%s: it is no bundle", path);
        return EM_ERR_DAMAGED;
    }
    self->bundle = mapped;
    self->bundle_size = (size_t)info.st_size;
    return EM_OK;
}

static int read_bundle(learner *self)
{
    size_t offset, length;
    int status = map_bundle(self);
    if (status < 0)
        return status;
    status = em_bundle_find_head(self->bundle, self->bundle_size, &offset, &length);
    if (status == EM_OK)
        status = em_headbin_read((const char *)self->bundle + offset, length, &self->head);
    if (status < 0)
        complain("%s: %s", self->options.bundle,
                 status == EM_ERR_DAMAGED ? "it is no bundle, or damaged" : meaning(status));
    else if (self->head.prior_count > 0)
        complain("%s: its %u named classes are left out here, as prior=False does in Python", self->options.bundle,
                 (unsigned)self->head.prior_count);
    return status;
}

/* Which state keeps this head. */
static int choose_state(learner *self)
{
    static const char *const means[] = {"euclidean", "cosine", "centred"};
    const char *name = self->options.head != NULL ? self->options.head : self->head.head;
    em_state_options *kind = &self->kind;
    kind->dim = self->head.dim;
    kind->classes = self->options.classes;
    for (int i = 0; i < 3; i++)
        if (strcmp(name, means[i]) == 0) {
            kind->kind = EM_STATE_MEANS;
            kind->means = EM_EUCLIDEAN + i;
            return EM_OK;
        }
    if (strcmp(name, "ridge") != 0) {
        complain("the C core has no state for the head %s; say --head euclidean, cosine, centred or ridge", name);
        return EM_ERR_UNSUPPORTED;
    }
    kind->lambda = self->options.lambda > 0.0 ? self->options.lambda : self->head.lambda;
    if (!(kind->lambda > 0.0)) {
        complain("head ridge needs a lambda, and the bundle names none: say --lambda 0.1, or what suits your examples");
        return EM_ERR_VALUE;
    }
    kind->balance = self->head.balance;
    /* From examples where there are fewer than dimensions, else from sums, whose size is the same for any number. */
    kind->kind = self->options.examples < kind->dim ? EM_STATE_DUAL : EM_STATE_PRIMAL;
    kind->examples = kind->kind == EM_STATE_DUAL ? self->options.examples : 0;
    return EM_OK;
}

static int take_memory(learner *self)
{
    uint32_t dim = self->head.dim;
    self->state_size = em_state_size(&self->kind);
    self->state_memory = aligned(self->state_size);
    self->q20 = aligned(dim * sizeof *self->q20);
    self->scratch = aligned(dim * sizeof *self->scratch);
    self->scores = aligned(self->kind.classes * sizeof *self->scores);
    if (self->state_size == 0)
        complain("this build has no state for that head with %u classes", (unsigned)self->kind.classes);
    else if (self->state_memory == NULL || !self->q20 || !self->scratch || !self->scores)
        complain("no memory for a state of %zu bytes", self->state_size);
    else
        return EM_OK;
    return EM_ERR_MEMORY;
}

static int open_journal(learner *self)
{
    const learner_options *options = &self->options;
    em_journal_limits limits = {.examples = options->examples, .classes = options->classes, .uuids = 256,
                                .ranges = 4096, .undo = 64, .seals = 64, .seal_ranges = 4096};
    em_journal_options how = {
        .embedding_id = self->head.embedding_id, .dim = self->head.dim, .mode = EM_JOURNAL_WRITE};
    size_t size = em_journal_size(&limits);
    int status;
    self->store_memory = aligned(em_posix_size());
    self->journal_memory = aligned(size);
    if (self->store_memory == NULL || self->journal_memory == NULL) {
        complain("no memory for a journal of %zu bytes", size);
        return EM_ERR_MEMORY;
    }
    status = em_posix_open(self->store_memory, em_posix_size(), options->journal, 0, &self->store);
    if (status == EM_OK)
        status = em_journal_open(self->journal_memory, size, &limits, &self->store, &how, &self->journal);
    if (status < 0)
        complain("%s: %s", options->journal, meaning(status));
    else if (em_journal_torn(self->journal) > 0)
        complain("%s: a cut of power left %llu bytes of a call that had not returned; they are gone", options->journal,
                 (unsigned long long)em_journal_torn(self->journal));
    return status;
}

/* Everything in the journal into a state in which nothing was taught. */
static int load(learner *self)
{
    int status = em_state_init(self->state_memory, self->state_size, self->kernels, &self->kind, &self->state);
    if (status == EM_OK)
        status = em_state_load(self->state, self->journal, self->scratch);
    if (status < 0)
        complain("%s: %s", self->options.journal, meaning(status));
    return status;
}

int learner_open(learner *self, const learner_options *options)
{
    int status;
    memset(self, 0, sizeof *self);
    self->options = *options;
    self->kernels = em_kernels_find(NULL);
    if (self->kernels == NULL) {
        complain("EDGEMETA_KERNELS names an instruction set that this machine has not");
        return EM_ERR_UNSUPPORTED;
    }
    status = read_bundle(self);
    if (status == EM_OK)
        status = choose_state(self);
    if (status == EM_OK)
        status = take_memory(self);
    if (status == EM_OK)
        status = open_journal(self);
    if (status == EM_OK)
        status = load(self);
    if (status < 0)
        learner_close(self);
    return status;
}

void learner_close(learner *self)
{
    if (self->store.user != NULL)
        em_posix_close(&self->store);
    if (self->bundle != NULL)
        munmap((void *)self->bundle, self->bundle_size);
    free(self->store_memory);
    free(self->journal_memory);
    free(self->state_memory);
    free(self->q20);
    free(self->scratch);
    free(self->scores);
    memset(self, 0, sizeof *self);
}

/* ---- learning --------------------------------------------------------------------------------------------------- */

int learner_take(learner *self, const float *raw)
{
    const em_headbin *head = &self->head;
    return em_normalise(raw, head->dim, head->centre, head->power, head->l2, head->scale, self->q20);
}

int learner_learn(learner *self, const char *label, const char *variant)
{
    em_example example = {.label = label, .variant = variant, .q20 = self->q20};
    int status = EM_OK, of_class;
    /* What the state cannot take must not get into the journal. */
    if (self->kind.kind == EM_STATE_DUAL && em_state_total(self->state) >= self->kind.examples)
        status = EM_ERR_FULL;
    if (status == EM_OK)
        status = em_journal_append(self->journal, &example, 1, NULL);
    if (status < 0) {
        complain("%s: '%s' was not learned: %s", self->options.journal, label, meaning(status));
        return status;
    }
    of_class = em_journal_class(self->journal, label);
    status = em_state_add(self->state, (uint32_t)of_class, self->q20);
    if (status < 0)
        return load(self);
    return (int)em_state_count(self->state, (uint32_t)of_class);
}

/* softmax(temperature * scores) of the best; the bundle's temperature. (Python fits it to what was taught.) */
static double confidence(const learner *self, int best)
{
    double sum = 0.0;
    int known = 0;
    for (uint32_t c = 0; c < self->kind.classes; c++)
        if (em_state_count(self->state, c) > 0) {
            sum += exp(self->head.temperature * ((double)self->scores[c] - (double)self->scores[best]));
            known++;
        }
    return known < 2 ? -1.0 : 1.0 / sum;
}

int learner_predict(learner *self, learner_answer *out)
{
    int best = em_state_predict_q20(self->state, self->q20, self->scores);
    if (best < 0)
        return best;
    out->label = em_journal_label(self->journal, (uint32_t)best, NULL);
    out->confidence = confidence(self, best);
    return EM_OK;
}

int learner_undo(learner *self)
{
    int status = em_journal_undo(self->journal);
    if (status == EM_ERR_NOT_FOUND)
        return status;
    if (status < 0) {
        complain("%s: nothing was undone: %s", self->options.journal, meaning(status));
        return status;
    }
    return load(self);
}

int learner_forget(learner *self, const char *label)
{
    uint32_t before = em_state_total(self->state);
    int status = em_journal_forget_label(self->journal, label);
    if (status == EM_ERR_NOT_FOUND)
        return status;
    if (status < 0) {
        complain("%s: '%s' was not forgotten: %s", self->options.journal, label, meaning(status));
        return status;
    }
    status = load(self);
    return status < 0 ? status : (int)(before - em_state_total(self->state));
}

int learner_save(learner *self)
{
    int status = em_journal_sync(self->journal);
    if (status < 0)
        complain("%s: %s", self->options.journal, meaning(status));
    return status;
}

int learner_compact(learner *self)
{
    int status = em_journal_compact(self->journal);
    if (status < 0)
        complain("%s: %s", self->options.journal, meaning(status));
    return status < 0 ? status : load(self);
}

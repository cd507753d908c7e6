/* state_load.c - a journal into a state: on its own, for programs that have no journal. */
#include "state.h"

/* Every seal: its sums into the state. */
static int load_seals(em_state *self, em_journal *journal)
{
    uint32_t count = em_journal_seals(journal);
    double *moment = self->options.kind == EM_STATE_PRIMAL ? self->factor : NULL;
    em_seal seal;
    for (uint32_t i = 0; i < count; i++) {
        int status = em_journal_seal(journal, i, &seal);
        if (status == EM_OK && self->options.kind == EM_STATE_DUAL)
            status = EM_ERR_UNSUPPORTED;
        if (status == EM_OK && moment != NULL && !seal.moment)
            status = EM_ERR_UNSUPPORTED;
        if (status == EM_OK && seal.count > UINT32_MAX - self->total)
            status = EM_ERR_SIZE;
        if (status == EM_OK)
            status = em_journal_seal_sums(journal, i, self->row, moment);
        if (status >= EM_OK)
            status = em_state_put_sums(self, seal.of_class, (uint32_t)seal.count, self->row, moment);
        if (status < EM_OK)
            return status;
    }
    return EM_OK;
}

static int load_examples(em_state *self, em_journal *journal, int32_t *q20)
{
    uint32_t count = em_journal_count(journal);
    em_live live;
    if (count > UINT32_MAX - self->total)
        return EM_ERR_SIZE;
    if (self->kind->room(self, count) != EM_OK)
        return EM_ERR_FULL;
    for (uint32_t i = 0; i < count; i++) {
        int status = em_journal_get(journal, i, &live);
        if (status == EM_OK && live.of_class >= self->options.classes)
            status = EM_ERR_NOT_FOUND;
        if (status == EM_OK)
            status = em_journal_embedding(journal, i, q20);
        if (status >= EM_OK)
            status = em_check_q20(self->kernels, q20, self->options.dim, 1);
        if (status < EM_OK)
            return status;
        self->kind->put(self, live.of_class, q20);
    }
    return EM_OK;
}

int em_state_load(em_state *state, em_journal *journal, int32_t *scratch)
{
    int status;
    if (state == NULL || journal == NULL || scratch == NULL)
        return EM_ERR_NULL;
    if (state->total != 0)
        return EM_ERR_STATE;
    if (em_journal_dim(journal) != state->options.dim)
        return EM_ERR_MISMATCH;
    status = load_seals(state, journal);
    if (status == EM_OK)
        status = load_examples(state, journal, scratch);
    if (status == EM_OK)
        state->kind->refit(state);
    else
        em_state_clear(state);
    return status;
}

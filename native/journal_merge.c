/* journal_merge.c - uniting two journals: a set union by id in which tombstones win. Idempotent, and the order does not
 * matter. Everything is looked at before anything is written. */
#include "journal.h"

/* The two contradict each other: one id with two contents, or a seal of which only a part is gone or shared. */
#define CONFLICT EM_ERR_VALUE

struct merging {
    em_journal *mine, *theirs;
    emj_draft *draft;
    uint32_t targets; /* of what is staged, EM_ANY_TARGETS where nothing is */
    int mixed;
};

/* Whether their examples have as many targets as ours. */
static int check_kind(const em_journal *mine, const em_journal *theirs)
{
    uint32_t own = mine->mixed ? EM_ANY_TARGETS : mine->targets;
    uint32_t kind = mine->wanted != EM_ANY_TARGETS ? mine->wanted : own;
    if (kind == EM_ANY_TARGETS || (!theirs->mixed && theirs->targets == EM_ANY_TARGETS))
        return EM_OK;
    return theirs->mixed || theirs->targets != kind ? EM_ERR_MISMATCH : EM_OK;
}

/* The number that a run of theirs has here, or EM_ERR_NOT_FOUND. */
static int find_here(const struct merging *merging, uint32_t uuid)
{
    return emj_uuid_find(merging->mine, merging->theirs->uuids[uuid].bytes);
}

static int take_here(const struct merging *merging, uint32_t uuid)
{
    return emj_uuid_take(merging->mine, merging->theirs->uuids[uuid].bytes);
}

static int same_label(const struct merging *merging, uint32_t mine, uint32_t theirs)
{
    const emj_class *a = &merging->mine->classes[mine], *b = &merging->theirs->classes[theirs];
    return a->size == b->size &&
           memcmp(emj_label_of(merging->mine, mine), emj_label_of(merging->theirs, theirs), a->size) == 0;
}

/* ---- what they forgot -------------------------------------------------------------------------------------------- */

/* The parts of a run that are not forgotten here, to the draft. */
static int draft_missing(const struct merging *merging, const emj_range *theirs)
{
    em_journal *mine = merging->mine;
    uint64_t at = theirs->first;
    int status = EM_OK, uuid = take_here(merging, theirs->uuid);
    if (uuid < 0)
        return uuid;
    while (status == EM_OK && at < theirs->end) {
        const emj_range *known = emj_ranges_from(&mine->dead, (uint32_t)uuid, at);
        uint64_t end = known != NULL && known->first < theirs->end ? known->first : theirs->end;
        if (end > at)
            status = emj_ranges_add(&mine->draft, (uint32_t)uuid, at, end);
        at = known != NULL ? known->end : theirs->end;
    }
    return status;
}

static int draft_tombstones(const struct merging *merging)
{
    int status = EM_OK;
    for (uint32_t i = 0; status == EM_OK && i < merging->theirs->dead.count; i++)
        status = draft_missing(merging, &merging->theirs->dead.items[i]);
    return status;
}

/* 1 where a seal of `of` is forgotten in `in`, 0 where it is not, CONFLICT where a part of it is. */
static int is_forgotten(const em_journal *of, const emj_seal *seal, const em_journal *in)
{
    uint64_t gone = 0;
    for (uint32_t i = 0; i < seal->ranges; i++) {
        const emj_range *part = &of->pool[seal->first_range + i];
        int uuid = emj_uuid_find(in, of->uuids[part->uuid].bytes);
        if (uuid >= 0)
            gone += emj_ranges_shared(&in->dead, (uint32_t)uuid, part->first, part->end);
    }
    return gone == 0 ? 0 : gone == seal->count ? 1 : CONFLICT;
}

/* ---- seals ------------------------------------------------------------------------------------------------------- */

/* How many ids a seal of theirs shares with these runs of ours. */
static uint64_t shared(const struct merging *merging, const emj_seal *theirs, const emj_range *runs, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < theirs->ranges; i++) {
        emj_range part = merging->theirs->pool[theirs->first_range + i];
        int uuid = find_here(merging, part.uuid);
        part.uuid = (uint32_t)uuid;
        if (uuid >= 0)
            sum += emj_runs_shared(&part, 1, runs, count);
    }
    return sum;
}

/* EM_OK where the examples here that their seal holds have its label. */
static int check_examples(const struct merging *merging, const emj_seal *theirs)
{
    const em_journal *mine = merging->mine;
    for (uint32_t k = 0; k < theirs->ranges; k++) {
        const emj_range *part = &merging->theirs->pool[theirs->first_range + k];
        int uuid = find_here(merging, part->uuid);
        for (uint32_t i = 0; uuid >= 0 && i < mine->live_count; i++) {
            const emj_live *each = &mine->live[i];
            int held = each->uuid == (uint32_t)uuid && each->counter >= part->first && each->counter < part->end;
            if (held && !same_label(merging, each->of_class, theirs->of_class))
                return CONFLICT;
        }
    }
    return EM_OK;
}

static uint64_t sums_of(const em_journal *journal, const emj_seal *seal)
{
    uint64_t dim = journal->header.dim;
    return dim + (seal->moment ? dim * (dim + 1) / 2 : 0);
}

static int expect_seal(em_journal *journal, const emj_seal *seal, uint64_t *at)
{
    emj_record record;
    int status = emj_expect(&journal->source, seal->offset, EMJ_IS_SEAL, &record);
    if (status == EM_OK && record.frame.length != seal->length)
        status = EM_ERR_DAMAGED;
    *at = record.offset + EMJ_FRAME + seal->length - 8 * sums_of(journal, seal);
    return status == EM_OK ? emj_read_numbers(&journal->source, *at, sums_of(journal, seal), NULL) : status;
}

/* Two seals of the same examples: the sums that both have must be equal. */
static int check_sums(const struct merging *merging, const emj_seal *ours, const emj_seal *theirs)
{
    uint64_t at[2], count = sums_of(merging->mine, ours), other = sums_of(merging->theirs, theirs);
    int status = expect_seal(merging->mine, ours, &at[0]);
    if (status == EM_OK)
        status = expect_seal(merging->theirs, theirs, &at[1]);
    for (uint64_t i = 0; status == EM_OK && i < (count < other ? count : other); i++) {
        const uint8_t *mine, *their;
        status = emj_bytes(&merging->mine->source, at[0] + 8 * i, 8, &mine);
        if (status == EM_OK)
            status = emj_bytes(&merging->theirs->source, at[1] + 8 * i, 8, &their);
        /* As numbers: zero has two signs. */
        if (status == EM_OK && emj_double(emj_load64(mine)) != emj_double(emj_load64(their)))
            status = CONFLICT;
    }
    return status;
}

/* 1 where their seal says more than ours, else 0. Of two that overlap, one must hold all that the other holds. */
static int is_wanted(const struct merging *merging, const emj_seal *theirs)
{
    const em_journal *mine = merging->mine;
    int status = check_examples(merging, theirs), wanted = 1;
    for (uint32_t i = 0; status == EM_OK && i < mine->seal_count; i++) {
        const emj_seal *ours = &mine->seals[i];
        uint64_t both = shared(merging, theirs, mine->pool + ours->first_range, ours->ranges);
        if (both == 0)
            continue;
        if (!same_label(merging, ours->of_class, theirs->of_class) || (both != ours->count && both != theirs->count))
            return CONFLICT;
        if (both == ours->count && both == theirs->count) {
            status = check_sums(merging, ours, theirs);
            wanted &= theirs->moment && !ours->moment;
        } else {
            wanted &= both == ours->count;
        }
    }
    return status < 0 ? status : wanted;
}

static int stage_seal(const struct merging *merging, const emj_seal *theirs)
{
    em_journal *mine = merging->mine;
    const em_journal *other = merging->theirs;
    uint32_t size = other->classes[theirs->of_class].size;
    emj_range *tail = emj_pool_tail(mine);
    int status;
    if (theirs->ranges > emj_pool_room(mine))
        return EM_ERR_FULL;
    for (uint32_t i = 0; i < theirs->ranges; i++) {
        tail[i] = other->pool[theirs->first_range + i];
        int uuid = take_here(merging, tail[i].uuid);
        if (uuid < 0)
            return uuid;
        tail[i].uuid = (uint32_t)uuid;
        tail[i].rank = 0;
    }
    const uint8_t *label = (const uint8_t *)emj_label_of(other, theirs->of_class);
    emj_seal *each = emj_draft_seal(mine, label, size, theirs->count, theirs->ranges, &status);
    if (each == NULL)
        return status;
    each->offset = theirs->offset;
    each->length = theirs->length;
    each->moment = theirs->moment;
    return EM_OK;
}

static int stage_seals(struct merging *merging)
{
    em_journal *mine = merging->mine, *theirs = merging->theirs;
    for (uint32_t i = 0; i < mine->seal_count; i++)
        if (is_forgotten(mine, &mine->seals[i], theirs) < 0)
            return CONFLICT;
    for (uint32_t i = 0; i < theirs->seal_count; i++) {
        const emj_seal *seal = &theirs->seals[i];
        int status = is_forgotten(theirs, seal, mine);
        int wanted = status == 0 ? is_wanted(merging, seal) : 0;
        if (status >= 0 && wanted > 0)
            status = stage_seal(merging, seal);
        if (status < 0 || wanted < 0)
            return status < 0 ? status : wanted;
    }
    return EM_OK;
}

/* ---- examples ---------------------------------------------------------------------------------------------------- */

/* An example that both have must be the same to the byte. */
static int compare(const struct merging *merging, const emj_live *ours, const emj_record *theirs)
{
    emj_record record;
    int status = emj_expect(&merging->mine->source, ours->offset, EMJ_IS_EXAMPLE, &record);
    if (status == EM_OK && record.frame.length != theirs->frame.length)
        status = CONFLICT;
    if (status < 0)
        return status;
    return emj_compare(&merging->mine->source, record.offset + EMJ_FRAME, &merging->theirs->source,
                       theirs->offset + EMJ_FRAME, record.frame.length);
}

/* The seal here that holds an id, or NULL. */
static const emj_seal *find_seal(const em_journal *mine, uint32_t uuid, uint64_t counter)
{
    emj_range one = {counter, counter + 1, uuid, 0};
    for (uint32_t i = 0; i < mine->seal_count; i++)
        if (emj_runs_shared(&one, 1, mine->pool + mine->seals[i].first_range, mine->seals[i].ranges))
            return &mine->seals[i];
    return NULL;
}

static int stage_example(struct merging *merging, const emj_live *theirs, const emj_record *record)
{
    em_journal *other = merging->theirs;
    emj_example example;
    int status = emj_read_example(&other->source, record, other->header.dim, &example);
    int uuid = status < 0 ? status : take_here(merging, theirs->uuid);
    if (uuid < 0)
        return uuid;
    emj_live *each = emj_draft_stage(merging->mine, merging->draft, example.label, example.label_size, &status);
    if (each == NULL)
        return status;
    each->uuid = (uint32_t)uuid;
    each->counter = theirs->counter;
    each->offset = theirs->offset;
    each->length = record->frame.length;
    each->group = theirs->group;
    merging->mixed |= merging->targets != EM_ANY_TARGETS && merging->targets != example.targets;
    merging->targets = example.targets;
    return EM_OK;
}

static int take_example(struct merging *merging, const emj_live *theirs)
{
    em_journal *mine = merging->mine;
    emj_record record;
    int uuid = find_here(merging, theirs->uuid), index = EM_ERR_NOT_FOUND;
    if (uuid >= 0 && emj_ranges_hold(&mine->dead, (uint32_t)uuid, theirs->counter))
        return EM_OK;
    int status = emj_expect(&merging->theirs->source, theirs->offset, EMJ_IS_EXAMPLE, &record);
    if (status < 0)
        return status;
    if (uuid >= 0 && theirs->counter < mine->uuids[uuid].highest)
        index = emj_live_find(mine, (uint32_t)uuid, theirs->counter);
    if (index >= 0)
        return compare(merging, &mine->live[index], &record);
    const emj_seal *seal = uuid >= 0 ? find_seal(mine, (uint32_t)uuid, theirs->counter) : NULL;
    if (seal != NULL)
        return same_label(merging, seal->of_class, theirs->of_class) ? EM_OK : CONFLICT;
    return stage_example(merging, theirs, &record);
}

static int stage_all(struct merging *merging)
{
    em_journal *theirs = merging->theirs;
    int status = draft_tombstones(merging);
    if (status == EM_OK)
        status = stage_seals(merging);
    for (uint32_t i = 0; status == EM_OK && i < theirs->live_count; i++)
        status = take_example(merging, &theirs->live[i]);
    return status;
}

/* What came is known: whether it has targets. */
static void note_kinds(em_journal *journal, const struct merging *merging, uint32_t seals)
{
    if (seals != 0)
        emj_note_targets(journal, 0); /* only examples without a target are sealed */
    if (merging->targets != EM_ANY_TARGETS)
        emj_note_targets(journal, merging->targets);
    journal->mixed |= merging->mixed;
}

static int check_both(const em_journal *mine, const em_journal *theirs)
{
    int status = emj_check_writable(mine);
    if (status < 0 || theirs == NULL)
        return status < 0 ? status : EM_ERR_NULL;
    if (theirs->broken)
        return EM_ERR_STATE;
    if (mine->header.dim != theirs->header.dim ||
        memcmp(mine->header.embedding_id, theirs->header.embedding_id, 32) != 0)
        return EM_ERR_MISMATCH;
    return check_kind(mine, theirs);
}

int em_journal_merge(em_journal *journal, em_journal *other)
{
    emj_draft draft;
    struct merging merging = {journal, other, &draft, EM_ANY_TARGETS, 0};
    int status = check_both(journal, other);
    if (status < 0)
        return status;
    if (other == journal)
        return 0;
    journal->source.size = other->source.size = 0; /* what is on the disk now counts */
    status = emj_draft_begin(journal, &draft);
    draft.other = other;
    draft.flags = EMJ_MERGE;
    if (status == EM_OK)
        status = stage_all(&merging);
    int came = (int)draft.staged, seals = (int)journal->staged_seals; /* at most the limits, which fit */
    if (status < 0 || (came == 0 && seals == 0 && journal->draft.count == 0))
        return emj_draft_drop(journal, &draft, status);
    status = emj_draft_finish(journal, &draft);
    if (status < 0)
        return status;
    note_kinds(journal, &merging, (uint32_t)seals);
    return came;
}

/* journal_removed.c - what a transaction removed, worked out from the file itself and staged to come back.
 *
 * Its tombstones removed the examples and seals before it that they name; each of its seals removed those before it
 * that it holds. Before it means: recorded there, and not removed since by a tombstone or a seal that is before it
 * too. */
#include "journal.h"

struct removing {
    em_journal *journal;
    emj_draft *draft;
    uint64_t named;   /* how many ids the tombstones name */
    uint64_t live;    /* how many live examples there were at this step */
    uint32_t from;    /* the first staged example of this step */
    uint32_t ranges;  /* runs of the seal that is looked at: at the pool's tail */
    int overlaps;
};

static int load_range(em_journal *journal, const uint8_t *data, emj_range *out)
{
    int uuid = emj_range_check(data) < 0 ? EM_ERR_NOT_FOUND : emj_uuid_find(journal, data);
    if (uuid < 0)
        return EM_ERR_DAMAGED;
    out->uuid = (uint32_t)uuid;
    out->rank = 0;
    out->first = emj_load64(data + 16);
    out->end = out->first + emj_load64(data + 24);
    return EM_OK;
}

/* The runs of a tombstone or a seal, one after another. */
typedef int (*each_range)(struct removing *removing, const emj_range *range);

static int tombstone_ranges(struct removing *removing, const emj_record *record, each_range take)
{
    const uint8_t *data;
    emj_range range;
    int status = emj_bytes(&removing->journal->source, record->offset + EMJ_FRAME, EMJ_RANGE, &data);
    if (status == EM_OK)
        status = load_range(removing->journal, data, &range);
    return status < 0 ? status : take(removing, &range);
}

static int seal_ranges(struct removing *removing, const emj_record *record, each_range take)
{
    emj_source *source = &removing->journal->source;
    emj_seal_head head;
    const uint8_t *data;
    int status = emj_read_seal(source, record, removing->journal->header.dim, &head, &data);
    for (uint32_t i = 0; status == EM_OK && i < head.ranges; i++) {
        emj_range range;
        uint64_t at = record->offset + EMJ_FRAME + head.at + (uint64_t)i * EMJ_RANGE;
        status = emj_bytes(source, at, EMJ_RANGE, &data);
        if (status == EM_OK)
            status = load_range(removing->journal, data, &range);
        if (status == EM_OK)
            status = take(removing, &range);
    }
    return status;
}

/* ---- one record after another ------------------------------------------------------------------------------------ */

static int add_named(struct removing *removing, const emj_range *range)
{
    uint64_t size = range->end - range->first;
    removing->named = size > UINT64_MAX - removing->named ? UINT64_MAX : removing->named + size;
    return emj_ranges_add(&removing->journal->draft, range->uuid, range->first, range->end);
}

/* A tombstone of the transaction itself, to the draft. */
static int take_named(void *of, const emj_record *record)
{
    return tombstone_ranges(of, record, add_named);
}

/* An example that is restored; mark and counter say where it comes in their order. */
static int stage(struct removing *removing, const emj_record *record, const emj_example *example, uint32_t uuid,
                 uint32_t mark)
{
    int status;
    emj_live *each =
        emj_draft_stage(removing->journal, removing->draft, example->label, example->label_size, &status);
    if (each == NULL)
        return status;
    each->counter = example->id.counter;
    each->uuid = uuid;
    each->offset = record->offset;
    each->length = record->frame.length;
    each->group = example->has_group ? emj_group_hash(example->group, example->group_size) : 0;
    each->mark = mark;
    return EM_OK;
}

/* An example before the transaction: staged where the draft names it. */
static int take_buried(void *of, const emj_record *record)
{
    struct removing *removing = of;
    em_journal *journal = removing->journal;
    emj_example example;
    int status = emj_read_example(&journal->source, record, journal->header.dim, &example);
    if (status < 0)
        return status;
    int uuid = emj_uuid_find(journal, example.id.uuid);
    if (uuid < 0 || !emj_ranges_hold(&journal->draft, (uint32_t)uuid, example.id.counter))
        return EM_OK;
    return stage(removing, record, &example, (uint32_t)uuid, journal->uuids[uuid].rank[journal->draft.which]);
}

/* The same where the seal at the pool's tail holds it. */
static int take_sealed(void *of, const emj_record *record)
{
    struct removing *removing = of;
    em_journal *journal = removing->journal;
    const emj_range *held = emj_pool_tail(journal);
    emj_example example;
    int status = emj_read_example(&journal->source, record, journal->header.dim, &example);
    if (status < 0)
        return status;
    int uuid = emj_uuid_find(journal, example.id.uuid);
    for (uint32_t i = 0; uuid >= 0 && i < removing->ranges; i++)
        if (held[i].uuid == (uint32_t)uuid && held[i].first <= example.id.counter && example.id.counter < held[i].end)
            return stage(removing, record, &example, (uint32_t)uuid, i);
    return EM_OK;
}

static int unstage(struct removing *removing, const emj_range *range)
{
    em_journal *journal = removing->journal;
    emj_live *staged = journal->live + journal->live_count;
    uint32_t kept = removing->from;
    for (uint32_t i = removing->from; i < removing->draft->staged; i++) {
        if (staged[i].uuid == range->uuid && staged[i].counter >= range->first && staged[i].counter < range->end)
            journal->classes[staged[i].of_class].count--;
        else
            staged[kept++] = staged[i];
    }
    removing->draft->staged = kept;
    return EM_OK;
}

/* A tombstone or a seal before the transaction: what it names was not there any more. */
static int drop_dead_before(void *of, const emj_record *record)
{
    return tombstone_ranges(of, record, unstage);
}

static int drop_sealed_before(void *of, const emj_record *record)
{
    return seal_ranges(of, record, unstage);
}

/* ---- the order of what comes back -------------------------------------------------------------------------------- */

static int is_after(const emj_live *a, const emj_live *b)
{
    return a->mark != b->mark ? a->mark > b->mark : a->counter > b->counter;
}

static void sift(emj_live *items, uint32_t root, uint32_t count)
{
    while (root < count / 2) {
        uint32_t child = 2 * root + 1;
        if (child + 1 < count && is_after(&items[child + 1], &items[child]))
            child++;
        if (!is_after(&items[child], &items[root]))
            return;
        emj_live kept = items[root];
        items[root] = items[child];
        items[child] = kept;
        root = child;
    }
}

/* Heapsort by run and counter: new ids are given in the order in which the runs name the old ones. */
static void sort(emj_live *items, uint32_t count)
{
    for (uint32_t i = count / 2; i > 0; i--)
        sift(items, i - 1, count);
    for (uint32_t left = count; left > 1; left--) {
        emj_live last = items[left - 1];
        items[left - 1] = items[0];
        items[0] = last;
        sift(items, 0, left - 1);
    }
}

/* Stage the examples that one step removed: those before `end` that `take` finds. */
static int stage_examples(struct removing *removing, uint64_t start, uint64_t end, uint64_t named, emj_visit take)
{
    em_journal *journal = removing->journal;
    emj_draft *draft = removing->draft;
    removing->from = draft->staged;
    int status = emj_walk(journal, start, EMJ_IS_EXAMPLE, take, removing);
    if (status == EM_OK)
        status = emj_walk(journal, start, EMJ_IS_TOMBSTONE, drop_dead_before, removing);
    if (status == EM_OK)
        status = emj_walk(journal, start, EMJ_IS_SEAL, drop_sealed_before, removing);
    if (status == EM_OK) /* of the transaction itself: the seals before this one */
        status = emj_walk_records(journal, start, end, EMJ_IS_SEAL, drop_sealed_before, removing);
    uint32_t found = draft->staged - removing->from;
    /* Where more ids are named than there were examples, the Python writer goes by the order of the file. */
    if (status == EM_OK && named <= removing->live)
        sort(journal->live + journal->live_count + removing->from, found);
    removing->live -= found < removing->live ? found : removing->live;
    return status;
}

/* ---- seals ------------------------------------------------------------------------------------------------------- */

static int meets_tail(struct removing *removing, const emj_range *range)
{
    removing->overlaps |= emj_runs_shared(range, 1, emj_pool_tail(removing->journal), removing->ranges) != 0;
    return EM_OK;
}

static int meets_draft(struct removing *removing, const emj_range *range)
{
    removing->overlaps |= emj_ranges_shared(&removing->journal->draft, range->uuid, range->first, range->end) != 0;
    return EM_OK;
}

static int load_seal(struct removing *removing, const emj_record *record, emj_seal_head *head)
{
    em_journal *journal = removing->journal;
    const uint8_t *data;
    int status = emj_read_seal(&journal->source, record, journal->header.dim, head, &data);
    if (status == EM_OK)
        status = emj_seal_ranges(journal, record, head);
    removing->ranges = status < 0 ? 0 : head->ranges;
    return status;
}

/* Whether a record before a limit removed the seal at the pool's tail. */
struct fate {
    struct removing *removing;
    uint64_t after;
};

static int meet_tombstone(void *of, const emj_record *record)
{
    struct fate *fate = of;
    return record->offset > fate->after ? tombstone_ranges(fate->removing, record, meets_tail) : EM_OK;
}

static int meet_seal(void *of, const emj_record *record)
{
    struct fate *fate = of;
    return record->offset > fate->after ? seal_ranges(fate->removing, record, meets_tail) : EM_OK;
}

/* 1 where the seal was still there at `end`, in the transaction that begins at `start`. Its runs go to the tail. */
static int was_there(struct removing *removing, const emj_record *record, uint64_t start, uint64_t end,
                     emj_seal_head *head)
{
    struct fate fate = {removing, record->offset};
    em_journal *journal = removing->journal;
    int status = load_seal(removing, record, head);
    removing->overlaps = 0;
    if (status == EM_OK)
        status = emj_walk(journal, start, EMJ_IS_TOMBSTONE, meet_tombstone, &fate);
    if (status == EM_OK)
        status = emj_walk(journal, start, EMJ_IS_SEAL, meet_seal, &fate);
    if (status == EM_OK)
        status = emj_walk_records(journal, start, end, EMJ_IS_SEAL, meet_seal, &fate);
    return status < 0 ? status : !removing->overlaps;
}

static int stage_seal(struct removing *removing, const emj_record *record, const emj_seal_head *head)
{
    em_journal *journal = removing->journal;
    const uint8_t *label;
    uint64_t length = emj_seal_length(head->label_size, 1, journal->header.dim, (int)head->moment);
    int status = emj_bytes(&journal->source, record->offset + EMJ_FRAME + EMJ_SEAL, head->label_size, &label);
    if (status < 0)
        return status;
    emj_seal *each = emj_draft_seal(journal, label, head->label_size, head->count, 0, &status);
    if (each == NULL)
        return status;
    each->offset = record->offset;
    each->length = (uint32_t)length; /* its one run is no longer than what it had */
    each->moment = head->moment;
    return EM_OK;
}

/* A seal before the transaction, which a step may have removed. */
struct step {
    struct removing *removing;
    uint64_t start, end;       /* of the transaction, and up to which record of it */
    const emj_record *by_seal; /* that removed it, or NULL: by the draft's tombstones */
};

static int take_seal(void *of, const emj_record *record)
{
    struct step *step = of;
    struct removing *removing = step->removing;
    emj_seal_head head;
    removing->overlaps = 0;
    int status = seal_ranges(removing, record, step->by_seal ? meets_tail : meets_draft);
    if (status < 0 || !removing->overlaps)
        return status;
    int there = was_there(removing, record, step->start, step->end, &head);
    status = there > 0 ? stage_seal(removing, record, &head) : there;
    if (status == EM_OK && step->by_seal != NULL)
        status = load_seal(removing, step->by_seal, &head);
    return status;
}

static int stage_seals(struct step *step)
{
    em_journal *journal = step->removing->journal;
    int status = emj_walk(journal, step->start, EMJ_IS_SEAL, take_seal, step);
    return status < 0 ? status : emj_walk_records(journal, step->start, step->end, EMJ_IS_SEAL, take_seal, step);
}

/* One seal of the transaction: what it took the place of. */
static int take_displaced(void *of, const emj_record *record)
{
    struct step *whole = of;
    struct removing *removing = whole->removing;
    struct step step = {removing, whole->start, record->offset, record};
    emj_seal_head head;
    int status = load_seal(removing, record, &head);
    if (status == EM_OK)
        status = stage_examples(removing, step.start, step.end, head.count, take_sealed);
    return status < 0 ? status : stage_seals(&step);
}

/* Each restored seal holds one run. */
static int give_runs(em_journal *journal)
{
    if (journal->staged_seals > emj_pool_room(journal))
        return EM_ERR_FULL;
    for (uint32_t i = 0; i < journal->staged_seals; i++) {
        emj_seal *each = &journal->seals[journal->seal_count + i];
        each->first_range = journal->pool_count + journal->staged_ranges++;
        each->ranges = 1;
    }
    return EM_OK;
}

int emj_stage_removed(em_journal *journal, emj_draft *draft, const emj_transaction *found, uint64_t live_before)
{
    struct removing removing = {journal, draft, 0, live_before, 0, 0, 0};
    struct step step = {&removing, found->start, found->start, NULL};
    emj_ranges_clear(&journal->draft, journal->uuid_count);
    int status = emj_walk_records(journal, found->start, found->commit_at, EMJ_IS_TOMBSTONE, take_named, &removing);
    if (status == EM_OK && journal->draft.count != 0) {
        status = stage_examples(&removing, found->start, found->start, removing.named, take_buried);
        if (status == EM_OK)
            status = stage_seals(&step);
    }
    if (status == EM_OK && found->kinds & 1u << EMJ_IS_SEAL)
        status = emj_walk_records(journal, found->start, found->commit_at, EMJ_IS_SEAL, take_displaced, &step);
    return status < 0 ? status : give_runs(journal);
}

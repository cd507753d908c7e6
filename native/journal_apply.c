/* journal_apply.c - taking a transaction in that was looked through: identities, tombstones, seals, examples, in this
 * order whatever the order of the records. EM_ERR_DAMAGED where it contradicts what went before. */
#include "journal.h"

/* A transaction while it is taken in. low, high: between which counters ids were buried. changed: whether what is live
 * has become another set. */
struct step {
    em_journal *journal;
    const emj_transaction *transaction;
    uint64_t low, high;
    int changed;
};

static int take_identity(struct step *step, const emj_record *record)
{
    em_journal *journal = step->journal;
    const uint8_t *data;
    int status = emj_bytes(&journal->source, record->offset + EMJ_FRAME, EMJ_IDENTITY, &data);
    if (status < 0)
        return status;
    /* A uuid that was seen before may have given ids that are not known here: none is ever given under it. */
    int seen = emj_uuid_find(journal, data) >= 0, uuid = emj_uuid_take(journal, data);
    if (uuid < 0)
        return uuid;
    journal->uuid = (uint32_t)uuid;
    journal->is_volatile = seen || (emj_load32(data + 32) & 1);
    memcpy(journal->place, data + 16, 16);
    journal->next = 1;
    return EM_OK;
}

static int take_tombstone(struct step *step, const emj_record *record)
{
    em_journal *journal = step->journal;
    const uint8_t *data;
    int status = emj_bytes(&journal->source, record->offset + EMJ_FRAME, EMJ_RANGE, &data);
    if (status < 0)
        return status;
    uint64_t first = emj_load64(data + 16), end = first + emj_load64(data + 24);
    int uuid = emj_uuid_take(journal, data);
    if (uuid < 0)
        return uuid;
    status = emj_ranges_add(&journal->dead, (uint32_t)uuid, first, end);
    emj_note_used(journal, (uint32_t)uuid, end);
    if (first < step->low)
        step->low = first;
    if (end > step->high)
        step->high = end;
    return status;
}

static int add_seal(em_journal *journal, const emj_record *record, const emj_seal_head *head)
{
    const uint8_t *label;
    if (journal->seal_count == journal->limits.seals)
        return EM_ERR_FULL;
    int status = emj_bytes(&journal->source, record->offset + EMJ_FRAME + EMJ_SEAL, head->label_size, &label);
    if (status < 0)
        return status;
    int of_class = emj_class_take(journal, label, head->label_size);
    if (of_class < 0)
        return of_class;
    if (head->count > UINT64_MAX - journal->classes[of_class].count)
        return EM_ERR_DAMAGED;
    journal->classes[of_class].count += head->count;
    emj_seal *seal = &journal->seals[journal->seal_count++];
    seal->count = head->count;
    seal->offset = record->offset;
    seal->of_class = (uint32_t)of_class;
    seal->length = record->frame.length;
    seal->first_range = journal->pool_count;
    seal->ranges = head->ranges;
    seal->moment = head->moment;
    seal->unused = 0;
    journal->pool_count += head->ranges;
    return EM_OK;
}

static int take_seal(struct step *step, const emj_record *record)
{
    em_journal *journal = step->journal;
    const uint8_t *data;
    emj_seal_head head;
    int status = emj_read_seal(&journal->source, record, journal->header.dim, &head, &data);
    if (status == EM_OK)
        status = emj_seal_ranges(journal, record, &head);
    if (status < 0)
        return status;
    for (uint32_t i = 0; i < head.ranges; i++) {
        const emj_range *part = &journal->pool[journal->pool_count + i];
        if (emj_ranges_shared(&journal->dead, part->uuid, part->first, part->end))
            return EM_ERR_DAMAGED; /* a seal that holds a forgotten example */
        emj_note_used(journal, part->uuid, part->end);
    }
    emj_note_targets(journal, 0); /* only examples without a target are sealed */
    step->changed = 1;
    status = emj_seal_displace(journal, head.ranges);
    return status < 0 ? status : add_seal(journal, record, &head);
}

static int is_known(const em_journal *journal, uint32_t uuid, uint64_t counter)
{
    emj_range one = {counter, counter + 1, uuid, 0};
    if (emj_runs_shared(&one, 1, journal->pool, journal->pool_count))
        return 1;
    return counter < journal->uuids[uuid].highest && emj_live_find(journal, uuid, counter) >= 0;
}

static int add_example(em_journal *journal, const emj_record *record, const emj_example *example, uint32_t uuid)
{
    uint64_t counter = example->id.counter;
    if (journal->live_count == journal->limits.examples)
        return EM_ERR_FULL;
    int of_class = emj_class_take(journal, example->label, example->label_size);
    if (of_class < 0)
        return of_class;
    if (journal->classes[of_class].count == UINT64_MAX)
        return EM_ERR_DAMAGED;
    journal->classes[of_class].count++;
    emj_live *each = &journal->live[journal->live_count++];
    each->counter = counter;
    each->offset = record->offset;
    each->group = example->has_group ? emj_group_hash(example->group, example->group_size) : 0;
    each->uuid = uuid;
    each->of_class = (uint32_t)of_class;
    each->length = record->frame.length;
    each->mark = 0;
    if (counter >= journal->uuids[uuid].highest)
        journal->uuids[uuid].highest = counter + 1;
    return EM_OK;
}

static int take_example(struct step *step, const emj_record *record)
{
    em_journal *journal = step->journal;
    emj_example example;
    int status = emj_read_example(&journal->source, record, journal->header.dim, &example);
    if (status < 0)
        return status;
    int uuid = emj_uuid_take(journal, example.id.uuid);
    if (uuid < 0)
        return uuid;
    emj_note_used(journal, (uint32_t)uuid, example.id.counter + 1);
    emj_note_targets(journal, example.targets);
    if (emj_ranges_hold(&journal->dead, (uint32_t)uuid, example.id.counter))
        return EM_OK;
    if (is_known(journal, (uint32_t)uuid, example.id.counter))
        return EM_ERR_DAMAGED;
    step->changed = 1;
    return add_example(journal, record, &example, (uint32_t)uuid);
}

/* Hand the records of one kind to `take`. */
static int each_of(struct step *step, uint32_t kind, int (*take)(struct step *, const emj_record *))
{
    emj_record record;
    if (!(step->transaction->kinds & 1u << kind))
        return EM_OK;
    for (uint64_t at = step->transaction->start; at < step->transaction->commit_at; at = record.end) {
        int found = emj_read_frame(&step->journal->source, at, &record);
        if (found <= 0)
            return found < 0 ? found : EM_ERR_DAMAGED; /* it was there a moment ago */
        if (record.frame.kind != kind)
            continue;
        int status = take(step, &record);
        if (status < 0)
            return status;
    }
    return EM_OK;
}

static int bury(struct step *step)
{
    if (!(step->transaction->kinds & 1u << EMJ_IS_TOMBSTONE))
        return EM_OK;
    int status = each_of(step, EMJ_IS_TOMBSTONE, take_tombstone);
    if (status < 0)
        return status;
    uint32_t examples = emj_live_bury(step->journal, step->low, step->high);
    int seals = emj_seals_bury(step->journal);
    if (seals < 0)
        return seals;
    step->changed |= examples != 0 || seals != 0;
    return EM_OK;
}

/* Number, what is durable, what can be undone. */
static void note(em_journal *journal, const emj_transaction *transaction, int changed, uint32_t live_before)
{
    const emj_commit *commit = &transaction->commit;
    uint64_t synced = commit->synced < transaction->start ? commit->synced : transaction->start;
    journal->number = commit->number;
    journal->has_number = 1;
    if (synced > journal->synced)
        journal->synced = synced;
    if (commit->flags & EMJ_COMPACTION)
        journal->undo_count = 0;
    else if (commit->undoes)
        emj_forget_undo(journal, commit->undoes);
    else if (changed)
        emj_note_undo(journal, commit->number, transaction->start, live_before);
}

int emj_apply(em_journal *journal, const emj_transaction *transaction)
{
    struct step step = {journal, transaction, UINT64_MAX, 0, 0};
    uint32_t live_before = journal->live_count;
    int status = each_of(&step, EMJ_IS_IDENTITY, take_identity);
    if (status == EM_OK)
        status = bury(&step);
    if (status == EM_OK)
        status = each_of(&step, EMJ_IS_SEAL, take_seal);
    if (status == EM_OK)
        status = each_of(&step, EMJ_IS_EXAMPLE, take_example);
    if (status == EM_OK)
        note(journal, transaction, step.changed, live_before);
    return status;
}

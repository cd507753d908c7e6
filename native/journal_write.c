/* journal_write.c - one call, one transaction: drafted in memory, written, made durable, and only then taken in.
 *
 * Whether there is room for what it says is found out before anything is written, so that taking it in cannot fail. */
#include "journal.h"

int emj_check_writable(const em_journal *journal)
{
    if (journal == NULL)
        return EM_ERR_NULL;
    return journal->mode == EM_JOURNAL_READ || journal->unusable || journal->broken ? EM_ERR_STATE : EM_OK;
}

int emj_place(const em_store *store, uint8_t *place)
{
    memset(place, 0, 16);
    return store->place == NULL || store->place(store->user, place) == 0 ? EM_OK : EM_ERR_IO;
}

int emj_fresh_uuid(em_journal *journal)
{
    uint8_t bytes[16] = {0};
    if (journal->store.random(journal->store.user, bytes, 16) != 0)
        return EM_ERR_IO;
    if (emj_is_zero(bytes, 16) || emj_uuid_find(journal, bytes) >= 0)
        return EM_ERR_IO; /* that is not random */
    return emj_uuid_take(journal, bytes);
}

int emj_draft_begin(em_journal *journal, emj_draft *draft)
{
    memset(draft, 0, sizeof *draft);
    draft->uuids_before = journal->uuid_count;
    draft->classes_before = journal->class_count;
    int status = emj_check_writable(journal);
    if (status == EM_OK && journal->resume_at != 0)
        status = emj_flash_resume(journal);
    if (status < 0)
        return status;
    draft->uuids_before = journal->uuid_count;
    if (journal->has_number && journal->number == UINT64_MAX)
        return EM_ERR_STATE;
    emj_ranges_clear(&journal->draft, journal->uuid_count);
    draft->uuid = journal->uuid;
    draft->next = journal->next > journal->clock ? journal->next : journal->clock;
    if (journal->own && journal->next < EMJ_MAX_COUNTER / 2)
        return EM_OK;
    status = emj_place(&journal->store, draft->place);
    if (status < 0)
        return status;
    int uuid = emj_fresh_uuid(journal);
    if (uuid < 0)
        return uuid;
    draft->has_identity = 1;
    draft->uuid = (uint32_t)uuid;
    draft->next = journal->clock;
    return EM_OK;
}

/* One more behind the live examples; its class counts it already. */
emj_live *emj_draft_stage(em_journal *journal, emj_draft *draft, const uint8_t *label, size_t size, int *status)
{
    if (journal->limits.examples - journal->live_count <= draft->staged) {
        *status = EM_ERR_FULL;
        return NULL;
    }
    int of_class = emj_class_take(journal, label, size);
    if (of_class < 0 || journal->classes[of_class].count == UINT64_MAX) {
        *status = of_class < 0 ? of_class : EM_ERR_FULL;
        return NULL;
    }
    emj_live *each = &journal->live[journal->live_count + draft->staged++];
    memset(each, 0, sizeof *each);
    each->of_class = (uint32_t)of_class;
    journal->classes[of_class].count++;
    *status = EM_OK;
    return each;
}

emj_seal *emj_draft_seal(em_journal *journal, const uint8_t *label, size_t size, uint64_t count, uint32_t ranges,
                         int *status)
{
    if (journal->limits.seals - journal->seal_count <= journal->staged_seals || ranges > emj_pool_room(journal)) {
        *status = EM_ERR_FULL;
        return NULL;
    }
    int of_class = emj_class_take(journal, label, size);
    if (of_class < 0 || count > UINT64_MAX - journal->classes[of_class].count) {
        *status = of_class < 0 ? of_class : EM_ERR_FULL;
        return NULL;
    }
    emj_seal *each = &journal->seals[journal->seal_count + journal->staged_seals++];
    memset(each, 0, sizeof *each);
    each->of_class = (uint32_t)of_class;
    each->count = count;
    each->ranges = ranges;
    each->first_range = (uint32_t)(emj_pool_tail(journal) - journal->pool);
    journal->staged_ranges += ranges;
    journal->classes[of_class].count += count;
    *status = EM_OK;
    return each;
}

int emj_draft_drop(em_journal *journal, emj_draft *draft, int status)
{
    for (uint32_t i = 0; i < journal->staged_seals; i++) {
        const emj_seal *each = &journal->seals[journal->seal_count + i];
        journal->classes[each->of_class].count -= each->count;
    }
    journal->staged_seals = journal->staged_ranges = 0;
    for (uint32_t i = 0; i < draft->staged; i++)
        journal->classes[journal->live[journal->live_count + i].of_class].count--;
    draft->staged = 0;
    journal->class_count = draft->classes_before;
    journal->uuid_count = draft->uuids_before;
    return status;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

typedef struct end_of_file {
    const em_store *store;
    uint64_t at;
} end_of_file;

static int append(void *to, const void *data, size_t size)
{
    end_of_file *end = to;
    int status = end->store->append(end->store->user, end->at, data, size);
    end->at += size;
    return status;
}

static uint64_t start_of(const em_journal *journal, const emj_draft *draft)
{
    return draft->start ? draft->start : journal->end;
}

/* How many bytes the transaction will have. */
static uint64_t size_of(const em_journal *journal, const emj_draft *draft)
{
    uint64_t size = draft->has_identity ? emj_record_size(EMJ_IDENTITY) : 0;
    size += journal->draft.count * emj_record_size(EMJ_RANGE);
    for (uint32_t i = 0; i < draft->staged; i++)
        size += emj_record_size(journal->live[journal->live_count + i].length);
    for (uint32_t i = 0; i < journal->staged_seals; i++)
        size += emj_record_size(journal->seals[journal->seal_count + i].length);
    return size + emj_filler(journal->block, start_of(journal, draft) + size) + emj_record_size(EMJ_COMMIT);
}

/* *end: where it ends; after a failure, up to where the store was asked to write. */
static int write_transaction(em_journal *journal, emj_draft *draft, uint64_t *end)
{
    uint64_t start = start_of(journal, draft);
    end_of_file to = {&journal->store, start};
    uint32_t seed = journal->header.seed;
    emj_sink sink = {append, &to, journal->out, 0, start, seed, 0, 0, seed, 0, EM_OK};
    emj_commit commit = {0, draft->undoes, journal->synced, start, 0, draft->flags, 0};
    commit.number = journal->has_number ? journal->number + 1 : 1;
    if (draft->has_identity) {
        uint8_t payload[EMJ_IDENTITY] = {0};
        memcpy(payload, journal->uuids[draft->uuid].bytes, 16);
        memcpy(payload + 16, draft->place, 16);
        emj_store32(payload + 32, journal->mode == EM_JOURNAL_LAZY);
        emj_sink_record(&sink, EMJ_IS_IDENTITY, payload, EMJ_IDENTITY);
    }
    emj_sink_ranges(&sink, &journal->draft);
    if (draft->other == NULL)
        emj_put_examples(journal, draft, &sink);
    emj_put_seals(journal, draft, &sink);
    if (draft->other != NULL)
        emj_put_examples(journal, draft, &sink);
    emj_sink_filler(&sink, emj_filler(journal->block, sink.offset));
    emj_sink_commit(&sink, &commit);
    *end = sink.status < 0 ? to.at : sink.offset;
    return sink.status;
}

static void take_back(em_journal *journal, uint64_t written)
{
    if (written == 0 && journal->mode == EM_JOURNAL_FLASH)
        return;
    if (journal->mode == EM_JOURNAL_FLASH || journal->store.truncate(journal->store.user, journal->end) != 0)
        journal->unusable = 1;
}

/* ---- taking in -------------------------------------------------------------------------------------------------- */

static void take_identity(em_journal *journal, const emj_draft *draft)
{
    if (!draft->has_identity)
        return;
    journal->uuid = draft->uuid;
    journal->is_volatile = journal->mode == EM_JOURNAL_LAZY;
    journal->next = 1;
    memcpy(journal->place, draft->place, 16);
}

/* Returns whether anything was forgotten. There is room for all of it, and of a seal all ids are in it or none. */
static int take_tombstones(em_journal *journal)
{
    uint64_t low = UINT64_MAX, high = 0;
    uint32_t before = journal->seal_count;
    for (uint32_t i = 0; i < journal->draft.count; i++) {
        const emj_range *each = &journal->draft.items[i];
        (void)emj_ranges_add(&journal->dead, each->uuid, each->first, each->end);
        emj_note_used(journal, each->uuid, each->end);
        low = each->first < low ? each->first : low;
        high = each->end > high ? each->end : high;
    }
    if (high == 0)
        return 0;
    uint32_t examples = emj_live_bury(journal, low, high);
    (void)emj_seals_bury(journal);
    return examples != 0 || journal->seal_count != before;
}

/* Whether any was taken. */
static int take_seals(em_journal *journal)
{
    uint32_t count = journal->staged_seals;
    while (journal->staged_seals > 0) {
        uint32_t ranges = journal->seals[journal->seal_count].ranges;
        (void)emj_seal_displace(journal, ranges); /* it overlaps none in part: that was looked at */
        for (uint32_t i = 0; i < ranges; i++) {
            const emj_range *part = &journal->pool[journal->pool_count + i];
            emj_note_used(journal, part->uuid, part->end);
        }
        journal->pool_count += ranges;
        journal->staged_ranges -= ranges;
        journal->seal_count++;
        journal->staged_seals--;
    }
    return count != 0;
}

/* before: how many there were when they were staged. */
static void take_examples(em_journal *journal, const emj_draft *draft, uint32_t before)
{
    emj_live *fresh = journal->live + journal->live_count;
    memmove(fresh, journal->live + before, draft->staged * sizeof *fresh);
    journal->live_count += draft->staged;
    for (uint32_t i = 0; i < draft->staged; i++) {
        emj_uuid *uuid = &journal->uuids[fresh[i].uuid];
        emj_note_used(journal, fresh[i].uuid, fresh[i].counter + 1);
        if (fresh[i].counter >= uuid->highest)
            uuid->highest = fresh[i].counter + 1;
    }
}

static void take_in(em_journal *journal, const emj_draft *draft, uint64_t end)
{
    uint32_t before = journal->live_count;
    uint64_t start = start_of(journal, draft), number = journal->has_number ? journal->number + 1 : 1;
    take_identity(journal, draft);
    int changed = take_tombstones(journal);
    changed |= take_seals(journal);
    changed |= draft->staged != 0;
    take_examples(journal, draft, before);
    journal->number = number;
    journal->has_number = 1;
    if (draft->undoes)
        emj_forget_undo(journal, draft->undoes);
    else if (changed)
        emj_note_undo(journal, number, start, before);
    journal->voids += start != journal->end;
    journal->end = journal->source.limit = end;
    journal->source.size = 0;
    journal->own = 1;
    if (emj_syncs(journal))
        journal->synced = end;
}

int emj_draft_finish(em_journal *journal, emj_draft *draft)
{
    uint64_t end;
    if (journal->dead.count + emj_ranges_growth(&journal->dead, &journal->draft) > (int64_t)journal->dead.room)
        return emj_draft_drop(journal, draft, EM_ERR_FULL);
    int status = emj_flash_room(journal, start_of(journal, draft), size_of(journal, draft));
    if (status < 0)
        return emj_draft_drop(journal, draft, status);
    status = write_transaction(journal, draft, &end);
    if (status == EM_OK && emj_syncs(journal) && journal->store.sync(journal->store.user) != 0) {
        /* Never sync again: the system may have dropped what was to be written, and would say that all is well. */
        journal->unusable = 1;
        status = EM_ERR_IO;
    }
    if (status < 0) {
        take_back(journal, end - start_of(journal, draft));
        return emj_draft_drop(journal, draft, status);
    }
    take_in(journal, draft, end);
    return EM_OK;
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

static int check_texts(const em_example *example)
{
    const char *texts[] = {example->label, example->group, example->variant};
    if (example->label == NULL || example->q20 == NULL)
        return EM_ERR_NULL;
    for (int i = 0; i < 3; i++) {
        size_t size = texts[i] ? emj_length(texts[i]) : 0;
        if (texts[i] == NULL || (i == 2 && size == 0))
            continue;
        if (size == 0 || size > 255)
            return EM_ERR_SIZE;
        if (!emj_is_label((const uint8_t *)texts[i], size))
            return EM_ERR_VALUE;
    }
    return EM_OK;
}

static int check_example(const em_journal *journal, const em_example *example, uint32_t targets)
{
    int status = check_texts(example);
    if (status < 0)
        return status;
    if ((example->target == NULL) != (example->targets == 0) || example->targets > (uint32_t)1 << 24)
        return EM_ERR_SIZE;
    if (example->targets != targets)
        return EM_ERR_MISMATCH;
    for (uint32_t i = 0; i < journal->header.dim; i++)
        if (example->q20[i] > EM_Q20 || example->q20[i] < -EM_Q20)
            return EM_ERR_VALUE;
    for (uint32_t i = 0; i < example->targets; i++)
        if (!emj_finite(example->target[i]))
            return EM_ERR_VALUE;
    return EM_OK;
}

static int stage_new(em_journal *journal, emj_draft *draft, const em_example *example)
{
    int status;
    const char *label = example->label, *group = example->group;
    size_t texts = emj_length(label) + (group ? emj_length(group) : 0);
    texts += example->variant ? emj_length(example->variant) : 0;
    emj_live *each = emj_draft_stage(journal, draft, (const uint8_t *)label, emj_length(label), &status);
    if (each == NULL)
        return status;
    each->group = group ? emj_group_hash((const uint8_t *)group, emj_length(group)) : 0;
    each->length = (uint32_t)((EMJ_EXAMPLE + texts + 7) / 8 * 8);
    each->length += (journal->header.dim + 1) / 2 * 8 + example->targets * 8;
    return EM_OK;
}

/* How many targets the examples must have: as the options say, else as those that are there, else as the first new
 * one. */
static uint32_t needed_targets(const em_journal *journal, const em_example *examples)
{
    if (journal->wanted != EM_ANY_TARGETS)
        return journal->wanted;
    return journal->targets != EM_ANY_TARGETS ? journal->targets : examples[0].targets;
}

int em_journal_append(em_journal *journal, const em_example *examples, uint32_t count, em_id *ids)
{
    emj_draft draft;
    int status = emj_check_writable(journal);
    if (status < 0 || count == 0)
        return status;
    if (examples == NULL)
        return EM_ERR_NULL;
    uint32_t targets = needed_targets(journal, examples);
    if (journal->mixed)
        return EM_ERR_MISMATCH;
    for (uint32_t i = 0; i < count && status == EM_OK; i++)
        status = check_example(journal, &examples[i], targets);
    if (status < 0)
        return status;
    status = emj_draft_begin(journal, &draft);
    draft.examples = examples;
    for (uint32_t i = 0; i < count && status == EM_OK; i++)
        status = stage_new(journal, &draft, &examples[i]);
    if (status < 0)
        return emj_draft_drop(journal, &draft, status);
    status = emj_draft_finish(journal, &draft);
    if (status < 0)
        return status;
    emj_note_targets(journal, targets);
    for (uint32_t i = 0; ids != NULL && i < count; i++) {
        memcpy(ids[i].uuid, journal->uuids[draft.uuid].bytes, 16);
        ids[i].counter = draft.next - count + i;
    }
    return EM_OK;
}

int em_journal_forget(em_journal *journal, const em_id *ids, uint32_t count)
{
    emj_draft draft;
    int status = emj_check_writable(journal);
    if (status < 0 || count == 0)
        return status;
    if (ids == NULL)
        return EM_ERR_NULL;
    for (uint32_t i = 0; i < count; i++)
        if (em_journal_find(journal, &ids[i]) < 0)
            return EM_ERR_NOT_FOUND;
    status = emj_draft_begin(journal, &draft);
    for (uint32_t i = 0; i < count && status == EM_OK; i++) {
        const emj_live *each = &journal->live[em_journal_find(journal, &ids[i])];
        status = emj_ranges_add(&journal->draft, each->uuid, each->counter, each->counter + 1);
    }
    return status < 0 ? emj_draft_drop(journal, &draft, status) : emj_draft_finish(journal, &draft);
}

/* What relabelling keeps must make sense, as whatever is read: embedding and target. */
static int check_arrays(em_journal *journal, const emj_record *record, const emj_example *example)
{
    uint64_t at = record->offset + EMJ_FRAME + example->arrays, size = (uint64_t)journal->header.dim * 4;
    int status = emj_check_embedding(&journal->source, at, size);
    return status < 0 ? status : emj_read_numbers(&journal->source, at + (size + 7) / 8 * 8, example->targets, NULL);
}

static int stage_relabelled(em_journal *journal, emj_draft *draft, uint32_t index)
{
    emj_live old = journal->live[index];
    emj_record record;
    emj_example example;
    int status = emj_expect(&journal->source, old.offset, EMJ_IS_EXAMPLE, &record);
    if (status == EM_OK)
        status = emj_read_example(&journal->source, &record, journal->header.dim, &example);
    if (status == EM_OK)
        status = check_arrays(journal, &record, &example);
    if (status == EM_OK)
        status = emj_ranges_add(&journal->draft, old.uuid, old.counter, old.counter + 1);
    if (status < 0)
        return status;
    size_t size = emj_length(draft->label), texts = size + example.group_size + example.variant_size;
    uint64_t length = (EMJ_EXAMPLE + texts + 7) / 8 * 8 + (uint64_t)(old.length - example.arrays);
    if (length > UINT32_MAX)
        return EM_ERR_SIZE;
    emj_live *each = emj_draft_stage(journal, draft, (const uint8_t *)draft->label, size, &status);
    if (each == NULL)
        return status;
    each->offset = old.offset;
    each->group = old.group;
    each->length = (uint32_t)length;
    return EM_OK;
}

int em_journal_relabel(em_journal *journal, const em_id *id, const char *label, em_id *fresh)
{
    emj_draft draft;
    int status = emj_check_writable(journal);
    if (status < 0)
        return status;
    if (id == NULL || label == NULL)
        return EM_ERR_NULL;
    size_t size = emj_length(label);
    if (size == 0 || size > 255)
        return EM_ERR_SIZE;
    if (!emj_is_label((const uint8_t *)label, size))
        return EM_ERR_VALUE;
    int index = em_journal_find(journal, id);
    if (index < 0)
        return index;
    journal->source.size = 0; /* what is on the disk now counts */
    status = emj_draft_begin(journal, &draft);
    draft.label = label;
    if (status == EM_OK)
        status = stage_relabelled(journal, &draft, (uint32_t)index);
    if (status < 0)
        return emj_draft_drop(journal, &draft, status);
    status = emj_draft_finish(journal, &draft);
    if (status == EM_OK && fresh != NULL) {
        memcpy(fresh->uuid, journal->uuids[draft.uuid].bytes, 16);
        fresh->counter = draft.next - 1;
    }
    return status;
}

static int draft_label(em_journal *journal, uint32_t of_class)
{
    int status = EM_OK;
    for (uint32_t i = 0; i < journal->live_count && status == EM_OK; i++) {
        const emj_live *each = &journal->live[i];
        if (each->of_class == of_class)
            status = emj_ranges_add(&journal->draft, each->uuid, each->counter, each->counter + 1);
    }
    for (uint32_t i = 0; i < journal->seal_count; i++) {
        const emj_seal *seal = &journal->seals[i];
        for (uint32_t k = 0; k < seal->ranges && seal->of_class == of_class && status == EM_OK; k++) {
            const emj_range *part = &journal->pool[seal->first_range + k];
            status = emj_ranges_add(&journal->draft, part->uuid, part->first, part->end);
        }
    }
    return status;
}

int em_journal_forget_label(em_journal *journal, const char *label)
{
    emj_draft draft;
    int status = emj_check_writable(journal);
    if (status < 0)
        return status;
    int of_class = em_journal_class(journal, label);
    if (of_class < 0)
        return of_class;
    status = emj_draft_begin(journal, &draft);
    if (status == EM_OK)
        status = draft_label(journal, (uint32_t)of_class);
    return status < 0 ? emj_draft_drop(journal, &draft, status) : emj_draft_finish(journal, &draft);
}

int em_journal_sync(em_journal *journal)
{
    int status = emj_check_writable(journal);
    if (status < 0)
        return status;
    if (journal->store.sync(journal->store.user) != 0) {
        journal->unusable = 1;
        return EM_ERR_IO;
    }
    journal->synced = journal->end;
    return EM_OK;
}
